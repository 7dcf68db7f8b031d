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

constexpr double kRankTolerance = 1e-11;

/// Eigenvalues (ascending) and vectors of a symmetric matrix scaled to a unit diagonal.
struct ScaledSpectrum {
  Vector scale, value;
  Eigen::MatrixXd vectors;
};

Vector unit_diagonal_scale(const Matrix& n) {
  return n.diagonal().unaryExpr([](double d) { return d > 0 ? 1.0 / std::sqrt(d) : 1.0; });
}

ScaledSpectrum scaled_spectrum(const Matrix& n) {
  ScaledSpectrum s;
  s.scale = unit_diagonal_scale(n);
  const Eigen::MatrixXd scaled = s.scale.asDiagonal() * n * s.scale.asDiagonal();
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(scaled);
  s.value = solver.eigenvalues();
  s.vectors = solver.eigenvectors();
  return s;
}

/// N plus the square of each functional, scaled to weigh as much as one well-determined parameter.
Matrix with_functionals(const Matrix& n, const ConstMap& functional) {
  const Vector scale = unit_diagonal_scale(n);
  Matrix sum = n;
  for (Eigen::Index k = 0; k < functional.rows(); ++k) {
    const double square = (functional.row(k).transpose().array() * scale.array()).square().sum();
    if (square > 0) sum.noalias() += functional.row(k).transpose() * functional.row(k) / square;
  }
  return sum;
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
  const ScaledSpectrum s = scaled_spectrum(with_functionals(n, functional));
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

}  // namespace pyscale
