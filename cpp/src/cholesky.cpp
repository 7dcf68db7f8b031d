#include "detail/cholesky.hpp"

#include <algorithm>
#include <cstdint>
#include <pyscale/parallel.hpp>

namespace pyscale::detail {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr Index kTileSize = static_cast<Index>(kTile) * kTile;
constexpr int kPaddedRows = 8;       ///< beyond those in use, which kernels may read
constexpr Index kWorthThreads = 64;  ///< tile products below which waking threads costs more than it gains

int threads_for(Index n_products, int n_threads) { return n_products < kWorthThreads ? 1 : n_threads; }

/// target -= a^T x for a tile a (n_rows, n_columns).
void subtract_transposed(const double* a, const double* x, double* target, int n_rows, int n_columns) {
  for (int r = 0; r < n_rows; ++r)
    for (int c = 0; c < n_columns; ++c) target[c] -= a[r * kTile + c] * x[r];
}

/// Scalar product in eight partial sums, which vectorises; both padded with zeros to whole eights.
double dot(const double* a, const double* x, int n) {
  double sum[8] = {};
  for (int c = 0; c < n; c += 8)
    for (int k = 0; k < 8; ++k) sum[k] += a[c + k] * x[c + k];
  return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

}  // namespace

void TileBuffer::resize(Index n_tiles) {
  storage_.resize(static_cast<std::size_t>(n_tiles * kTileSize) + kAlignment / sizeof(double));
  const auto address = reinterpret_cast<std::uintptr_t>(storage_.data());
  first_ = storage_.data() + (kAlignment - address % kAlignment) % kAlignment / sizeof(double);
}

void Cholesky::pack(Span<const double> matrix, Span<const double> scale, Span<const double> diagonal,
                    int n_threads) {
  n_ = scale.size();
  n_tiles_ = (n_ + kTile - 1) / kTile;
  factor_.resize(n_tiles_ * (n_tiles_ + 1) / 2);
  const auto pack_tile = [&](Index i, Index j) {
    double* tile = factor_.tile(upper(i, j));
    const int n_rows = extent(i), n_columns = extent(j);
    if (n_rows < kTile || n_columns < kTile || i == j)
      std::fill(tile, tile + std::min(kTile, n_rows + kPaddedRows) * kTile, 0.0);
    for (int r = 0; r < n_rows; ++r) {
      const Index row = i * kTile + r;
      const double* source = matrix.data() + row * n_ + j * kTile;
      const double* column_scale = scale.data() + j * kTile;
      for (int c = i == j ? r : 0; c < n_columns; ++c)
        tile[r * kTile + c] = scale[row] * source[c] * column_scale[c];
      if (i == j) tile[r * kTile + r] = diagonal[row];
    }
  };
  for_each_chunk(fixed_size_edges(n_tiles_, 1), threads_for(n_tiles_, n_threads), [&](Index, Index j, Index) {
    for (Index i = 0; i <= j; ++i) pack_tile(i, j);
  });
}

/// Tile (row, column) of U, all tiles above it and the diagonal one of its row being known.
void Cholesky::finish_row(Index row, Index column) {
  const CholeskyKernels& kernels = best_cholesky_kernels();
  double* target = factor_.tile(upper(row, column));
  for (Index k = 0; k < row; ++k)
    kernels.subtract_product(factor_.tile(upper(k, row)), factor_.tile(upper(k, column)), target, kTile,
                             extent(row), extent(column));
  kernels.solve(factor_.tile(upper(row, row)), target, extent(row), extent(column));
}

Index Cholesky::factor(Span<const double> matrix, Span<const double> scale, Span<const double> diagonal,
                       int n_threads) {
  const CholeskyKernels& kernels = best_cholesky_kernels();
  pack(matrix, scale, diagonal, n_threads);
  const auto subtract_square = [&](Index k, Index row) {
    const double* a = factor_.tile(upper(k, row));
    kernels.subtract_product(a, a, factor_.tile(upper(row, row)), kTile, extent(row), extent(row));
  };
  for (Index row = 0; row < n_tiles_; ++row) {
    if (row > 0) subtract_square(row - 1, row);
    const int failed = kernels.factor(factor_.tile(upper(row, row)), extent(row));
    if (failed >= 0) return row * kTile + failed;
    const Index n_right = n_tiles_ - row - 1;
    if (n_right == 0) break;
    // The next diagonal tile goes along: only the product with its last tile is left for one thread.
    for_each_chunk(fixed_size_edges(n_right + 1, 1), threads_for(n_right * (row + 1), n_threads),
                   [&](Index chunk, Index, Index) {
                     if (chunk > 0) return finish_row(row, row + chunk);
                     for (Index k = 0; k < row; ++k) subtract_square(k, row + 1);
                   });
  }
  return -1;
}

void Cholesky::solve(Span<double> b) const {
  std::vector<double> x(static_cast<std::size_t>(n_tiles_ * kTile));
  std::copy(b.begin(), b.end(), x.begin());
  for (Index j = 0; j < n_tiles_; ++j) {
    double* target = x.data() + j * kTile;
    for (Index i = 0; i < j; ++i)
      subtract_transposed(factor_.tile(upper(i, j)), x.data() + i * kTile, target, kTile, extent(j));
    const double* u = factor_.tile(upper(j, j));
    for (int r = 0; r < extent(j); ++r) {
      target[r] /= u[r * kTile + r];
      for (int c = r + 1; c < extent(j); ++c) target[c] -= u[r * kTile + c] * target[r];
    }
  }
  for (Index j = n_tiles_ - 1; j >= 0; --j) {
    double* target = x.data() + j * kTile;
    const double* u = factor_.tile(upper(j, j));
    for (int r = extent(j) - 1; r >= 0; --r) {
      for (int c = r + 1; c < extent(j); ++c) target[r] -= u[r * kTile + c] * target[c];
      target[r] /= u[r * kTile + r];
    }
    for (Index i = 0; i < j; ++i) {
      const double* tile = factor_.tile(upper(i, j));
      for (int r = 0; r < kTile; ++r) x[i * kTile + r] -= dot(tile + r * kTile, target, extent(j));
    }
  }
  std::copy(x.begin(), x.begin() + n_, b.begin());
}

/// Column of V = U^-T, lower triangular: U^T V = 1 by forward substitution.
void Cholesky::invert_column(Index column) {
  const CholeskyKernels& kernels = best_cholesky_kernels();
  for (Index row = column; row < n_tiles_; ++row) {
    double* target = inverse_factor_.tile(lower(row, column));
    std::fill(target, target + kTileSize, 0.0);
    if (row == column)
      for (int r = 0; r < extent(row); ++r) target[r * kTile + r] = 1.0;
    for (Index k = column; k < row; ++k)
      kernels.subtract_product(factor_.tile(upper(k, row)), inverse_factor_.tile(lower(k, column)), target,
                               kTile, extent(row), extent(column));
    kernels.solve(factor_.tile(upper(row, row)), target, extent(row), extent(column));
  }
}

/// Tiles (row, column >= row) of V^T V, and their mirror images.
void Cholesky::inverse_row(Index row, std::vector<double>& out) const {
  const CholeskyKernels& kernels = best_cholesky_kernels();
  for (Index column = row; column < n_tiles_; ++column) {
    alignas(kAlignment) double tile[kTileSize] = {};
    for (Index k = column; k < n_tiles_; ++k)
      kernels.subtract_product(inverse_factor_.tile(lower(k, row)), inverse_factor_.tile(lower(k, column)),
                               tile, extent(k), extent(row), extent(column));
    for (int r = 0; r < extent(row); ++r)
      for (int c = row == column ? r : 0; c < extent(column); ++c) {
        const Index i = row * kTile + r, j = column * kTile + c;
        out[i * n_ + j] = out[j * n_ + i] = -tile[r * kTile + c];
      }
  }
}

std::vector<double> Cholesky::inverse(int n_threads) {
  inverse_factor_.resize(n_tiles_ * (n_tiles_ + 1) / 2);
  const std::vector<Index> edges = fixed_size_edges(n_tiles_, 1);
  const int threads = threads_for(n_tiles_ * n_tiles_, n_threads);
  for_each_chunk(edges, threads, [&](Index, Index column, Index) { invert_column(column); });
  std::vector<double> out(static_cast<std::size_t>(n_ * n_));
  for_each_chunk(edges, threads, [&](Index, Index row, Index) { inverse_row(row, out); });
  return out;
}

}  // namespace pyscale::detail
