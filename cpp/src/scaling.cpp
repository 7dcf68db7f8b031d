#include <algorithm>
#include <cmath>
#include <pyscale/error.hpp>
#include <pyscale/scaling.hpp>

#include "detail/scaling_merge.hpp"

namespace pyscale {
namespace {

/// Parameters up to which the normal matrix is formed.
constexpr Index kMostParameters = 5000;

void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

template <class T>
std::vector<T> in_order_of_input(const detail::ScalingData& data, const std::vector<T>& sorted) {
  std::vector<T> result(sorted.size());
  for (std::size_t k = 0; k < sorted.size(); ++k) result[data.order[k]] = sorted[k];
  return result;
}

FittedModel fitted_model(detail::ModelLayout layout, detail::FitOutcome& fit) {
  FittedModel model;
  for (const detail::ModelPart& part : layout.parts)
    model.components.push_back({part.name, part.data_set, part.first, part.size, part.weight});
  model.model = std::move(layout.core);
  model.parameters = std::move(fit.parameters);
  model.sigma = std::move(fit.sigma);
  return model;
}

}  // namespace

void ModelOptions::validate() const {
  const auto is_positive = [](const std::optional<double>& x) { return !x || (*x > 0 && std::isfinite(*x)); };
  require(is_positive(scale_interval), "scale_interval must be positive");
  require(is_positive(decay_interval), "decay_interval must be positive");
  require(is_positive(surface_weight), "surface_weight must be positive");
  require(is_positive(decay_restraint), "decay_restraint must be positive");
  require(lmax >= 1 && lmax <= 12, "lmax must be 1 to 12");
  require(n_resolution_bins >= 1 && n_resolution_bins <= 1000, "n_resolution_bins must be 1 to 1000");
  require(n_absorption_bins >= 1 && n_absorption_bins <= 1000, "n_absorption_bins must be 1 to 1000");
}

void ScalingOptions::validate() const {
  require(n_threads >= 1 && n_threads <= 1024, "n_threads must be 1 to 1024");
  require(outlier_zmax >= 0 && std::isfinite(outlier_zmax), "outlier_zmax must not be negative");
  require(error_model_a > 0 && std::isfinite(error_model_a), "error_model_a must be positive");
  require(error_model_b >= 0 && std::isfinite(error_model_b), "error_model_b must not be negative");
  require(max_rounds >= 1 && max_rounds <= 100, "max_rounds must be 1 to 100");
  require(cost_tolerance > 0 && cost_tolerance < 1, "cost_tolerance must be between 0 and 1");
  require(n_shells >= 1 && n_shells <= 1000, "n_shells must be 1 to 1000");
  require(n_splits >= 1 && n_splits <= max_splits, "n_splits must be 1 to 32");
}

ScalingResult scale(const Reflections& reflections, const ModelOptions& model, const ScalingOptions& options,
                    const ProgressCallback& on_iteration) {
  model.validate();
  options.validate();
  detail::require_sound(reflections);
  const std::vector<detail::SweepFacts> facts = detail::sweep_facts(reflections);
  const std::vector<detail::ModelPlan> plans = detail::plan_models(reflections, model, facts);
  const bool with_directions = std::any_of(plans.begin(), plans.end(), [](const detail::ModelPlan& plan) {
    return plan.kind == ModelKind::physical && plan.absorption;
  });
  const detail::ScalingData data = detail::sorted_data(reflections, options, with_directions);
  detail::ModelLayout layout = detail::lay_out(reflections, model, data, facts, plans);
  if (layout.core.n_parameters > kMostParameters)
    throw DataError(cat("the models have ", layout.core.n_parameters, " parameters, more than ",
                        kMostParameters,
                        ": give larger intervals, fewer data sets, or use the Python package"));
  detail::FitOutcome fit = detail::ScalingFit(data, layout, options, on_iteration).run();

  ScalingResult result;
  detail::merge_into(data, reflections.unit_cell, options, fit, result);
  result.inverse_scale_factor = in_order_of_input(data, fit.g);
  result.inverse_scale_factor_variance = in_order_of_input(data, fit.g_variance);
  result.variance = in_order_of_input(data, fit.variance);
  result.outlier = in_order_of_input(data, fit.outlier);
  result.disputed = in_order_of_input(data, fit.disputed);
  result.error_model = {std::exp(fit.error_model.theta.log_a), std::sqrt(fit.error_model.theta.d),
                        fit.error_model.n_used, fit.error_model.converged};
  result.rounds = fit.rounds;
  result.converged = fit.converged;
  result.chi_squared = fit.chi_squared;
  result.model = fitted_model(std::move(layout), fit);
  return result;
}

}  // namespace pyscale
