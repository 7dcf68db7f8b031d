// Covariance of the parameters in a stated gauge, with what the data leave undetermined found and named.
#pragma once
#include <pyscale/export.hpp>
#include <pyscale/span.hpp>
#include <vector>

namespace pyscale {

/// Directions along which the cost cannot change, and the functionals that fix them.
struct Gauge {
  Index n_directions = 0;
  std::vector<double> direction;   ///< (n_directions * p) parameter changes without effect on the data's cost
  std::vector<double> functional;  ///< (n_directions * p) held at zero: C functional^T = 0
};

struct CovarianceResult {
  std::vector<double> covariance;  ///< (p * p) of unit weight: multiply by chi^2_red
  std::vector<double>
      undetermined;  ///< (n_undetermined * p) orthonormal directions (scaled) without any information
  Index n_undetermined = 0;
  double condition = 0.0;  ///< of the scaled matrix, undetermined directions left out
};

/// Inverse of N, restraints included, projected on the gauge functional * dp = 0:
/// C = Q N^-1 Q^T with Q = 1 - G (M G)^-1 M, G the gauge directions and M the functionals.
/// Directions without information (scaled eigenvalue below 1e-11 of the largest) are left out of C and
/// reported; the caller marks the parameters that take part in them as unknown.
PYSCALE_API CovarianceResult gauge_covariance(Span<const double> matrix, Index n_parameters,
                                              const Gauge& gauge, int n_threads);

/// Inverse (p * p) of a symmetric matrix scaled to a unit diagonal, a relative 1e-9 of which is added to it:
/// directions without information get a large, finite variance. A Cholesky factor: cheap enough for every
/// round.
/// \throws DataError when the matrix is not positive semidefinite
PYSCALE_API std::vector<double> inverse(Span<const double> matrix, Index n_parameters, int n_threads);

}  // namespace pyscale
