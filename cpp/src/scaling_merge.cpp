#include <algorithm>
#include <cmath>
#include <pyscale/error.hpp>
#include <pyscale/scale_errors.hpp>

#include "detail/scaling_merge.hpp"

namespace pyscale::detail {
namespace {

/// Relative tolerance of resolution limits in 1/d^2: the extreme reflections lie inside.
constexpr double kLimitTolerance = 1e-6;

/// Scaled observations that are merged.
struct Chosen {
  std::vector<double> intensity, variance, scale_variance;
  std::vector<double> correlation_apart, correlation;  ///< of errors of scales
  std::vector<Index> offsets, mate_offsets;            ///< of the groups that have any
  std::vector<Index> group, mates;                     ///< their numbers among all
};

/// Appends the rows of a group that are merged; returns how many these are.
void close_group(Index number, std::size_t before, std::size_t now, std::vector<Index>& offsets,
                 std::vector<Index>& numbers) {
  if (now == before) return;
  offsets.push_back(static_cast<Index>(now));
  numbers.push_back(number);
}

Chosen choose(const ScalingData& data, const FitOutcome& fit) {
  const std::vector<double> variance = merging_variances(data, fit);
  Chosen c;
  c.offsets = c.mate_offsets = {0};
  for (std::size_t k = 0; k + 1 < data.anomalous_offsets.size(); ++k) {
    const std::size_t before = c.intensity.size();
    for (Index i = data.anomalous_offsets[k]; i < data.anomalous_offsets[k + 1]; ++i) {
      if (!is_merged(fit, i)) continue;
      const double g = fit.g[i];
      c.intensity.push_back(data.intensity[i] / g);
      c.variance.push_back(variance[i] / (g * g));
      c.scale_variance.push_back(fit.g_variance[i] / (g * g));
      c.correlation_apart.push_back(fit.correlation[2 * i]);
      c.correlation.push_back(fit.correlation[2 * i + 1]);
    }
    close_group(static_cast<Index>(k), before, c.intensity.size(), c.mate_offsets, c.mates);
    const Index group = data.group_of_mates[k];
    const bool is_last = k + 2 == data.anomalous_offsets.size() || data.group_of_mates[k + 1] != group;
    if (is_last)
      close_group(group, static_cast<std::size_t>(c.offsets.back()), c.intensity.size(), c.offsets, c.group);
  }
  if (c.intensity.empty()) throw DataError("every observation was rejected: nothing is left to merge");
  return c;
}

MergedSet merged_set(const Chosen& c, const std::vector<Index>& offsets, const std::vector<Index>& numbers,
                     const std::vector<double>& correlation, const std::vector<Miller>& index,
                     int n_threads) {
  const ScaledObservations scaled{c.intensity, c.variance, offsets};
  MergedReflections m = merge(scaled, false, n_threads);
  const std::vector<double> common = common_scale_error(scaled, c.scale_variance, correlation, n_threads);
  MergedSet set;
  for (std::size_t h = 0; h < numbers.size(); ++h) {
    set.miller_index.push_back(index[numbers[h]]);
    const double error = m.intensity[h] * common[h];
    m.sigma[h] = std::sqrt(m.sigma[h] * m.sigma[h] + error * error);
  }
  set.intensity = std::move(m.intensity);
  set.sigma = std::move(m.sigma);
  set.n_obs = std::move(m.n_obs);
  return set;
}

/// Edges in 1/d^2 of shells of equal volume.
std::vector<double> shell_edges(const std::vector<double>& d_star_sq, int n_shells) {
  const auto [low, high] = std::minmax_element(d_star_sq.begin(), d_star_sq.end());
  const double first = *low * (1.0 - kLimitTolerance), last = *high * (1.0 + kLimitTolerance);
  const bool is_one = *high - *low <= kLimitTolerance * *high;
  const int n = is_one ? 1 : std::min<int>(n_shells, static_cast<int>(d_star_sq.size()));
  const double begin = std::pow(first, 1.5), step = (std::pow(last, 1.5) - begin) / n;
  std::vector<double> edges;
  for (int k = 0; k <= n; ++k) edges.push_back(std::pow(begin + step * k, 2.0 / 3.0));
  edges.front() = first;
  edges.back() = last;
  return edges;
}

void add_statistics(const Chosen& c, const UnitCell& cell, const ScalingOptions& options,
                    ScalingResult& result) {
  const std::vector<double> d_star_sq = inverse_d_squared(cell, result.merged.miller_index);
  const std::vector<double> edges = shell_edges(d_star_sq, options.n_shells);
  const auto n = static_cast<Index>(edges.size()) - 1;
  std::vector<Index> shell;
  for (const double x : d_star_sq) {
    const Index above = std::upper_bound(edges.begin(), edges.end(), x) - edges.begin();
    shell.push_back(std::clamp<Index>(above - 1, 0, n - 1));
  }
  const ScaledObservations scaled{c.intensity, c.variance, c.offsets};
  const GroupStatistics groups = group_statistics(scaled, options.n_threads);
  const std::vector<ShellStatistics> merging = shell_statistics(groups, shell, n);
  const std::vector<HalfSetCorrelation> halves = half_set_correlations(
      scaled, result.merged.miller_index, options.seed, options.n_splits, shell, n, options.n_threads);
  for (Index k = 0; k <= n; ++k) {
    const double low = k < n ? edges[k] : edges.front(), high = k < n ? edges[k + 1] : edges.back();
    const ResolutionShell entry{1.0 / std::sqrt(low), 1.0 / std::sqrt(high), merging[k], halves[k]};
    if (k < n) result.shells.push_back(entry);
    if (k == n) result.overall = entry;
  }
}

}  // namespace

std::vector<double> merging_variances(const ScalingData& data, const FitOutcome& fit) {
  std::vector<double> variance = fit.variance;
  Index first = -1;
  for (Index i = 0; i < data.size(); ++i) {
    if (fit.disputed[i] == 0) continue;
    if (first < 0) {
      first = i;
      continue;
    }
    const double ga = fit.g[first], gb = fit.g[i];
    const double difference = data.intensity[i] / gb - data.intensity[first] / ga;
    const double sum = variance[first] / (ga * ga) + variance[i] / (gb * gb);
    const double factor = std::max(difference * difference / sum, 1.0);
    variance[first] *= factor;
    variance[i] *= factor;
    first = -1;
  }
  return variance;
}

void merge_into(const ScalingData& data, const UnitCell& cell, const ScalingOptions& options,
                const FitOutcome& fit, ScalingResult& result) {
  const Chosen c = choose(data, fit);
  result.merged = merged_set(c, c.offsets, c.group, c.correlation, data.group_index, options.n_threads);
  result.anomalous =
      merged_set(c, c.mate_offsets, c.mates, c.correlation_apart, data.anomalous_index, options.n_threads);
  add_statistics(c, cell, options, result);
  result.merged_row.assign(data.intensity.size(), -1);
  for (std::size_t m = 0; m < c.group.size(); ++m)
    for (Index i = data.offsets[c.group[m]]; i < data.offsets[c.group[m] + 1]; ++i)
      result.merged_row[data.order[i]] = static_cast<Index>(m);
}

}  // namespace pyscale::detail
