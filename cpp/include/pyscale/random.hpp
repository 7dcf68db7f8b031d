// Keyed, portable random numbers: the same draws with every compiler, platform and number of threads.
#pragma once
#include <cstdint>
#include <pyscale/span.hpp>

namespace pyscale {

/// One step of splitmix64: a bijective mix of 64 bits (Steele, Lea & Flood, OOPSLA 2014).
inline std::uint64_t splitmix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/// Key of a Miller index under a seed.
inline std::uint64_t random_key(std::uint64_t seed, const Miller& miller_index) {
  std::uint64_t key = splitmix64(seed);
  for (const std::int32_t i : miller_index) key = splitmix64(key ^ static_cast<std::uint32_t>(i));
  return key;
}

/// Stream of draws that depends on its key only.
class KeyedRandom {
 public:
  explicit KeyedRandom(std::uint64_t key) : state_(key) {}

  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    return splitmix64(state_);
  }

  /// Uniform integer in [0, n), n < 2^32; the bias is below n / 2^32.
  std::uint64_t below(std::uint64_t n) { return ((next() >> 32) * n) >> 32; }

 private:
  std::uint64_t state_;
};

}  // namespace pyscale
