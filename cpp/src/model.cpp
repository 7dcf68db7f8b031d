#include <pyscale/error.hpp>  // for cat, require_size
#include <pyscale/model.hpp>
#include <pyscale/parallel.hpp>  // for for_each_chunk
#include <stdexcept>
#include <utility>

#include "detail/row_layouts.hpp"

namespace pyscale {
namespace {
constexpr Index kRowsPerChunk = 8192;
}

Index JobModel::add_data_set() {
  data_sets.emplace_back();
  return static_cast<Index>(data_sets.size()) - 1;
}

Index JobModel::add_component(Index data_set, Component component) {
  const Index first = n_parameters;
  n_parameters += std::visit([](const auto& c) { return c.n_parameters(); }, component);
  data_sets.at(static_cast<std::size_t>(data_set)).push_back({std::move(component), first});
  return first;
}

void JobModel::share_component(Index data_set, Component component, Index first_parameter) {
  const Index n = std::visit([](const auto& c) { return c.n_parameters(); }, component);
  if (first_parameter < 0 || first_parameter + n > n_parameters)
    throw std::invalid_argument(
        cat("there are no parameters ", first_parameter, " to ", first_parameter + n));
  data_sets.at(static_cast<std::size_t>(data_set)).push_back({std::move(component), first_parameter});
}

Observation ObservationView::operator[](Index i) const {
  Observation o;
  o.image_z = image_z[i];
  o.half_inv_d2 = half_inv_d2[i];
  if (!s0_crystal.empty()) {
    o.s0_crystal = s0_crystal[i];
    o.s1_crystal = s1_crystal[i];
  }
  if (!x_px.empty()) {
    o.x_px = x_px[i];
    o.y_px = y_px[i];
  }
  return o;
}

namespace {

void require_size_or_none(const char* name, Index size, Index n) {
  if (size != 0) require_size(name, size, n);
}

bool any_needs(const std::vector<PlacedComponent>& components, Needs what) {
  for (const PlacedComponent& placed : components)
    if (std::visit([](const auto& c) { return c.needs; }, placed.component) == what) return true;
  return false;
}

}  // namespace

void ObservationView::validate(const JobModel& model) const {
  const Index n = size();
  require_size("image_z", image_z.size(), n);
  require_size("half_inv_d2", half_inv_d2.size(), n);
  require_size("s1_crystal", s1_crystal.size(), s0_crystal.size());
  require_size("y_px", y_px.size(), x_px.size());
  require_size_or_none("s0_crystal", s0_crystal.size(), n);
  require_size_or_none("x_px", x_px.size(), n);
  require_size_or_none("given_factor", given_factor.size(), n);
  for (const auto& components : model.data_sets) {
    if (n > 0 && s0_crystal.empty() && any_needs(components, Needs::directions))
      throw std::invalid_argument("absorption needs s0_crystal and s1_crystal");
    if (n > 0 && x_px.empty() && any_needs(components, Needs::position))
      throw std::invalid_argument("a grid needs x_px and y_px");
  }
  const auto n_data_sets = static_cast<std::int32_t>(model.data_sets.size());
  for (Index i = 0; i < n; ++i)
    if (data_set[i] < 0 || data_set[i] >= n_data_sets)
      throw std::invalid_argument(cat("data_set[", i, "] = ", data_set[i], ": the model has ", n_data_sets));
}

std::vector<double> inverse_scale_factors(const JobModel& model, const ObservationView& observations,
                                          Span<const double> parameters, int n_threads) {
  observations.validate(model);
  require_size("parameters", parameters.size(), model.n_parameters);
  const detail::RowLayouts layouts(model);
  std::vector<double> g(static_cast<std::size_t>(observations.size()));
  for_each_chunk(fixed_size_edges(observations.size(), kRowsPerChunk), n_threads,
                 [&](Index, Index begin, Index end) {
                   detail::RowBuffer row(layouts);
                   for (Index i = begin; i < end; ++i) {
                     const std::int32_t s = observations.data_set[i];
                     layouts.fill(model, s, observations[i], row.value.data(), row.start.data());
                     g[i] = detail::evaluate_row(layouts[s], row.value.data(), row.start.data(),
                                                 parameters.data(), observations.given(i), nullptr);
                   }
                 });
  return g;
}

std::vector<double> inverse_scale_factor_variances(const JobModel& model, const ObservationView& observations,
                                                   Span<const double> parameters,
                                                   Span<const double> covariance, int n_threads) {
  observations.validate(model);
  const Index p = model.n_parameters;
  require_size("parameters", parameters.size(), p);
  require_size("covariance", covariance.size(), p * p);
  const detail::RowLayouts layouts(model);
  std::vector<double> variance(static_cast<std::size_t>(observations.size()));
  for_each_chunk(fixed_size_edges(observations.size(), kRowsPerChunk), n_threads,
                 [&](Index, Index begin, Index end) {
                   detail::RowBuffer row(layouts);
                   for (Index i = begin; i < end; ++i) {
                     const std::int32_t s = observations.data_set[i];
                     layouts.fill(model, s, observations[i], row.value.data(), row.start.data());
                     detail::evaluate_row(layouts[s], row.value.data(), row.start.data(), parameters.data(),
                                          observations.given(i), row.derivative.data());
                     variance[i] = detail::quadratic_form(layouts[s], row.derivative.data(), row.start.data(),
                                                          covariance.data(), p);
                   }
                 });
  return variance;
}

}  // namespace pyscale
