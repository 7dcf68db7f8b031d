#include "detail/cholesky_kernels.inl"
#include "detail/kernels.inl"

namespace pyscale::detail {
GroupPasses baseline_group_passes() { return kPasses; }
CholeskyKernels baseline_cholesky_kernels() { return cholesky::kKernels; }
}  // namespace pyscale::detail
