#include <algorithm>
#include <cmath>
#include <pyscale/error.hpp>  // for cat
#include <pyscale/levmar.hpp>
#include <stdexcept>
#include <utility>

#include "detail/cholesky.hpp"

namespace pyscale {
namespace {

constexpr double kLargestDamping = 1e12, kSmallestDamping = 1e-14;

/// One trial: the step and the decrease of the cost that the quadratic model promises.
struct Step {
  std::vector<double> delta;
  double predicted_decrease = 0.0;
  bool ok = false;
};

/// Solves (N + damping diag N) step = -half gradient with N scaled to a unit diagonal; keeps its memory.
class DampedSolver {
 public:
  Step step(const NormalEquations& equations, double damping, int n_threads) {
    const Index p = static_cast<Index>(equations.half_gradient.size());
    scale_.resize(equations.half_gradient.size());
    for (Index k = 0; k < p; ++k) {
      const double diagonal = equations.matrix[k * p + k];
      scale_[k] = diagonal > 0 ? 1.0 / std::sqrt(diagonal) : 1.0;
    }
    diagonal_.assign(scale_.size(), 1.0 + damping);
    Step step;
    if (factor_.factor(equations.matrix, scale_, diagonal_, n_threads) >= 0) return step;
    rhs_.resize(scale_.size());
    for (Index k = 0; k < p; ++k) rhs_[k] = -scale_[k] * equations.half_gradient[k];
    step.delta = rhs_;
    factor_.solve(step.delta);
    step.ok = true;
    for (Index k = 0; k < p; ++k) {
      const double x = step.delta[k];
      step.predicted_decrease += x * rhs_[k] + damping * x * x;
      step.ok = step.ok && std::isfinite(x);
      step.delta[k] *= scale_[k];
    }
    return step;
  }

 private:
  detail::Cholesky factor_;
  std::vector<double> scale_, diagonal_, rhs_;
};

class Minimiser {
 public:
  Minimiser(const LeastSquaresProblem& problem, const LevMarOptions& options)
      : problem_(problem), options_(options) {}

  LevMarSummary run(Span<const double> start, const IterationCallback& on_iteration) {
    summary_.parameters.assign(start.begin(), start.end());
    problem_.evaluate(start, summary_.equations);
    summary_.initial_cost = summary_.final_cost = summary_.equations.cost;
    if (!std::isfinite(summary_.initial_cost))
      return stop(Termination::failed, "the cost at the start is not finite");
    damping_ = options_.initial_damping;
    for (int k = 0; k < options_.max_iterations; ++k) {
      const bool ended = iterate(k);
      if (on_iteration && !summary_.iterations.empty() && !on_iteration(summary_.iterations.back()))
        return stop(Termination::stopped_by_caller, "stopped by the caller");
      if (ended) return std::move(summary_);
    }
    return stop(Termination::max_iterations,
                cat("not converged after ", options_.max_iterations, " iterations"));
  }

 private:
  LevMarSummary stop(Termination termination, std::string message) {
    summary_.termination = termination;
    summary_.message = std::move(message);
    return std::move(summary_);
  }

  bool end(Termination termination, std::string message) {
    summary_.termination = termination;
    summary_.message = std::move(message);
    return true;
  }

  /// One trial step; true when the minimisation has ended.
  bool iterate(int index) {
    const double cost = summary_.equations.cost;
    const double tolerance = options_.cost_tolerance * cost;
    const Step step = solver_.step(summary_.equations, damping_, options_.n_threads);
    IterationSummary it{index, cost, 0.0, step.predicted_decrease, damping_, false};
    if (step.ok) {
      if (step.predicted_decrease <= 0.01 * tolerance || cost == 0.0) {
        summary_.iterations.push_back(it);
        return end(Termination::converged, "the predicted decrease is insignificant");
      }
      std::vector<double> trial(summary_.parameters);
      for (std::size_t k = 0; k < trial.size(); ++k) trial[k] += step.delta[k];
      problem_.evaluate(trial, trial_equations_);
      it.decrease = cost - trial_equations_.cost;
      it.accepted = std::isfinite(trial_equations_.cost) && it.decrease > 0;
      if (it.accepted) {
        summary_.parameters = std::move(trial);
        std::swap(summary_.equations, trial_equations_);
        summary_.final_cost = it.cost = summary_.equations.cost;
      }
    }
    summary_.iterations.push_back(it);
    return it.accepted ? accepted(it, tolerance) : rejected();
  }

  bool accepted(const IterationSummary& it, double tolerance) {
    const double gain = it.decrease / it.predicted_decrease;
    damping_ =
        std::max(kSmallestDamping, damping_ * std::max(1.0 / 3.0, 1.0 - std::pow(2.0 * gain - 1.0, 3)));
    growth_ = 2.0;
    if (it.decrease > tolerance || it.predicted_decrease > tolerance) return false;
    return end(Termination::converged, "the decrease is insignificant");
  }

  bool rejected() {
    damping_ *= growth_;
    growth_ *= 2.0;
    if (damping_ < kLargestDamping) return false;
    return end(Termination::no_further_decrease, "no step decreases the cost any more");
  }

  const LeastSquaresProblem& problem_;
  const LevMarOptions& options_;
  LevMarSummary summary_;
  NormalEquations trial_equations_;
  DampedSolver solver_;
  double damping_ = 0.0, growth_ = 2.0;
};

}  // namespace

void LevMarOptions::validate() const {
  if (max_iterations < 1)
    throw std::invalid_argument(cat("max_iterations must be at least 1, got ", max_iterations));
  if (!(cost_tolerance > 0))
    throw std::invalid_argument(cat("cost_tolerance must be positive, got ", cost_tolerance));
  if (!(initial_damping > 0))
    throw std::invalid_argument(cat("initial_damping must be positive, got ", initial_damping));
  if (n_threads < 1) throw std::invalid_argument(cat("n_threads must be at least 1, got ", n_threads));
}

const char* to_string(Termination termination) {
  switch (termination) {
    case Termination::converged:
      return "converged";
    case Termination::max_iterations:
      return "max_iterations";
    case Termination::no_further_decrease:
      return "no_further_decrease";
    case Termination::stopped_by_caller:
      return "stopped_by_caller";
    case Termination::failed:
      break;
  }
  return "failed";
}

LevMarSummary minimise(const LeastSquaresProblem& problem, Span<const double> start,
                       const LevMarOptions& options, const IterationCallback& on_iteration) {
  options.validate();
  if (start.size() != problem.n_parameters())
    throw std::invalid_argument(
        cat("start must have ", problem.n_parameters(), " elements, got ", start.size()));
  return Minimiser(problem, options).run(start, on_iteration);
}

}  // namespace pyscale
