// Kernels of the tiled Cholesky factorisation, compiled once per instruction set and chosen at run time.
// Plain pointers only: no inline code of any library may be emitted from these translation units.
#pragma once

namespace pyscale::detail {

constexpr int kTile = 48;  ///< a multiple of every register block; three tiles fit the first two caches

/// Tiles are kTile x kTile, row-major, aligned to 64 bytes. Sizes below kTile say how much of a tile at the
/// edge is in use; the rest must hold finite numbers.
struct CholeskyKernels {
  /// c -= a^T b, a (depth, n_rows), b (depth, n_columns), c (n_rows, n_columns).
  void (*subtract_product)(const double* a, const double* b, double* c, int depth, int n_rows, int n_columns);
  /// Upper triangular U with U^T U = a in place (n, n); below the diagonal is left undefined. Returns the row
  /// whose pivot is not positive, or -1.
  int (*factor)(double* a, int n);
  /// Solves U^T x = b in place, U (n, n) upper triangular, b (n, n_columns).
  void (*solve)(const double* u, double* b, int n, int n_columns);
};

CholeskyKernels baseline_cholesky_kernels();
CholeskyKernels avx2_cholesky_kernels();
CholeskyKernels avx512_cholesky_kernels();

/// Those for this processor, or of PYSCALE_SIMD.
const CholeskyKernels& best_cholesky_kernels();

}  // namespace pyscale::detail
