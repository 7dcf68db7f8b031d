#include <Eigen/Core>
#include <Eigen/LU>
#include <cmath>
#include <pyscale/covariance.hpp>
#include <pyscale/error.hpp>  // for require_size

#include "detail/cholesky.hpp"
#include "detail/determined_inverse.hpp"

namespace pyscale {
namespace {

using detail::Matrix;
using Vector = Eigen::VectorXd;
using ConstMap = Eigen::Map<const Matrix>;

constexpr double kRidge = 1e-9;

Vector unit_diagonal_scale(const ConstMap& n) {
  return n.diagonal().unaryExpr([](double d) { return d > 0 ? 1.0 / std::sqrt(d) : 1.0; });
}

/// The matrix scaled to a unit diagonal, plus the functionals as unit vectors of the scaled parameters: as
/// strong as one parameter, whatever their units.
Matrix scaled_with_functionals(const ConstMap& n, const ConstMap& functional, const Vector& scale) {
  Matrix scaled = scale.asDiagonal() * n * scale.asDiagonal();
  for (Eigen::Index k = 0; k < functional.rows(); ++k) {
    const Vector f = functional.row(k).transpose().cwiseProduct(scale).normalized();
    scaled.noalias() += f * f.transpose();
  }
  return scaled;
}

/// c becomes Q c Q^T with Q = 1 - direction^T (functional direction^T)^-1 functional.
void project(const ConstMap& direction, const ConstMap& functional, Matrix& c) {
  const Matrix fixed = functional * direction.transpose();
  const Matrix coordinates = fixed.partialPivLu().solve(Matrix(functional));
  c -= direction.transpose() * (coordinates * c).eval();
  c -= (c * coordinates.transpose()).eval() * direction;
}

}  // namespace

CovarianceResult gauge_covariance(Span<const double> matrix, Index n_parameters, const Gauge& gauge,
                                  int n_threads) {
  const Index p = n_parameters, k = gauge.n_directions;
  require_size("matrix", matrix.size(), p * p);
  require_size("gauge.direction", static_cast<long long>(gauge.direction.size()), k * p);
  require_size("gauge.functional", static_cast<long long>(gauge.functional.size()), k * p);
  const ConstMap n(matrix.data(), p, p);
  const ConstMap direction(gauge.direction.data(), k, p), functional(gauge.functional.data(), k, p);
  const Vector scale = unit_diagonal_scale(n);
  detail::DeterminedInverse s =
      detail::determined_inverse(scaled_with_functionals(n, functional, scale), n_threads);
  s.inverse.array().colwise() *= scale.array();
  s.inverse.array().rowwise() *= scale.transpose().array();
  if (k > 0) project(direction, functional, s.inverse);
  CovarianceResult out;
  out.condition = s.condition;
  out.n_undetermined = s.undetermined.cols();
  const Matrix undetermined = s.undetermined.transpose();
  out.undetermined.assign(undetermined.data(), undetermined.data() + undetermined.size());
  out.covariance.assign(s.inverse.data(), s.inverse.data() + s.inverse.size());
  return out;
}

std::vector<double> inverse(Span<const double> matrix, Index n_parameters, int n_threads) {
  const Index p = n_parameters;
  require_size("matrix", matrix.size(), p * p);
  const ConstMap n(matrix.data(), p, p);
  const Vector scale = unit_diagonal_scale(n);
  const Vector unit = n.diagonal().array() * scale.array().square();
  detail::Cholesky factor;
  for (double ridge = kRidge; ridge < 1.0; ridge *= 100.0) {
    const Vector diagonal = unit.array() + ridge;
    if (factor.factor(matrix, {scale.data(), p}, {diagonal.data(), p}, n_threads) >= 0) continue;
    std::vector<double> out = factor.inverse(n_threads);
    for (Index i = 0; i < p; ++i)
      for (Index j = 0; j < p; ++j) out[i * p + j] *= scale[i] * scale[j];
    return out;
  }
  throw DataError("the normal matrix is not positive semidefinite");
}

}  // namespace pyscale
