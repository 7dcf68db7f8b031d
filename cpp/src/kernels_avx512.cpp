#include "detail/cholesky_kernels.inl"
#include "detail/kernels.inl"

namespace pyscale::detail {
GroupPasses avx512_group_passes() { return kPasses; }
CholeskyKernels avx512_cholesky_kernels() { return cholesky::kKernels; }
}  // namespace pyscale::detail
