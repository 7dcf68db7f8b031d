#include <algorithm>
#include <cmath>
#include <optional>
#include <pyscale/error.hpp>  // for cat, require_size
#include <pyscale/levmar.hpp>
#include <stdexcept>
#include <utility>

#include "detail/cholesky.hpp"

namespace pyscale {
namespace {

constexpr double kLargestDamping = 1e12, kSmallestDamping = 1e-14;
/// Decrease relative to the cost up to which a step counts as small, and how far its gain may be from 1.
constexpr double kSmallDecrease = 3e-5, kLeastGain = 0.5, kMostGain = 2.0;

/// One trial: the step and the decrease of the cost that the quadratic model promises.
struct Step {
  std::vector<double> delta;
  double predicted_decrease = 0.0;
  bool ok = false;
};

/// Steps by a Cholesky factor of N + damping diag N, scaled to a unit diagonal; keeps its memory.
class DenseEngine {
 public:
  using Point = NormalEquations;
  static constexpr bool kHasMatrix = true;

  DenseEngine(const LeastSquaresProblem& problem, const LevMarOptions& options)
      : problem_(problem), n_threads_(options.n_threads) {}

  void evaluate(Span<const double> parameters, Point& point) const { problem_.evaluate(parameters, point); }
  /// Everything but the matrix.
  void evaluate_gradient(Span<const double> parameters, Point& point) const {
    point.cost = problem_.cost_and_half_gradient(parameters, point.half_gradient);
  }
  static double cost(const Point& point) { return point.cost; }

  Step step(const Point& equations, double damping) {
    const Index p = static_cast<Index>(equations.half_gradient.size());
    scale_.resize(equations.half_gradient.size());
    for (Index k = 0; k < p; ++k) {
      const double diagonal = equations.matrix[k * p + k];
      scale_[k] = diagonal > 0 ? 1.0 / std::sqrt(diagonal) : 1.0;
    }
    diagonal_.assign(scale_.size(), 1.0 + damping);
    Step step;
    if (factor_.factor(equations.matrix, scale_, diagonal_, n_threads_) >= 0) return step;
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

  /// N x, without damping.
  static std::vector<double> product(const Point& equations, const std::vector<double>& x) {
    const std::size_t p = x.size();
    std::vector<double> result(p);
    for (std::size_t r = 0; r < p; ++r)
      for (std::size_t c = 0; c < p; ++c) result[r] += equations.matrix[r * p + c] * x[c];
    return result;
  }
  static const std::vector<double>& half_gradient(const Point& equations) { return equations.half_gradient; }

  static void finish(Point& point, LevMarSummary& summary) { summary.equations = std::move(point); }

 private:
  const LeastSquaresProblem& problem_;
  int n_threads_;
  detail::Cholesky factor_;
  std::vector<double> scale_, diagonal_, rhs_;
};

/// Steps by conjugate gradients on the operator N + damping diag N.
class IterativeEngine {
 public:
  using Point = std::optional<NormalOperator>;
  static constexpr bool kHasMatrix = false;

  IterativeEngine(const FitProblem& problem, const CoarseModes& modes, const LevMarOptions& options)
      : problem_(problem), modes_(modes), tolerance_(options.solver_tolerance) {}

  void evaluate(Span<const double> parameters, Point& point) const { point.emplace(problem_, parameters); }
  static double cost(const Point& point) { return point->cost(); }

  Step step(const Point& point, double damping) const {
    std::vector<double> rhs(point->half_gradient());
    for (double& value : rhs) value = -value;
    LinearSolution solution = point->solve(rhs, 1, modes_, {damping, tolerance_, kMostSolverIterations});
    const std::vector<double> diagonal = point->diagonal();
    Step step;
    step.ok = true;
    for (std::size_t k = 0; k < rhs.size(); ++k) {
      const double x = solution.x[k];
      step.predicted_decrease += x * rhs[k] + damping * x * x * diagonal[k];
      step.ok = step.ok && std::isfinite(x);
    }
    step.delta = std::move(solution.x);
    return step;
  }

  static std::vector<double> product(const Point& point, const std::vector<double>& x) {
    return point->product(x, 1);
  }
  static const std::vector<double>& half_gradient(const Point& point) { return point->half_gradient(); }

  static void finish(Point& point, LevMarSummary& summary) {
    summary.equations.cost = point->cost();
    summary.equations.half_gradient = point->half_gradient();
    summary.equations.matrix.clear();
  }

 private:
  static constexpr int kMostSolverIterations = 500;

  const FitProblem& problem_;
  const CoarseModes& modes_;
  double tolerance_;
};

/// Levenberg-Marquardt, or Gauss-Newton, whose steps are never damped and never taken back.
template <class Engine>
class Minimiser {
 public:
  template <class... Arguments>
  explicit Minimiser(const LevMarOptions& options, Arguments&&... arguments)
      : engine_(std::forward<Arguments>(arguments)...), options_(options) {}

  LevMarSummary run(Span<const double> start, const IterationCallback& on_iteration) {
    summary_.parameters.assign(start.begin(), start.end());
    engine_.evaluate(start, point_);
    summary_.initial_cost = summary_.final_cost = engine_.cost(point_);
    if (!std::isfinite(summary_.initial_cost))
      return stop(Termination::failed, "the cost at the start is not finite");
    damping_ = options_.gauss_newton ? 0.0 : options_.initial_damping;
    for (int k = 0; k < options_.max_iterations; ++k) {
      const bool ended = iterate(k);
      if (on_iteration && !summary_.iterations.empty() && !on_iteration(summary_.iterations.back()))
        return stop(Termination::stopped_by_caller, "stopped by the caller");
      if (ended) return stop(summary_.termination, summary_.message);
    }
    return stop(Termination::max_iterations,
                cat("not converged after ", options_.max_iterations, " iterations"));
  }

 private:
  LevMarSummary stop(Termination termination, std::string message) {
    summary_.termination = termination;
    summary_.message = std::move(message);
    engine_.finish(point_, summary_);
    return std::move(summary_);
  }

  bool end(Termination termination, std::string message) {
    summary_.termination = termination;
    summary_.message = std::move(message);
    return true;
  }

  /// One trial step; true when the minimisation has ended.
  bool iterate(int index) {
    const double cost = engine_.cost(point_);
    const double tolerance = options_.cost_tolerance * cost;
    Step step = engine_.step(point_, damping_);
    if (step.ok) limit(step);
    IterationSummary it{index, cost, 0.0, step.predicted_decrease, damping_, false};
    if (step.ok) {
      if (step.predicted_decrease <= 0.01 * tolerance || cost == 0.0) {
        summary_.iterations.push_back(it);
        return end(Termination::converged, "the predicted decrease is insignificant");
      }
      std::vector<double> trial(summary_.parameters);
      for (std::size_t k = 0; k < trial.size(); ++k) trial[k] += step.delta[k];
      const bool keeps = evaluate_trial(trial, step.predicted_decrease <= kSmallDecrease * cost);
      it.decrease = cost - engine_.cost(trial_point_);
      it.accepted = std::isfinite(engine_.cost(trial_point_)) && it.decrease > 0;
      if (it.accepted) {
        summary_.parameters = std::move(trial);
        accept_trial(keeps);
        summary_.final_cost = it.cost = engine_.cost(point_);
      }
    }
    summary_.iterations.push_back(it);
    if (!it.accepted && is_kept_) return renew();
    if (!it.accepted && options_.gauss_newton)
      return step.ok ? end(Termination::no_further_decrease, "a full step increases the cost")
                     : end(Termination::singular, "the normal matrix is singular");
    return it.accepted ? accepted(it, tolerance) : rejected();
  }

  bool accepted(const IterationSummary& it, double tolerance) {
    const double gain = it.decrease / it.predicted_decrease;
    if (!options_.gauss_newton)
      damping_ =
          std::max(kSmallestDamping, damping_ * std::max(1.0 / 3.0, 1.0 - std::pow(2.0 * gain - 1.0, 3)));
    growth_ = 2.0;
    if (it.decrease <= tolerance && it.predicted_decrease <= tolerance)
      return end(Termination::converged, "the decrease is insignificant");
    return is_kept_ && (gain < kLeastGain || gain > kMostGain) ? renew() : false;
  }

  /// Shortens what moves further than allowed; the model of the cost then promises less.
  void limit(Step& step) const {
    bool is_limited = false;
    for (std::size_t k = 0; k < options_.largest_step.size(); ++k) {
      const double most = options_.largest_step[k];
      is_limited = is_limited || std::fabs(step.delta[k]) > most;
      step.delta[k] = std::clamp(step.delta[k], -most, most);
    }
    if (!is_limited) return;
    const std::vector<double> product = engine_.product(point_, step.delta);
    const std::vector<double>& half_gradient = engine_.half_gradient(point_);
    step.predicted_decrease = 0.0;
    for (std::size_t k = 0; k < product.size(); ++k)
      step.predicted_decrease -= step.delta[k] * (2.0 * half_gradient[k] + product[k]);
  }

  /// Evaluate a trial, without the matrix if the step to it is small and the options allow; whether so.
  bool evaluate_trial(const std::vector<double>& trial, bool is_small) {
    if constexpr (Engine::kHasMatrix) {
      if (is_small && options_.keep_matrix) {
        engine_.evaluate_gradient(trial, trial_point_);
        return true;
      }
    }
    engine_.evaluate(trial, trial_point_);
    return false;
  }

  void accept_trial(bool keeps) {
    if constexpr (Engine::kHasMatrix) {
      if (keeps) std::swap(point_.matrix, trial_point_.matrix);
    }
    std::swap(point_, trial_point_);
    is_kept_ = keeps;
  }

  /// A matrix of the present point, since the one kept does not predict well here.
  bool renew() {
    engine_.evaluate(summary_.parameters, point_);
    is_kept_ = false;
    return false;
  }

  bool rejected() {
    damping_ *= growth_;
    growth_ *= 2.0;
    if (damping_ < kLargestDamping) return false;
    return end(Termination::no_further_decrease, "no step decreases the cost any more");
  }

  Engine engine_;
  const LevMarOptions& options_;
  LevMarSummary summary_;
  typename Engine::Point point_, trial_point_;
  double damping_ = 0.0, growth_ = 2.0;
  bool is_kept_ = false;
};

}  // namespace

void LevMarOptions::validate() const {
  if (max_iterations < 1)
    throw std::invalid_argument(cat("max_iterations must be at least 1, got ", max_iterations));
  if (!(cost_tolerance > 0))
    throw std::invalid_argument(cat("cost_tolerance must be positive, got ", cost_tolerance));
  if (!(initial_damping > 0))
    throw std::invalid_argument(cat("initial_damping must be positive, got ", initial_damping));
  if (!(solver_tolerance > 0 && solver_tolerance < 1))
    throw std::invalid_argument(cat("solver_tolerance must be between 0 and 1, got ", solver_tolerance));
  for (const double step : largest_step)
    if (!(step > 0)) throw std::invalid_argument(cat("a largest step must be positive, got ", step));
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
    case Termination::singular:
      return "singular";
    case Termination::failed:
      break;
  }
  return "failed";
}

namespace {

void check(Index n_parameters, Span<const double> start, const LevMarOptions& options) {
  options.validate();
  if (start.size() != n_parameters)
    throw std::invalid_argument(cat("start must have ", n_parameters, " elements, got ", start.size()));
  if (!options.largest_step.empty())
    require_size("largest_step", static_cast<long long>(options.largest_step.size()), n_parameters);
}

}  // namespace

LevMarSummary minimise(const LeastSquaresProblem& problem, Span<const double> start,
                       const LevMarOptions& options, const IterationCallback& on_iteration) {
  check(problem.n_parameters(), start, options);
  return Minimiser<DenseEngine>(options, problem, options).run(start, on_iteration);
}

LevMarSummary minimise_iteratively(const FitProblem& problem, Span<const double> start,
                                   const CoarseModes& modes, const LevMarOptions& options,
                                   const IterationCallback& on_iteration) {
  check(problem.n_parameters(), start, options);
  return Minimiser<IterativeEngine>(options, problem, modes, options).run(start, on_iteration);
}

}  // namespace pyscale
