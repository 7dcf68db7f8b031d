#include "detail/determined_inverse.hpp"

#include <Eigen/Eigenvalues>
#include <Eigen/QR>
#include <cmath>
#include <limits>
#include <optional>
#include <pyscale/parallel.hpp>
#include <pyscale/random.hpp>

#include "detail/cholesky.hpp"

namespace pyscale::detail {
namespace {

using Vector = Eigen::VectorXd;
using ColumnMatrix = Eigen::MatrixXd;

constexpr int kLanczosSteps = 24, kFirstBlock = 16, kGuard = 4, kMostIterations = 40;
constexpr Index kSmall = 64;                 ///< eigenvalues of matrices up to this size cost next to nothing
constexpr Index kWorthThreads = 10'000'000;  ///< products below which waking threads costs more than it gains
constexpr double kRidge = 1e-12, kLargestRidge = 1e-9, kRounding = 1e-15;

Span<const double> view(const Matrix& a) { return {a.data(), a.size()}; }
Span<const double> view(const Vector& a) { return {a.data(), a.size()}; }

bool factorise(Cholesky& factor, const Matrix& a, double ridge, int n_threads) {
  const Vector ones = Vector::Ones(a.rows()), diagonal = a.diagonal().array() + ridge;
  return factor.factor(view(a), view(ones), view(diagonal), n_threads) < 0;
}

Matrix inverse_of(Cholesky& factor, int n_threads) {
  const std::vector<double> inverse = factor.inverse(n_threads);
  return Eigen::Map<const Matrix>(inverse.data(), factor.size(), factor.size());
}

double one_norm(const Matrix& a) { return a.size() > 0 ? a.cwiseAbs().rowwise().sum().maxCoeff() : 0.0; }

/// Numbers in [-1/2, 1/2), the same on every platform.
ColumnMatrix random_matrix(Eigen::Index n_rows, Eigen::Index n_columns) {
  KeyedRandom random(static_cast<std::uint64_t>(n_columns));
  return ColumnMatrix::NullaryExpr(
      n_rows, n_columns, [&] { return static_cast<double>(random.next() >> 11) * 0x1.0p-53 - 0.5; });
}

/// Largest eigenvalue of a symmetric positive semidefinite matrix: Lanczos' method, fully orthogonalised.
double largest_eigenvalue(const Matrix& a) {
  const Eigen::Index p = a.rows(), steps = std::min<Eigen::Index>(p, kLanczosSteps);
  ColumnMatrix q = ColumnMatrix::Zero(p, steps), t = ColumnMatrix::Zero(steps, steps);
  Vector w = random_matrix(p, 1);
  for (Eigen::Index k = 0; k < steps; ++k) {
    const double length = w.norm();
    if (!(length > kRounding * t.diagonal().maxCoeff())) break;
    if (k > 0) t(k, k - 1) = t(k - 1, k) = length;
    q.col(k) = w / length;
    w.noalias() = a * q.col(k);
    t(k, k) = q.col(k).dot(w);
    for (int repeat = 0; repeat < 2; ++repeat) w -= q * (q.transpose() * w).eval();
  }
  return Eigen::SelfAdjointEigenSolver<ColumnMatrix>(t, Eigen::EigenvaluesOnly).eigenvalues().maxCoeff();
}

/// Concentrates each vector of an orthonormal basis on few rows: the projections of the unit vectors that a
/// pivoted QR decomposition selects, made orthonormal (Damle, Lin & Ying 2015, J. Chem. Theory Comput. 11).
Matrix concentrated(const ColumnMatrix& basis) {
  if (basis.cols() == 0) return basis;
  const Eigen::ColPivHouseholderQR<ColumnMatrix> qr(basis.transpose());
  return basis * ColumnMatrix(qr.householderQ());
}

ColumnMatrix orthonormal(const ColumnMatrix& a) {
  const Eigen::HouseholderQR<ColumnMatrix> qr(a);
  return qr.householderQ() * ColumnMatrix::Identity(a.rows(), a.cols());
}

/// Eigenvectors of eigenvalues up to `limit` by iteration of a block with the inverse of a + ridge.
class InverseIteration {
 public:
  InverseIteration(const Matrix& a, double largest, int n_threads)
      : a_(a), largest_(largest), n_threads_(n_threads) {}

  /// Nothing where they are too many, or are not told apart from the rest.
  std::optional<ColumnMatrix> run() {
    if (!factorise_with_ridge()) return std::nullopt;
    const Eigen::Index largest_block = a_.rows() / 4;
    ColumnMatrix block = random_matrix(a_.rows(), std::min<Eigen::Index>(kFirstBlock, largest_block));
    Eigen::Index n_before = -1;
    double residual_before = std::numeric_limits<double>::infinity();
    for (int iteration = 0; iteration < kMostIterations; ++iteration) {
      const Vector values = iterate(block);
      const Eigen::Index n = (values.array() <= kRankTolerance * largest_).count();
      if (n > block.cols() - kGuard) {
        if (block.cols() == largest_block) return std::nullopt;
        const Eigen::Index size = std::min(2 * block.cols(), largest_block);
        ColumnMatrix larger(block.rows(), size);
        larger << block, random_matrix(block.rows(), size - block.cols());
        block = std::move(larger);
        continue;
      }
      const double residual = (a_ * block.leftCols(n)).norm();
      const bool settled = residual < kRounding * largest_ || residual > 0.5 * residual_before;
      if (n == n_before && settled) return ColumnMatrix(block.leftCols(n));
      n_before = n;
      residual_before = residual;
    }
    return std::nullopt;
  }

 private:
  bool factorise_with_ridge() {
    for (double ridge = kRidge; ridge <= kLargestRidge; ridge *= 10.0)
      if (factorise(factor_, a_, ridge * largest_, n_threads_)) return true;
    return false;
  }

  /// One multiplication by the inverse; the block becomes Ritz vectors, their values ascending.
  Vector iterate(ColumnMatrix& block) const {
    const int n_threads = block.size() * block.rows() < kWorthThreads ? 1 : n_threads_;
    for_each_chunk(fixed_size_edges(block.cols(), 1), n_threads, [&](Index, Index column, Index) {
      factor_.solve({block.col(column).data(), block.rows()});
    });
    block = orthonormal(block);
    const ColumnMatrix projected = block.transpose() * (a_ * block).eval();
    const Eigen::SelfAdjointEigenSolver<ColumnMatrix> solver(projected);
    block = (block * solver.eigenvectors()).eval();
    return solver.eigenvalues();
  }

  const Matrix& a_;
  double largest_;
  int n_threads_;
  Cholesky factor_;
};

/// The inverse of a matrix that a Cholesky factor shows to be well conditioned.
std::optional<DeterminedInverse> full_inverse(const Matrix& a, int n_threads) {
  Cholesky factor;
  if (!factorise(factor, a, 0.0, n_threads)) return std::nullopt;
  DeterminedInverse out{inverse_of(factor, n_threads), Matrix(a.rows(), 0), 0.0};
  if (!(one_norm(a) * one_norm(out.inverse) < 0.1 / kRankTolerance)) return std::nullopt;
  out.condition = largest_eigenvalue(a) * largest_eigenvalue(out.inverse);
  return out;
}

/// The inverse without the few directions that inverse iteration finds undetermined.
std::optional<DeterminedInverse> deflated_inverse(const Matrix& a, int n_threads) {
  const double largest = largest_eigenvalue(a);
  const std::optional<ColumnMatrix> z = InverseIteration(a, largest, n_threads).run();
  if (!z) return std::nullopt;
  const Matrix filled = a + *z * z->transpose();
  Cholesky factor;
  if (!factorise(factor, filled, 0.0, n_threads)) return std::nullopt;
  DeterminedInverse out{inverse_of(factor, n_threads), concentrated(*z), 0.0};
  out.inverse -= *z * (z->transpose() * out.inverse).eval();
  out.inverse -= (out.inverse * *z).eval() * z->transpose();
  out.condition = largest * largest_eigenvalue(out.inverse);
  if (!(out.condition < 1.0 / kRankTolerance)) return std::nullopt;
  return out;
}

DeterminedInverse spectral_inverse(const Matrix& a) {
  const Eigen::SelfAdjointEigenSolver<ColumnMatrix> solver(a);
  const Vector& value = solver.eigenvalues();
  const double largest = value.maxCoeff();
  const Eigen::Index n_undetermined = (value.array() <= kRankTolerance * largest).count();
  const ColumnMatrix determined = solver.eigenvectors().rightCols(value.size() - n_undetermined);
  DeterminedInverse out;
  out.inverse =
      determined * value.tail(determined.cols()).cwiseInverse().asDiagonal() * determined.transpose();
  out.undetermined = concentrated(solver.eigenvectors().leftCols(n_undetermined));
  if (determined.cols() > 0) out.condition = largest / value[n_undetermined];
  return out;
}

DeterminedInverse inverse_of_occupied(const Matrix& a, int n_threads) {
  if (auto out = full_inverse(a, n_threads)) return std::move(*out);
  if (a.rows() > kSmall)
    if (auto out = deflated_inverse(a, n_threads)) return std::move(*out);
  return spectral_inverse(a);
}

}  // namespace

DeterminedInverse determined_inverse(Matrix scaled, int n_threads) {
  std::vector<Eigen::Index> empty;
  for (Eigen::Index k = 0; k < scaled.rows(); ++k)
    if (scaled(k, k) == 0.0) empty.push_back(k);
  if (static_cast<Eigen::Index>(empty.size()) == scaled.rows())
    return {Matrix::Zero(scaled.rows(), scaled.rows()), Matrix::Identity(scaled.rows(), scaled.rows()), 0.0};
  // Rows without any information are apart from the rest: a one holds their place.
  for (const Eigen::Index k : empty) scaled(k, k) = 1.0;
  DeterminedInverse out = inverse_of_occupied(scaled, n_threads);
  const Eigen::Index n_others = out.undetermined.cols(), n_empty = static_cast<Eigen::Index>(empty.size());
  out.undetermined.conservativeResize(scaled.rows(), n_others + n_empty);
  out.undetermined.rightCols(n_empty).setZero();
  for (Eigen::Index k = 0; k < n_empty; ++k) {
    out.inverse(empty[k], empty[k]) = 0.0;
    out.undetermined(empty[k], n_others + k) = 1.0;
  }
  return out;
}

}  // namespace pyscale::detail
