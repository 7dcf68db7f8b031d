// Bodies of the kernels; included by one translation unit per instruction set, all functions static.
#include <cmath>

#include "cholesky_kernels.hpp"

namespace pyscale::detail {
namespace {
namespace cholesky {

// A block of kRows x (kVectors * kLanes) numbers is held in registers.
#if defined(__AVX512F__)
constexpr int kLanes = 8, kRows = 8, kVectors = 3;
#elif defined(__AVX2__)
constexpr int kLanes = 4, kRows = 4, kVectors = 3;
#elif defined(__aarch64__)
constexpr int kLanes = 2, kRows = 4, kVectors = 4;
#else
constexpr int kLanes = 2, kRows = 4, kVectors = 2;
#endif
constexpr int kWidth = kLanes * kVectors;
static_assert(kTile % kRows == 0 && kTile % kWidth == 0, "register blocks must tile a tile");

using Lanes __attribute__((vector_size(8 * kLanes), may_alias)) = double;

/// c -= a^T b for one register block.
inline void subtract_block(const double* a, const double* b, double* c, int depth) {
  Lanes sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      sum[r][v] = *reinterpret_cast<const Lanes*>(c + r * kTile + v * kLanes);
  for (int k = 0; k < depth; ++k) {
    Lanes y[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) y[v] = *reinterpret_cast<const Lanes*>(b + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[r][v] -= a[r] * y[v];
    a += kTile;
    b += kTile;
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) *reinterpret_cast<Lanes*>(c + r * kTile + v * kLanes) = sum[r][v];
}

void subtract_product(const double* a, const double* b, double* c, int depth, int n_rows, int n_columns) {
  for (int column = 0; column < n_columns; column += kWidth)
    for (int r = 0; r < n_rows; r += kRows) subtract_block(a + r, b + column, c + r * kTile + column, depth);
}

/// target -= f * source on columns [begin, end) rounded outwards to whole vectors.
inline void subtract_row(double f, const double* source, double* target, int begin, int end) {
  for (int c = begin / kLanes * kLanes; c < end; c += kLanes)
    *reinterpret_cast<Lanes*>(target + c) -= f * *reinterpret_cast<const Lanes*>(source + c);
}

inline void scale_row(double f, double* row, int begin, int end) {
  for (int c = begin / kLanes * kLanes; c < end; c += kLanes) *reinterpret_cast<Lanes*>(row + c) *= f;
}

int factor(double* a, int n) {
  for (int begin = 0; begin < n; begin += kRows) {
    for (int column = begin / kWidth * kWidth; column < n; column += kWidth)
      subtract_block(a + begin, a + column, a + begin * kTile + column, begin);
    const int end = begin + kRows < n ? begin + kRows : n;
    for (int k = begin; k < end; ++k) {
      double* row = a + k * kTile;
      if (!(row[k] > 0)) return k;
      scale_row(1.0 / std::sqrt(row[k]), row, k, n);
      for (int r = k + 1; r < end; ++r) subtract_row(row[r], row, a + r * kTile, r, n);
    }
  }
  return -1;
}

void solve(const double* u, double* b, int n, int n_columns) {
  for (int begin = 0; begin < n; begin += kRows) {
    for (int column = 0; column < n_columns; column += kWidth)
      subtract_block(u + begin, b + column, b + begin * kTile + column, begin);
    const int end = begin + kRows < n ? begin + kRows : n;
    for (int k = begin; k < end; ++k) {
      double* row = b + k * kTile;
      scale_row(1.0 / u[k * kTile + k], row, 0, n_columns);
      for (int r = k + 1; r < end; ++r) subtract_row(u[k * kTile + r], row, b + r * kTile, 0, n_columns);
    }
  }
}

constexpr CholeskyKernels kKernels{subtract_product, factor, solve};

}  // namespace cholesky
}  // namespace
}  // namespace pyscale::detail
