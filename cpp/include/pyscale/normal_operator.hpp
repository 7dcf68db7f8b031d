// The normal matrix J^T W J + restraints at one point, without forming it: products, diagonal blocks,
// solutions.
#pragma once
#include <cstdint>
#include <memory>
#include <pyscale/export.hpp>
#include <pyscale/fit_problem.hpp>
#include <pyscale/span.hpp>
#include <vector>

namespace pyscale {

/// Few combinations of many parameters, one for each mode: a parameter takes part in one mode at most.
struct CoarseModes {
  Index n_modes = 0;
  std::vector<std::int32_t> mode;  ///< (p) number of the mode, -1 for none
  std::vector<double> value;       ///< (p)
};

struct SolveOptions {
  double damping = 0.0;     ///< lambda in (N + lambda diag N) x = b
  double tolerance = 1e-8;  ///< of the residual, in the preconditioner's norm and relative to the start's
  int max_iterations = 1000;
};

struct LinearSolution {
  std::vector<double> x;  ///< (p, n_vectors) row-major
  int n_iterations = 0;
  double residual = 0.0;  ///< largest of the vectors, as in SolveOptions::tolerance
  bool converged = false;
};

/// N = J^T W J + restraints of a FitProblem at some parameters, held parameters as in FitProblem::evaluate.
/// Valid while the problem lives and its weights, intensities, restraints and held parameters stay.
/// Results are the same bits for any number of threads.
class PYSCALE_API NormalOperator {
 public:
  NormalOperator(const FitProblem& problem, Span<const double> parameters);
  ~NormalOperator();
  NormalOperator(NormalOperator&&) noexcept;
  NormalOperator& operator=(NormalOperator&&) noexcept;

  double cost() const;                               ///< Phi
  const std::vector<double>& half_gradient() const;  ///< (p)
  Index n_parameters() const;

  /// N x for vectors x (p, n_vectors), row-major as the result.
  std::vector<double> product(Span<const double> x, Index n_vectors) const;

  /// Parameters of each data set, then of what data sets share; together all of them, none twice.
  const std::vector<ParameterBlock>& blocks() const;
  /// Diagonal blocks of N, each (size, size) row-major, one after the other.
  const std::vector<double>& diagonal_blocks() const;
  /// Diagonal of N, (p).
  std::vector<double> diagonal() const;
  /// Z^T N Z, (n_modes, n_modes) row-major.
  std::vector<double> coarse_matrix(const CoarseModes& modes) const;

  /// Solves (N + damping diag N) x = b by conjugate gradients, preconditioned by the diagonal blocks and, if
  /// there are modes, additively by N on these. b is (p, n_vectors), row-major. Starts from zero.
  LinearSolution solve(Span<const double> b, Index n_vectors, const CoarseModes& modes,
                       const SolveOptions& options) const;

 private:
  friend class FitProblem;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pyscale
