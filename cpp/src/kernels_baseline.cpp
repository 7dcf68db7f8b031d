#include "detail/cholesky_kernels.inl"
#include "detail/kernels.inl"

namespace pyscale::detail {
GroupPass baseline_group_pass() { return &group_pass; }
CholeskyKernels baseline_cholesky_kernels() { return cholesky::kKernels; }
}  // namespace pyscale::detail
