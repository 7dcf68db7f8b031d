// Levenberg-Marquardt and Gauss-Newton, the first with diagonal scaling and an honest reason for stopping.
#pragma once
#include <functional>
#include <limits>
#include <pyscale/export.hpp>
#include <pyscale/normal_operator.hpp>
#include <string>
#include <vector>

namespace pyscale {

struct PYSCALE_API LevMarOptions {
  int max_iterations = 50;  ///< accepted and rejected steps together, >= 1
  double cost_tolerance =
      1e-8;  ///< stop when both the actual and the predicted decrease are below this * cost
  double initial_damping = 1e-4;   ///< lambda in (N + lambda diag N) step = -half gradient
  int n_threads = 1;               ///< of the solver; the same bits for any number
  double solver_tolerance = 1e-4;  ///< of each step's linear system where it is solved iteratively
  bool gauss_newton = false;       ///< full steps without damping, until one increases the cost
  bool keep_matrix = false;  ///< small steps go on with the matrix of an earlier point while it predicts well
  /// (p) how far a parameter moves in one step at most, or empty: one data set that a step would throw far
  /// off does not hold back all others
  std::vector<double> largest_step = {};
  /// \throws std::invalid_argument naming the field
  void validate() const;
};

enum class Termination {
  converged,            ///< the decrease became insignificant
  max_iterations,       ///< not converged; the parameters are the best found
  no_further_decrease,  ///< no damping gives a lower cost: at the limit of rounding, or a cost that is not
                        ///< smooth
  stopped_by_caller,
  singular,  ///< Gauss-Newton alone: no undamped step; the parameters are the best found
  failed     ///< nothing usable: the message says why
};

PYSCALE_API const char* to_string(Termination termination);

struct IterationSummary {
  int index = 0;
  double cost = 0.0, decrease = 0.0, predicted_decrease = 0.0, damping = 0.0;
  bool accepted = false;
};

struct LevMarSummary {
  Termination termination = Termination::failed;
  std::string message = "minimise() was not called";
  double initial_cost = std::numeric_limits<double>::quiet_NaN();
  double final_cost = std::numeric_limits<double>::quiet_NaN();
  std::vector<IterationSummary> iterations;
  std::vector<double> parameters;
  NormalEquations equations;  ///< undamped, at the final parameters; see keep_matrix
};

/// Called between iterations from the calling thread; false stops.
using IterationCallback = std::function<bool(const IterationSummary&)>;

/// Damping after Nielsen (1999): lambda *= max(1/3, 1 - (2 rho - 1)^3) on success, doubled growth on failure.
PYSCALE_API LevMarSummary minimise(const LeastSquaresProblem& problem, Span<const double> start,
                                   const LevMarOptions& options, const IterationCallback& on_iteration = {});

/// The same without ever forming the matrix: steps by NormalOperator::solve. `equations.matrix` stays empty.
PYSCALE_API LevMarSummary minimise_iteratively(const FitProblem& problem, Span<const double> start,
                                               const CoarseModes& modes, const LevMarOptions& options,
                                               const IterationCallback& on_iteration = {});

}  // namespace pyscale
