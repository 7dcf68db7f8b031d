#include "detail/cholesky_kernels.inl"
#include "detail/kernels.inl"

namespace pyscale::detail {
GroupPass avx512_group_pass() { return &group_pass; }
CholeskyKernels avx512_cholesky_kernels() { return cholesky::kKernels; }
}  // namespace pyscale::detail
