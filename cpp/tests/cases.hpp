// Inputs shared by the tests of the core: the same numbers on every platform.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <pyscale/groups.hpp>
#include <pyscale/parallel.hpp>
#include <pyscale/span.hpp>
#include <utility>
#include <vector>

namespace pyscale_tests {

using pyscale::Index;
using pyscale::Miller;
using pyscale::RotationMatrix;

/// splitmix64 (Steele, Lea & Flood, 2014): the standard library's distributions differ between platforms.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  /// Uniform in [0, n).
  Index below(Index n) { return static_cast<Index>(next() % static_cast<std::uint64_t>(n)); }
  /// Uniform in [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

 private:
  std::uint64_t state_;
};

/// Values of both signs over 60 binary orders of magnitude: their sum changes its bits with nearly every
/// change of the order of summation.
inline std::vector<double> adversarial_values(Index n, std::uint64_t seed) {
  Random random(seed);
  std::vector<double> values(static_cast<std::size_t>(n));
  for (double& v : values) v = std::ldexp(random.uniform() - 0.5, static_cast<int>(random.below(60)) - 30);
  return values;
}

/// Offsets of groups of 1 to `max_size` rows that hold n rows together.
inline std::vector<Index> random_offsets(Index n, Index max_size, std::uint64_t seed) {
  Random random(seed);
  std::vector<Index> offsets{0};
  while (offsets.back() < n) offsets.push_back(std::min(n, offsets.back() + 1 + random.below(max_size)));
  return offsets;
}

struct PartialSum {
  double value = 0;
  void merge(const PartialSum& other) { value += other.value; }
};

/// The core's way of summing: one partial sum per chunk, merged in the fixed tree.
inline double chunked_sum(const std::vector<double>& values, const std::vector<Index>& row_edges,
                          int n_threads) {
  std::vector<PartialSum> parts(row_edges.size() - 1);
  pyscale::for_each_chunk(row_edges, n_threads, [&](Index chunk, Index begin, Index end) {
    for (Index i = begin; i < end; ++i) parts[chunk].value += values[i];
  });
  return pyscale::tree_merge(std::move(parts)).value;
}

inline std::vector<Miller> random_miller_indices(Index n, std::int32_t h_max, std::uint64_t seed) {
  Random random(seed);
  std::vector<Miller> indices(static_cast<std::size_t>(n));
  for (Miller& h : indices)
    for (std::int32_t& x : h) x = static_cast<std::int32_t>(random.below(2 * h_max + 1)) - h_max;
  return indices;
}

/// Rotation parts of the space groups used as examples (International Tables A).
inline std::vector<RotationMatrix> rotations_p1() { return {{1, 0, 0, 0, 1, 0, 0, 0, 1}}; }
inline std::vector<RotationMatrix> rotations_p222() {
  return {{1, 0, 0, 0, 1, 0, 0, 0, 1},
          {-1, 0, 0, 0, -1, 0, 0, 0, 1},
          {1, 0, 0, 0, -1, 0, 0, 0, -1},
          {-1, 0, 0, 0, 1, 0, 0, 0, -1}};
}
inline std::vector<RotationMatrix> rotations_p3() {
  return {{1, 0, 0, 0, 1, 0, 0, 0, 1}, {0, -1, 0, 1, -1, 0, 0, 0, 1}, {-1, 1, 0, -1, 0, 0, 0, 0, 1}};
}

}  // namespace pyscale_tests
