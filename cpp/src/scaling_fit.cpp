#include "detail/scaling_fit.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <pyscale/connectivity.hpp>
#include <pyscale/error.hpp>
#include <pyscale/outliers.hpp>

namespace pyscale::detail {
namespace {

constexpr int kMostSteps = 100;
constexpr double kInitialDamping = 1e-4;
/// Relative decrease of the cost at which a round's fit ends: one of 1 is insignificant.
constexpr double kLeastTolerance = 1e-6, kLargestTolerance = 1e-4;
/// Share of the observations whose fate may still change, and what the weights of restraints may.
constexpr double kSettledRows = 1e-4, kSettledRestraint = 1.0, kSettledPerParameter = 0.005;
/// Of the logarithm of what a B factor does at the highest resolution, in one step.
constexpr double kLargestLogStep = 3.0;

LevMarOptions step_options(double tolerance, int n_threads) {
  LevMarOptions o;
  o.max_iterations = kMostSteps;
  o.cost_tolerance = tolerance;
  o.initial_damping = kInitialDamping;
  o.n_threads = n_threads;
  o.keep_matrix = true;
  return o;
}

std::vector<double> diagonal_of(const std::vector<double>& matrix) {
  const auto n = static_cast<std::size_t>(std::llround(std::sqrt(static_cast<double>(matrix.size()))));
  std::vector<double> diagonal(n);
  for (std::size_t i = 0; i < n; ++i) diagonal[i] = matrix[i * n + i];
  return diagonal;
}

std::vector<std::int32_t> components_of(const ScalingData& data) {
  const std::vector<std::uint8_t> all(data.intensity.size(), 1);
  const std::vector<std::int32_t> shell(data.target_offsets.size() - 1, 0);
  return connectivity(data.data_set, data.target_offsets, all, shell, data.n_data_sets, 1).component;
}

}  // namespace

ScalingFit::ScalingFit(const ScalingData& data, ModelLayout& layout, const ScalingOptions& options,
                       const ProgressCallback& on_iteration)
    : data_(data),
      layout_(layout),
      options_(options),
      on_iteration_(on_iteration),
      problem_(layout.core, data.view(), data.intensity, data.target_offsets, options.n_threads),
      label_(components_of(data)) {
  const double highest = *std::max_element(data.half_inv_d2.begin(), data.half_inv_d2.end());
  largest_step_.assign(layout.start.size(), std::numeric_limits<double>::infinity());
  for (const ModelPart& part : layout.parts)
    if (part.is_decay_like)
      std::fill_n(largest_step_.begin() + part.first, part.size, kLargestLogStep / highest);
}

FitOutcome ScalingFit::run() {
  start();
  const auto n = static_cast<double>(data_.size());
  const double tolerance = std::clamp(1.0 / n, kLeastTolerance, kLargestTolerance);
  const double enough = kSettledRestraint + kSettledPerParameter * static_cast<double>(layout_.start.size());
  bool settled = false;
  std::vector<std::uint8_t> earlier;
  for (int round = 1; round <= options_.max_rounds && !settled; ++round) {
    const LevMarSummary summary = minimise(tolerance, false);
    const std::vector<std::uint8_t> before = unused();
    const double change = update_weights_of_restraints(summary);
    update_errors();
    add_round(summary);
    const std::vector<std::uint8_t> after = unused();
    Index changed = 0;
    for (std::size_t i = 0; i < after.size(); ++i) changed += after[i] != before[i];
    // Observations at the limit may come and go for ever.
    const bool few = static_cast<double>(changed) <= kSettledRows * n || after == earlier;
    settled = round > 1 && few && change < enough;
    earlier = before;
  }
  const LevMarSummary last = minimise(options_.cost_tolerance, true);
  add_round(last);
  out_.converged = settled && last.termination != Termination::max_iterations;
  fix_gauge();
  const std::vector<double> covariance = add_uncertainties(last.final_cost);
  out_.g = inverse_scale_factors(layout_.core, data_.view(), out_.parameters, options_.n_threads);
  expected_ = expected_of(data_, out_.variance, out_.g, out_.outlier, options_.n_threads);
  out_.variance = variances(data_, out_.error_model.theta, expected_, options_.n_threads);
  add_correlations(covariance);
  return std::move(out_);
}

void ScalingFit::start() {
  const std::size_t n = data_.intensity.size();
  out_.error_model.theta = {std::log(options_.error_model_a),
                            options_.error_model_b * options_.error_model_b};
  out_.outlier.assign(n, 0);
  out_.disputed.assign(n, 0);
  expected_.resize(n);
  for (std::size_t i = 0; i < n; ++i) expected_[i] = std::max(data_.intensity[i], 0.0);
  out_.variance = variances(data_, out_.error_model.theta, expected_, options_.n_threads);
  out_.parameters = layout_.start;
  const std::vector<double> scales = scales_of_data_sets();
  for (const ModelPart& part : layout_.parts)
    if (part.is_scale_like)
      for (Index i = part.first; i < part.first + part.size; ++i) out_.parameters[i] *= scales[part.data_set];
  out_.g = problem_.inverse_scale_factors(out_.parameters);
  update_errors();
}

/// Overall scales, by a fit of one exponential factor for each data set.
std::vector<double> ScalingFit::scales_of_data_sets() const {
  const auto n = static_cast<std::size_t>(data_.n_data_sets);
  if (n == 1) return {1.0};
  JobModel constants;
  for (std::size_t k = 0; k < n; ++k) constants.add_component(constants.add_data_set(), ImageScale(0.0, 1));
  FitProblem problem(constants, data_.view(), data_.intensity, data_.target_offsets, options_.n_threads);
  std::vector<double> weight(data_.intensity.size());
  for (std::size_t i = 0; i < weight.size(); ++i) weight[i] = 1.0 / out_.variance[i];
  problem.set_weights(weight);
  if (problem.n_groups() == 0) return std::vector<double>(n, 1.0);
  Restraints restraints;
  for (std::size_t k = 0; k < n; ++k) restraints.add(static_cast<std::int32_t>(k), 0.0, 1.0);
  problem.set_restraints(std::move(restraints));
  const std::vector<double> zeros(n, 0.0);
  const LevMarSummary found =
      pyscale::minimise(problem, zeros, step_options(kLeastTolerance, options_.n_threads), callback(false));
  if (found.termination == Termination::failed) return std::vector<double>(n, 1.0);
  std::vector<double> scales(n);
  for (std::size_t k = 0; k < n; ++k) scales[k] = std::exp(found.parameters[k]);
  return scales;
}

std::vector<std::uint8_t> ScalingFit::unused() const {
  std::vector<std::uint8_t> result = out_.outlier;
  for (std::size_t i = 0; i < result.size(); ++i) result[i] |= out_.disputed[i];
  return result;
}

/// Error model, outliers and weights with the scales so far.
void ScalingFit::update_errors() {
  const int n_threads = options_.n_threads;
  if (options_.refine_error_model)
    out_.error_model = refine_error_model(data_, out_.g, unused(), out_.error_model.theta, n_threads);
  expected_ = expected_of(data_, out_.variance, out_.g, out_.outlier, n_threads);
  set_weights(variances(data_, out_.error_model.theta, expected_, n_threads));
  if (options_.outlier_zmax > 0) {
    const auto& offsets = data_.target_offsets;
    out_.outlier =
        find_outliers(data_.intensity, weight_, out_.g, offsets, options_.outlier_zmax, {}, n_threads);
    out_.disputed = disputed_pairs(data_.intensity, weight_, out_.g, offsets, options_.outlier_zmax,
                                   out_.outlier, n_threads);
  }
  expected_ = expected_of(data_, out_.variance, out_.g, out_.outlier, n_threads);
  set_weights(variances(data_, out_.error_model.theta, expected_, n_threads));
}

void ScalingFit::set_weights(const std::vector<double>& variance) {
  out_.variance = variance;
  weight_.resize(variance.size());
  for (std::size_t i = 0; i < variance.size(); ++i) weight_[i] = 1.0 / variance[i];
}

void ScalingFit::restrain() {
  if (information_.empty()) {
    problem_.set_restraints({});
    NormalEquations equations;
    problem_.evaluate(out_.parameters, equations);
    information_ = diagonal_of(equations.matrix);
  }
  Restraints restraints = component_restraints(layout_, out_.parameters, information_);
  add_scale_restraints(layout_, out_.parameters, information_, label_, restraints);
  restrained_ = restraint_diagonal(restraints, problem_.n_parameters());
  problem_.set_restraints(std::move(restraints));
}

IterationCallback ScalingFit::callback(bool is_last) const {
  Progress progress;
  progress.round = static_cast<int>(out_.rounds.size()) + 1;
  progress.is_last = is_last;
  progress.n_outliers = std::count(out_.outlier.begin(), out_.outlier.end(), std::uint8_t{1});
  return [this, progress](const IterationSummary& it) mutable {
    progress.iteration = it.index + 1;
    progress.cost = it.cost;
    progress.decrease = it.decrease;
    throw_if_cancelled();
    if (on_iteration_ && !on_iteration_(progress)) throw Cancelled();
    return true;
  };
}

void ScalingFit::require_groups() const {
  if (problem_.n_groups() > 0) return;
  const Index rejected = std::count(out_.outlier.begin(), out_.outlier.end(), std::uint8_t{1});
  if (rejected > 0)
    throw DataError(cat("every group of equivalents has lost its observations (", rejected,
                        " outliers): give a simpler model or a larger outlier_zmax"));
  throw DataError(
      "no reflection is measured more than once: without symmetry equivalents nothing can be scaled (check "
      "the "
      "symmetry operators)");
}

LevMarSummary ScalingFit::minimise(double tolerance, bool is_last) {
  std::vector<double> weight = weight_;
  const std::vector<std::uint8_t> left_out = unused();
  for (std::size_t i = 0; i < weight.size(); ++i)
    if (left_out[i] != 0 || !(out_.g[i] > 0)) weight[i] = 0.0;
  problem_.set_weights(weight);
  require_groups();
  restrain();
  LevMarOptions options = step_options(tolerance, options_.n_threads);
  options.largest_step = largest_step_;
  LevMarSummary summary = pyscale::minimise(problem_, out_.parameters, options, callback(is_last));
  if (summary.termination == Termination::failed) throw DataError("the fit failed: " + summary.message);
  out_.parameters = summary.parameters;
  information_ = diagonal_of(summary.equations.matrix);
  for (std::size_t i = 0; i < information_.size(); ++i)
    information_[i] = std::max(information_[i] - restrained_[i], 0.0);
  out_.g = problem_.inverse_scale_factors(out_.parameters);
  return summary;
}

double ScalingFit::update_weights_of_restraints(const LevMarSummary& summary) {
  const Index freedom = std::max<Index>(problem_.n_observations() - problem_.n_groups(), 1);
  const bool any = std::any_of(layout_.parts.begin(), layout_.parts.end(),
                               [](const ModelPart& part) { return part.highest > part.lowest; });
  if (!any) return 0.0;
  const std::vector<double> covariance =
      inverse(summary.equations.matrix, problem_.n_parameters(), options_.n_threads);
  return update_restraints(layout_, out_.parameters, covariance,
                           summary.final_cost / static_cast<double>(freedom));
}

void ScalingFit::add_round(const LevMarSummary& summary) {
  FitRoundSummary round;
  round.n_iterations = static_cast<int>(summary.iterations.size());
  round.initial_cost = summary.initial_cost;
  round.cost = summary.final_cost;
  round.n_observations = problem_.n_observations();
  round.n_outliers = std::count(out_.outlier.begin(), out_.outlier.end(), std::uint8_t{1});
  round.a = std::exp(out_.error_model.theta.log_a);
  round.b = std::sqrt(out_.error_model.theta.d);
  out_.rounds.push_back(round);
}

}  // namespace pyscale::detail
