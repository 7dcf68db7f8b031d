#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <Eigen/Eigenvalues>
#include <Eigen/LU>
#include <cmath>
#include <pyscale/covariance.hpp>
#include <pyscale/error.hpp>  // for require_size

namespace pyscale {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Vector = Eigen::VectorXd;
using ConstMap = Eigen::Map<const Matrix>;

constexpr double kRankTolerance = 1e-11, kRidge = 1e-9;

/// Eigenvalues (ascending) and vectors of a symmetric matrix scaled to a unit diagonal, plus the functionals.
struct ScaledSpectrum {
  Vector scale, value;
  Eigen::MatrixXd vectors;
};

template <class AnyMatrix>
Vector unit_diagonal_scale(const AnyMatrix& n) {
  return n.diagonal().unaryExpr([](double d) { return d > 0 ? 1.0 / std::sqrt(d) : 1.0; });
}

/// Functionals enter as unit vectors of the scaled parameters: as strong as one parameter, whatever their
/// units.
ScaledSpectrum scaled_spectrum(const ConstMap& n, const ConstMap& functional) {
  ScaledSpectrum s;
  s.scale = unit_diagonal_scale(n);
  Eigen::MatrixXd scaled = s.scale.asDiagonal() * n * s.scale.asDiagonal();
  for (Eigen::Index k = 0; k < functional.rows(); ++k) {
    const Vector f = functional.row(k).transpose().cwiseProduct(s.scale).normalized();
    scaled.noalias() += f * f.transpose();
  }
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(scaled);
  s.value = solver.eigenvalues();
  s.vectors = solver.eigenvectors();
  return s;
}

/// Cholesky factor of a positive semidefinite matrix of unit diagonal, with the smallest ridge that rounding
/// needs.
Eigen::LLT<Eigen::MatrixXd> ridged_factor(const Eigen::MatrixXd& scaled) {
  const auto identity = Eigen::MatrixXd::Identity(scaled.rows(), scaled.cols());
  for (double ridge = kRidge; ridge < 1.0; ridge *= 100.0) {
    Eigen::LLT<Eigen::MatrixXd> factor(scaled + ridge * identity);
    if (factor.info() == Eigen::Success) return factor;
  }
  throw DataError("the normal matrix is not positive semidefinite");
}

}  // namespace

CovarianceResult gauge_covariance(Span<const double> matrix, Span<const double> restraint,
                                  const Gauge& gauge) {
  const Index p = restraint.size(), k = gauge.n_directions;
  require_size("matrix", matrix.size(), p * p);
  require_size("gauge.direction", static_cast<long long>(gauge.direction.size()), k * p);
  require_size("gauge.functional", static_cast<long long>(gauge.functional.size()), k * p);
  const ConstMap n(matrix.data(), p, p);
  const ConstMap direction(gauge.direction.data(), k, p), functional(gauge.functional.data(), k, p);
  const ScaledSpectrum s = scaled_spectrum(n, functional);
  const double largest = p > 0 ? s.value[p - 1] : 0.0;
  CovarianceResult out;
  Vector inverse = Vector::Zero(p);
  for (Index j = 0; j < p; ++j) {
    if (s.value[j] > kRankTolerance * largest) {
      inverse[j] = 1.0 / s.value[j];
      if (out.condition == 0.0) out.condition = largest / s.value[j];
    } else {
      ++out.n_undetermined;
      for (Index q = 0; q < p; ++q) out.undetermined.push_back(s.vectors(q, j));
    }
  }
  Matrix c = s.scale.asDiagonal() * (s.vectors * inverse.asDiagonal() * s.vectors.transpose()) *
             s.scale.asDiagonal();
  if (k > 0) {
    const Matrix fixed = functional * direction.transpose();
    const Matrix q =
        Matrix::Identity(p, p) - direction.transpose() * fixed.partialPivLu().solve(Matrix(functional));
    c = (q * c * q.transpose()).eval();
  }
  const Eigen::Map<const Vector> lambda(restraint.data(), p);
  out.effective_parameters =
      static_cast<double>(p - k - out.n_undetermined) - (c.diagonal().array() * lambda.array()).sum();
  out.covariance.assign(c.data(), c.data() + c.size());
  return out;
}

std::vector<double> inverse_diagonal(Span<const double> matrix, Index n_parameters) {
  const Index p = n_parameters;
  require_size("matrix", matrix.size(), p * p);
  const ConstMap n(matrix.data(), p, p);
  const Vector scale = unit_diagonal_scale(n);
  const Eigen::MatrixXd scaled = scale.asDiagonal() * n * scale.asDiagonal();
  const Eigen::LLT<Eigen::MatrixXd> factor = ridged_factor(scaled);
  Eigen::MatrixXd inverse_lower = Eigen::MatrixXd::Identity(p, p);
  factor.matrixL().solveInPlace(inverse_lower);
  const Vector diagonal = inverse_lower.colwise().squaredNorm().transpose().array() * scale.array().square();
  return {diagonal.data(), diagonal.data() + p};
}

}  // namespace pyscale
