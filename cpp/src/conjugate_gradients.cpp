#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <pyscale/error.hpp>  // for require_size
#include <pyscale/parallel.hpp>

#include "detail/normal_operator_impl.hpp"

namespace pyscale {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Factor = Eigen::LLT<Matrix>;

constexpr double kRidge = 1e-12;
constexpr Index kBlocksPerChunk = 256;
constexpr Index kSmallBlock = 4;  ///< parameters of a block up to which its inverse is kept
constexpr double kLeastPivot = 1e-8;

/// Cholesky factor of a matrix scaled to a unit diagonal, with the least ridge that makes it positive
/// definite.
class ScaledFactor {
 public:
  void factor(Matrix a, const Eigen::VectorXd& diagonal) {
    scale_ = diagonal.unaryExpr([](double d) { return d > 0 ? 1.0 / std::sqrt(d) : 1.0; });
    a = scale_.asDiagonal() * a * scale_.asDiagonal();
    for (double ridge = kRidge; ridge < 1.0; ridge *= 100.0) {
      Matrix shifted = a;
      shifted.diagonal().array() += ridge;
      for (Index k = 0; k < shifted.rows(); ++k)
        if (!(shifted(k, k) > ridge)) shifted(k, k) = 1.0;
      factor_.compute(shifted);
      if (factor_.info() == Eigen::Success) return;
    }
    factor_.compute(Matrix::Identity(a.rows(), a.cols()));
  }

  /// b (n, n_vectors) becomes the solution.
  void solve(Eigen::Ref<Matrix> b) const {
    b = scale_.asDiagonal() * b;
    factor_.solveInPlace(b);
    b = scale_.asDiagonal() * b;
  }

 private:
  Eigen::VectorXd scale_;
  Factor factor_;
};

/// Inverts a positive definite matrix (n, n) in place by Gauss-Jordan steps; false, and it is spoilt, if that
/// takes more care.
bool invert_small(double* a, Index n) {
  double scale[kSmallBlock];
  for (Index k = 0; k < n; ++k) {
    if (!(a[k * n + k] > 0)) return false;
    scale[k] = 1.0 / std::sqrt(a[k * n + k]);
  }
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j) a[i * n + j] *= scale[i] * scale[j];
  for (Index k = 0; k < n; ++k) {
    const double pivot = a[k * n + k];
    if (!(pivot > kLeastPivot)) return false;
    a[k * n + k] = 1.0;
    for (Index j = 0; j < n; ++j) a[k * n + j] /= pivot;
    for (Index i = 0; i < n; ++i) {
      if (i == k) continue;
      const double factor = a[i * n + k];
      a[i * n + k] = 0.0;
      for (Index j = 0; j < n; ++j) a[i * n + j] -= factor * a[k * n + j];
    }
  }
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j) a[i * n + j] *= scale[i] * scale[j];
  return true;
}

class Preconditioner {
 public:
  Preconditioner(const NormalOperator& n, const CoarseModes& modes, const std::vector<double>& diagonal,
                 double damping, int n_threads)
      : blocks_(n.blocks()),
        modes_(modes),
        n_threads_(n_threads),
        offset_{0},
        inverse_(n.diagonal_blocks()),
        factors_(blocks_.size()),
        is_factored_(blocks_.size()) {
    for (const ParameterBlock& b : blocks_) offset_.push_back(offset_.back() + b.size() * b.size());
    const double* const values = n.diagonal_blocks().data();
    for_each_block([&](Index k) {
      const ParameterBlock& b = blocks_[k];
      const Index size = b.size();
      double* const inverse = inverse_.data() + offset_[k];
      for (Index i = 0; i < size; ++i) inverse[i * size + i] *= 1.0 + damping;
      if (size <= kSmallBlock && invert_small(inverse, size)) return;
      Matrix a = Eigen::Map<const Matrix>(values + offset_[k], size, size);
      a.diagonal() *= 1.0 + damping;
      factors_[k].factor(std::move(a), Eigen::Map<const Eigen::VectorXd>(diagonal.data() + b.begin, size));
      is_factored_[k] = 1;
    });
    if (modes.n_modes == 0) return;
    const std::vector<double> reduced = n.coarse_matrix(modes);
    Matrix coarse = Eigen::Map<const Matrix>(reduced.data(), modes.n_modes, modes.n_modes);
    for (std::size_t k = 0; k < diagonal.size(); ++k)
      if (modes.mode[k] >= 0)
        coarse(modes.mode[k], modes.mode[k]) += damping * modes.value[k] * modes.value[k] * diagonal[k];
    const Eigen::VectorXd coarse_diagonal = coarse.diagonal();
    coarse_.factor(std::move(coarse), coarse_diagonal);
  }

  /// z = M^-1 r.
  void apply(const Matrix& r, Matrix& z) const {
    z = r;
    for_each_block([&](Index k) {
      const ParameterBlock& b = blocks_[k];
      if (is_factored_[k]) {
        factors_[k].solve(z.middleRows(b.begin, b.size()));
      } else {
        multiply_small(inverse_.data() + offset_[k], b.size(), r.cols(), r.data() + b.begin * r.cols(),
                       z.data() + b.begin * r.cols());
      }
    });
    if (modes_.n_modes == 0) return;
    Matrix reduced = Matrix::Zero(modes_.n_modes, r.cols());
    for (Index k = 0; k < r.rows(); ++k)
      if (modes_.mode[k] >= 0) reduced.row(modes_.mode[k]) += modes_.value[k] * r.row(k);
    coarse_.solve(reduced);
    for (Index k = 0; k < r.rows(); ++k)
      if (modes_.mode[k] >= 0) z.row(k) += modes_.value[k] * reduced.row(modes_.mode[k]);
  }

 private:
  template <class Body>
  void for_each_block(Body&& body) const {
    for_each_chunk(fixed_size_edges(static_cast<Index>(blocks_.size()), kBlocksPerChunk), n_threads_,
                   [&](Index, Index begin, Index end) {
                     for (Index k = begin; k < end; ++k) body(k);
                   });
  }

  static void multiply_small(const double* inverse, Index size, Index n_vectors, const double* r, double* z) {
    for (Index i = 0; i < size; ++i)
      for (Index v = 0; v < n_vectors; ++v) {
        double sum = 0.0;
        for (Index j = 0; j < size; ++j) sum += inverse[i * size + j] * r[j * n_vectors + v];
        z[i * n_vectors + v] = sum;
      }
  }

  const std::vector<ParameterBlock>& blocks_;
  const CoarseModes& modes_;
  int n_threads_;
  std::vector<Index> offset_;
  std::vector<double> inverse_;  ///< of small blocks; of others nothing of use
  std::vector<ScaledFactor> factors_;
  std::vector<std::uint8_t> is_factored_;
  ScaledFactor coarse_;
};

Eigen::RowVectorXd dots(const Matrix& a, const Matrix& b) { return a.cwiseProduct(b).colwise().sum(); }

/// a / b where b is positive, else 0: a vector that has converged, or has met rounding, stays as it is.
Eigen::RowVectorXd ratios(const Eigen::RowVectorXd& a, const Eigen::RowVectorXd& b) {
  return a.binaryExpr(b, [](double x, double y) { return y > 0 && std::isfinite(x / y) ? x / y : 0.0; });
}

}  // namespace

LinearSolution NormalOperator::solve(Span<const double> b, Index n_vectors, const CoarseModes& modes,
                                     const SolveOptions& options) const {
  const Index p = n_parameters();
  require_size("b", b.size(), p * n_vectors);
  if (modes.n_modes > 0) {
    require_size("mode", static_cast<long long>(modes.mode.size()), p);
    require_size("value", static_cast<long long>(modes.value.size()), p);
  }
  const std::vector<double> diagonal = this->diagonal();
  const Preconditioner preconditioner(*this, modes, diagonal, options.damping, impl_->problem.n_threads);
  const Eigen::VectorXd damping = options.damping * Eigen::Map<const Eigen::VectorXd>(diagonal.data(), p);
  LinearSolution out;
  Matrix x = Matrix::Zero(p, n_vectors), z, q;
  Matrix r = Eigen::Map<const Matrix>(b.data(), p, n_vectors);
  preconditioner.apply(r, z);
  Matrix d = z;
  Eigen::RowVectorXd rz = dots(r, z);
  const Eigen::RowVectorXd start = rz;
  const double square = options.tolerance * options.tolerance;
  const auto residual = [&] { return ratios(rz, start).maxCoeff(); };
  while (residual() > square && out.n_iterations < options.max_iterations) {
    const std::vector<double> product = this->product({d.data(), d.size()}, n_vectors);
    q = Eigen::Map<const Matrix>(product.data(), p, n_vectors);
    if (options.damping > 0) q += damping.asDiagonal() * d;
    const Eigen::RowVectorXd alpha = ratios(rz, dots(d, q));
    x += d * alpha.asDiagonal();
    r -= q * alpha.asDiagonal();
    preconditioner.apply(r, z);
    const Eigen::RowVectorXd next = dots(r, z);
    d = z + (d * ratios(next, rz).asDiagonal()).eval();
    rz = next;
    ++out.n_iterations;
  }
  out.residual = std::sqrt(std::max(0.0, residual()));
  out.converged = residual() <= square;
  out.x.assign(x.data(), x.data() + x.size());
  return out;
}

}  // namespace pyscale
