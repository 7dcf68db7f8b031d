#include <cstdlib>
#include <cstring>

#include "detail/cholesky_kernels.hpp"
#include "detail/kernels.hpp"

namespace pyscale::detail {
namespace {

struct Choice {
  const char* name;
  GroupPasses passes;
  CholeskyKernels cholesky;
};

Choice choose() {
  const char* forced = std::getenv("PYSCALE_SIMD");
  const auto allowed = [&](const char* name) { return forced == nullptr || std::strcmp(forced, name) == 0; };
#ifdef PYSCALE_X86_KERNELS
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq");
  if (avx512 && allowed("avx512")) return {"avx512", avx512_group_passes(), avx512_cholesky_kernels()};
  if (avx2 && allowed("avx2")) return {"avx2", avx2_group_passes(), avx2_cholesky_kernels()};
#endif
  (void)allowed;
  return {"baseline", baseline_group_passes(), baseline_cholesky_kernels()};
}

const Choice& chosen() {
  static const Choice choice = choose();
  return choice;
}

}  // namespace

const GroupPasses& best_group_passes() { return chosen().passes; }
const CholeskyKernels& best_cholesky_kernels() { return chosen().cholesky; }
const char* best_group_passes_name() { return chosen().name; }

}  // namespace pyscale::detail
