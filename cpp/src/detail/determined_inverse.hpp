// Inverse of a symmetric positive semidefinite matrix on what it determines, and a basis of the rest.
#pragma once
#include <Eigen/Core>

namespace pyscale::detail {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// An eigenvalue below this times the largest holds no information.
constexpr double kRankTolerance = 1e-11;

struct DeterminedInverse {
  Matrix inverse;          ///< (p, p) pseudo-inverse: zero on the undetermined space
  Matrix undetermined;     ///< (p, k) orthonormal, each column concentrated on as few rows as possible
  double condition = 0.0;  ///< largest over smallest determined eigenvalue
};

/// Pseudo-inverse of a matrix scaled to a unit diagonal (rows without information hold zeros).
///
/// Where the condition number in the 1-norm, which bounds that of the eigenvalues, stays ten times below
/// 1 / kRankTolerance, a Cholesky factor. Else the undetermined space is found by inverse iteration with a
/// factor of the matrix and a ridge, filled up, and projected out afterwards; the condition number of what
/// is left proves that nothing was overlooked. Where the space is large or cannot be found this way, the
/// eigenvalue decomposition. `condition` is that of Lanczos' method (to about 1 %) except in the last case.
DeterminedInverse determined_inverse(Matrix scaled, int n_threads);

}  // namespace pyscale::detail
