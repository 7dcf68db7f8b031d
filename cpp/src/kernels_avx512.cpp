#include "detail/kernels.inl"

namespace pyscale::detail {
GroupPass avx512_group_pass() { return &group_pass; }
}  // namespace pyscale::detail
