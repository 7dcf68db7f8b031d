// Cholesky factorisation of dense symmetric positive definite matrices, tiled, with the same bits for any
// number of threads.
#pragma once
#include <algorithm>
#include <pyscale/span.hpp>
#include <vector>

#include "cholesky_kernels.hpp"

namespace pyscale::detail {

/// Room for tiles, aligned for vectors of any instruction set; kept when the size stays.
class TileBuffer {
 public:
  void resize(Index n_tiles);
  double* tile(Index index) { return first_ + index * kTile * kTile; }
  const double* tile(Index index) const { return first_ + index * kTile * kTile; }

 private:
  std::vector<double> storage_;
  double* first_ = nullptr;
};

/// A = U^T U with tiles of U in the order of columns: each tile is the end of a fixed sequence of operations,
/// whatever thread runs them. A second matrix of the same size reuses the memory.
class Cholesky {
 public:
  Cholesky() = default;
  Cholesky(const Cholesky&) = delete;
  Cholesky& operator=(const Cholesky&) = delete;

  /// Factorises diag(scale) A diag(scale) with `diagonal` in place of its diagonal.
  /// `matrix` (n * n) row-major, of which the upper triangle is read; `scale` and `diagonal` (n).
  /// Returns the first row whose pivot is not positive (then there is no factor), or -1.
  Index factor(Span<const double> matrix, Span<const double> scale, Span<const double> diagonal,
               int n_threads);

  /// Solves A x = b in place, (n).
  void solve(Span<double> b) const;

  /// The full inverse, (n * n) row-major and exactly symmetric.
  std::vector<double> inverse(int n_threads);

  Index size() const { return n_; }

 private:
  int extent(Index tile) const { return static_cast<int>(std::min<Index>(kTile, n_ - tile * kTile)); }
  static Index upper(Index row, Index column) { return column * (column + 1) / 2 + row; }
  Index lower(Index row, Index column) const {
    return column * n_tiles_ - column * (column - 1) / 2 + row - column;
  }
  void pack(Span<const double> matrix, Span<const double> scale, Span<const double> diagonal, int n_threads);
  void finish_row(Index row, Index column);
  void invert_column(Index column);
  void inverse_row(Index row, std::vector<double>& out) const;

  Index n_ = 0, n_tiles_ = 0;
  TileBuffer factor_, inverse_factor_;
};

}  // namespace pyscale::detail
