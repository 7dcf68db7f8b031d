#include <algorithm>
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

std::vector<ParameterBlock> parameter_blocks(const JobModel& model) {
  std::vector<int> uses(static_cast<std::size_t>(model.n_parameters));
  for (const auto& components : model.data_sets)
    for (const PlacedComponent& placed : components) ++uses[placed.first_parameter];
  std::vector<ParameterBlock> blocks;
  Index next = 0;
  for (const auto& components : model.data_sets) {
    const Index begin = next;
    for (const PlacedComponent& placed : components) {
      if (uses[placed.first_parameter] > 1) continue;
      if (placed.first_parameter != next) {
        blocks.assign(model.data_sets.size(), {0, 0});
        blocks.push_back({0, model.n_parameters});
        return blocks;
      }
      next += std::visit([](const auto& c) { return c.n_parameters(); }, placed.component);
    }
    blocks.push_back({begin, next});
  }
  blocks.push_back({next, model.n_parameters});
  return blocks;
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

namespace {

/// The covariance of the parameters that one data set looks at, and where they lie in it.
struct CovarianceView {
  const double* matrix;
  Index size;
  Index own_begin, shared_begin, shared_place;  ///< parameters from shared_begin on lie from shared_place on
};

/// `view_of(data set)` gives the covariance.
template <class ViewOf>
std::vector<double> variances(const JobModel& model, const ObservationView& observations,
                              Span<const double> parameters, int n_threads, ViewOf&& view_of) {
  observations.validate(model);
  require_size("parameters", parameters.size(), model.n_parameters);
  const detail::RowLayouts layouts(model);
  std::vector<double> variance(static_cast<std::size_t>(observations.size()));
  for_each_chunk(
      fixed_size_edges(observations.size(), kRowsPerChunk), n_threads, [&](Index, Index begin, Index end) {
        detail::RowBuffer row(layouts);
        for (Index i = begin; i < end; ++i) {
          const std::int32_t s = observations.data_set[i];
          layouts.fill(model, s, observations[i], row.value.data(), row.start.data());
          detail::evaluate_row(layouts[s], row.value.data(), row.start.data(), parameters.data(),
                               observations.given(i), row.derivative.data());
          const CovarianceView c = view_of(s);
          for (std::int32_t& start : row.start)
            start -= static_cast<std::int32_t>(start < c.shared_begin ? c.own_begin
                                                                      : c.shared_begin - c.shared_place);
          // What a gauge fixes altogether comes out as rounding of either sign.
          variance[i] = std::max(
              detail::quadratic_form(layouts[s], row.derivative.data(), row.start.data(), c.matrix, c.size),
              0.0);
        }
      });
  return variance;
}

}  // namespace

std::vector<double> inverse_scale_factor_variances(const JobModel& model, const ObservationView& observations,
                                                   Span<const double> parameters,
                                                   Span<const double> covariance, int n_threads) {
  const Index p = model.n_parameters;
  require_size("covariance", covariance.size(), p * p);
  const CovarianceView all{covariance.data(), p, 0, p, p};
  return variances(model, observations, parameters, n_threads, [&](Index) { return all; });
}

std::vector<double> local_scale_factor_variances(const JobModel& model, const ObservationView& observations,
                                                 Span<const double> parameters, Span<const double> covariance,
                                                 int n_threads) {
  const std::vector<ParameterBlock> blocks = parameter_blocks(model);
  const ParameterBlock shared = blocks.back();
  std::vector<CovarianceView> views;
  Index offset = 0;
  for (std::size_t k = 0; k + 1 < blocks.size(); ++k) {
    const Index n_own = blocks[k].size(), size = n_own + shared.size();
    views.push_back({covariance.data() + offset, size, blocks[k].begin, shared.begin, n_own});
    offset += size * size;
  }
  require_size("covariance", covariance.size(), offset);
  return variances(model, observations, parameters, n_threads, [&](Index s) { return views[s]; });
}

}  // namespace pyscale
