#include "detail/kernels.inl"

namespace pyscale::detail {
GroupPass baseline_group_pass() { return &group_pass; }
}  // namespace pyscale::detail
