#include <algorithm>
#include <cmath>
#include <pyscale/error.hpp>  // for DataError, require_size
#include <pyscale/fit_problem.hpp>
#include <pyscale/parallel.hpp>

#include "detail/fit_problem_impl.hpp"

namespace pyscale {
namespace {

/// Above, groups share few data sets or parameters and go into the matrix one by one.
constexpr std::size_t kBatchedDataSets = 16;
constexpr Index kBatchedParameters = 16;  ///< in units of a row's length

}  // namespace

FitProblem::Impl::Sums FitProblem::Impl::sum(Span<const double> p, bool gradient, bool matrix) const {
  require_size("parameters", p.size(), n_parameters);
  const std::vector<Index> edges = chunk_edges(matrix);
  const std::size_t n_blocks = layouts.block_begin().size() - 1;
  const detail::ParameterBlocks blocks{static_cast<int>(n_blocks), layouts.block_begin().data(),
                                       layouts.block_of().data()};
  const detail::FitRows view = rows();
  std::vector<Sums> parts(std::max<std::size_t>(edges.size(), 2) - 1);
  for_each_chunk(edges, n_threads, [&](Index chunk, Index begin, Index end) {
    Sums& part = parts[chunk];
    if (gradient) part.gradient.assign(stride, 0.0);
    if (matrix) part.normal.assign(static_cast<std::size_t>(stride) * stride, 0.0);
    std::vector<double> g(largest_group), dg(gradient ? largest_group * view.value_stride : 0);
    std::vector<double> vectors(matrix ? 2 * detail::kGroupBatch * stride : 0);
    std::vector<Index> row(largest_group);
    std::vector<std::uint8_t> active(n_blocks);
    std::vector<std::int32_t> segments(2 * n_blocks);
    const detail::ChunkScratch scratch{g.data(),       dg.data(),     row.data(),
                                       vectors.data(), active.data(), segments.data()};
    detail::ChunkSums sums{0.0, gradient ? part.gradient.data() : nullptr,
                           matrix ? part.normal.data() : nullptr, stride};
    detail::best_group_passes().normal_equations(view, blocks, p.data(), begin, end, batch, scratch, sums);
    part.cost = sums.cost;
  });
  return tree_merge(std::move(parts));
}

void FitProblem::Impl::clear_held(std::vector<double>& half_gradient) const {
  for (Index k = 0; k < n_parameters; ++k)
    if (held[k]) half_gradient[k] = 0.0;
}

void FitProblem::Impl::count() {
  n_observations = n_groups = 0;
  for (std::size_t h = 0; h + 1 < offsets.size(); ++h) {
    Index n = 0;
    for (Index i = offsets[h]; i < offsets[h + 1]; ++i) n += weight[i] > 0;
    if (n > 0 && !reference_weight.empty()) n += reference_weight[h] > 0;
    if (n < 2) continue;
    n_observations += n;
    ++n_groups;
  }
}

FitProblem::FitProblem(const JobModel& model, const ObservationView& observations,
                       Span<const double> intensity, Span<const Index> offsets, int n_threads)
    : impl_(std::make_unique<Impl>(model, n_threads)) {
  observations.validate(model);
  const Index n = observations.size();
  require_size("intensity", intensity.size(), n);
  if (offsets.empty() || offsets[offsets.size() - 1] != n)
    throw std::invalid_argument("offsets must end with the number of observations");
  Impl& d = *impl_;
  d.stride =
      static_cast<int>((model.n_parameters + detail::kPadding - 1) / detail::kPadding * detail::kPadding);
  const bool batched = model.data_sets.size() <= kBatchedDataSets &&
                       model.n_parameters <= kBatchedParameters * d.layouts.value_stride();
  d.batch = batched ? detail::kGroupBatch : 1;
  d.by_panels = model.data_sets.size() > kBatchedDataSets;
  d.intensity.assign(intensity.begin(), intensity.end());
  d.weight.assign(static_cast<std::size_t>(n), 0.0);
  d.given.assign(static_cast<std::size_t>(n), 1.0);
  if (!observations.given_factor.empty())
    d.given.assign(observations.given_factor.begin(), observations.given_factor.end());
  d.held.assign(static_cast<std::size_t>(model.n_parameters), 0);
  d.half_inv_d2.assign(observations.half_inv_d2.begin(), observations.half_inv_d2.end());
  d.data_set.assign(observations.data_set.begin(), observations.data_set.end());
  d.offsets.assign(offsets.begin(), offsets.end());
  for (Index h = 0; h + 1 < offsets.size(); ++h)
    d.largest_group = std::max(d.largest_group, offsets[h + 1] - offsets[h]);
  const int values = d.layouts.value_stride(), starts = d.layouts.start_stride();
  d.value.resize(static_cast<std::size_t>(n) * values);
  d.start.resize(static_cast<std::size_t>(n) * starts);
  for_each_chunk(fixed_size_edges(n, Impl::kRowsPerChunk), n_threads, [&](Index, Index begin, Index end) {
    detail::RowBuffer row(d.layouts);
    for (Index i = begin; i < end; ++i) {
      d.layouts.fill(model, observations.data_set[i], observations[i], row.value.data(),
                     d.start.data() + i * starts);
      for (int k = 0; k < values; ++k) d.value[i * values + k] = static_cast<float>(row.value[k]);
    }
  });
}

FitProblem::~FitProblem() = default;

void FitProblem::set_weights(Span<const double> weight) {
  Impl& d = *impl_;
  require_size("weight", weight.size(), static_cast<Index>(d.intensity.size()));
  for (Index i = 0; i < weight.size(); ++i)
    if (!(weight[i] >= 0) || !std::isfinite(weight[i]))
      throw DataError(cat("weight[", i, "] = ", weight[i], ": must be finite and not negative"));
  d.weight.assign(weight.begin(), weight.end());
  d.count();
}

void FitProblem::set_reference(Span<const double> intensity, Span<const double> weight) {
  Impl& d = *impl_;
  const Index n_groups = static_cast<Index>(d.offsets.size()) - 1;
  require_size("intensity", intensity.size(), n_groups);
  require_size("weight", weight.size(), n_groups);
  for (Index h = 0; h < n_groups; ++h)
    if (!(weight[h] >= 0) || !std::isfinite(weight[h]) || (weight[h] > 0 && !std::isfinite(intensity[h])))
      throw DataError(cat("reference of group ", h, " (", intensity[h], ", weight ", weight[h],
                          "): must be finite and its weight not negative"));
  d.reference.assign(intensity.begin(), intensity.end());
  d.reference_weight.assign(weight.begin(), weight.end());
  d.count();
}

void FitProblem::set_intensity(Span<const double> intensity) {
  require_size("intensity", intensity.size(), static_cast<Index>(impl_->intensity.size()));
  impl_->intensity.assign(intensity.begin(), intensity.end());
}

void FitProblem::set_restraints(Restraints restraints) {
  restraints.validate(impl_->n_parameters);
  impl_->restraints = std::move(restraints);
}

void FitProblem::set_held(Span<const std::uint8_t> held) {
  require_size("held", held.size(), impl_->n_parameters);
  impl_->held.assign(held.begin(), held.end());
}

Index FitProblem::n_parameters() const { return impl_->n_parameters; }
Index FitProblem::n_observations() const { return impl_->n_observations; }
Index FitProblem::n_groups() const { return impl_->n_groups; }

double FitProblem::cost(Span<const double> parameters) const {
  return impl_->sum(parameters, false, false).cost + impl_->restraints.cost(parameters);
}

double FitProblem::cost_and_half_gradient(Span<const double> parameters,
                                          std::vector<double>& half_gradient) const {
  Impl::Sums sums = impl_->sum(parameters, true, false);
  sums.gradient.resize(static_cast<std::size_t>(n_parameters()));
  impl_->restraints.add_half_gradient(parameters, sums.gradient);
  impl_->clear_held(sums.gradient);
  half_gradient = std::move(sums.gradient);
  return sums.cost + impl_->restraints.cost(parameters);
}

std::vector<double> FitProblem::inverse_scale_factors(Span<const double> parameters) const {
  require_size("parameters", parameters.size(), n_parameters());
  const detail::FitRows rows = impl_->rows();
  const Index n = static_cast<Index>(impl_->intensity.size());
  std::vector<double> g(static_cast<std::size_t>(n));
  for_each_chunk(
      fixed_size_edges(n, Impl::kRowsPerChunk), impl_->n_threads, [&](Index, Index begin, Index end) {
        for (Index i = begin; i < end; ++i)
          g[i] = detail::evaluate_row(rows.layouts[rows.data_set[i]], rows.value + i * rows.value_stride,
                                      rows.start + i * rows.start_stride, parameters.data(), rows.given[i],
                                      nullptr);
      });
  return g;
}

void FitProblem::evaluate(Span<const double> parameters, NormalEquations& result) const {
  const Index p = n_parameters();
  require_size("parameters", parameters.size(), p);
  if (impl_->by_panels) {
    impl_->evaluate_by_panels(parameters, result);
  } else {
    Impl::Sums sums = impl_->sum(parameters, true, true);
    sums.gradient.resize(static_cast<std::size_t>(p));
    impl_->restraints.add_half_gradient(parameters, sums.gradient);
    impl_->clear_held(sums.gradient);
    result.cost = sums.cost + impl_->restraints.cost(parameters);
    result.half_gradient = std::move(sums.gradient);
    result.matrix.resize(static_cast<std::size_t>(p * p));
    for (Index r = 0; r < p; ++r)
      for (Index c = r; c < p; ++c)
        result.matrix[r * p + c] = result.matrix[c * p + r] = sums.normal[r * impl_->stride + c];
  }
  impl_->restraints.add_matrix(result.matrix, p);
  for (Index k = 0; k < p; ++k) {
    if (!impl_->held[k]) continue;
    for (Index c = 0; c < p; ++c) result.matrix[k * p + c] = result.matrix[c * p + k] = 0.0;
    result.matrix[k * p + k] = 1.0;
  }
}

const char* simd_name() { return detail::best_group_passes_name(); }

}  // namespace pyscale
