#include <algorithm>
#include <cmath>
#include <limits>
#include <pyscale/error.hpp>  // for DataError, require_size
#include <pyscale/merging.hpp>
#include <pyscale/parallel.hpp>  // for for_each_chunk
#include <stdexcept>

namespace pyscale {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr Index rows_per_chunk = 16384;

std::vector<Index> chunk_edges(const ScaledObservations& obs) {
  return balanced_group_edges(obs.offsets, obs.intensity.size() / rows_per_chunk + 1);
}

void resize(MergedReflections& m, std::size_t n_groups) {
  m.n_obs.resize(n_groups);
  m.intensity.resize(n_groups);
  m.sigma.resize(n_groups);
}

/// Mean of one group, weighted by 1/variance.
struct WeightedMean {
  double weight = 0, intensity = 0;
};

WeightedMean weighted_mean(const ScaledObservations& obs, Index begin, Index end) {
  double sum_w = 0, sum_wi = 0;
  for (Index i = begin; i < end; ++i) {
    const double w = 1 / obs.variance[i];
    sum_w += w;
    sum_wi += w * obs.intensity[i];
  }
  return {sum_w, sum_wi / sum_w};
}

void merge_group(const ScaledObservations& obs, Index g, MergedReflections& out) {
  const Index begin = obs.offsets[g], end = obs.offsets[g + 1];
  const WeightedMean mean = weighted_mean(obs, begin, end);
  out.n_obs[g] = end - begin;
  out.intensity[g] = mean.intensity;
  out.sigma[g] = 1 / std::sqrt(mean.weight);
}

/// Unbiased weighted sample variance of a group, divided by the number of observations.
double internal_variance(const ScaledObservations& obs, Index begin, Index end) {
  const WeightedMean mean = weighted_mean(obs, begin, end);
  double sum_square = 0, sum_u2 = 0;
  for (Index i = begin; i < end; ++i) {
    const double u = 1 / (obs.variance[i] * mean.weight), d = obs.intensity[i] - mean.intensity;
    sum_square += u * d * d;
    sum_u2 += u * u;
  }
  return sum_u2 < 1 ? sum_square / ((1 - sum_u2) * static_cast<double>(end - begin)) : 0;
}

void describe_group(const ScaledObservations& obs, Index g, GroupStatistics& out) {
  const Index begin = obs.offsets[g], end = obs.offsets[g + 1];
  merge_group(obs, g, out.merged);
  const double merged = out.merged.intensity[g], n = static_cast<double>(end - begin);
  double sum = 0, absolute = 0, chi_square = 0, square = 0, ratios = 0;
  for (Index i = begin; i < end; ++i) {
    sum += obs.intensity[i];
    ratios += obs.intensity[i] / std::sqrt(obs.variance[i]);
  }
  const double mean = sum / n;
  for (Index i = begin; i < end; ++i) {
    const double d = obs.intensity[i] - merged, e = obs.intensity[i] - mean;
    absolute += std::abs(d);
    chi_square += d * d / obs.variance[i];
    square += e * e;
  }
  out.intensity_sum[g] = sum;
  out.i_over_sigma_sum[g] = ratios;
  out.absolute_deviation[g] = absolute;
  out.chi_square[g] = chi_square;
  out.mean[g] = mean;
  out.variance_of_mean[g] = n > 1 ? square / (n * (n - 1)) : 0;
}

double ratio(double numerator, double denominator) {
  return denominator != 0 ? numerator / denominator : nan;
}

/// An R factor; there is none where intensities add up to nothing or less.
double residual(double deviations, double intensities) {
  return intensities > 0 ? deviations / intensities : nan;
}

/// Running variance of x and mean of y; two of them merge exactly (Chan, Golub & LeVeque 1983).
class Moments {
 public:
  void add(double x, double y) { merge({1, x, y, 0}); }

  void merge(const Moments& o) {
    if (o.n_ == 0) return;
    const double n = n_ + o.n_, dx = o.x_ - x_, dy = o.y_ - y_, f = n_ * o.n_ / n;
    xx_ += o.xx_ + dx * dx * f;
    x_ += dx * o.n_ / n;
    y_ += dy * o.n_ / n;
    n_ = n;
  }

  Index n() const { return static_cast<Index>(n_); }
  double mean_y() const { return y_; }
  double variance_x() const { return n_ > 1 ? xx_ / (n_ - 1) : nan; }

  Moments() = default;

 private:
  Moments(double n, double x, double y, double xx) : n_(n), x_(x), y_(y), xx_(xx) {}

  double n_ = 0, x_ = 0, y_ = 0, xx_ = 0;
};

struct ShellSums {
  Index n_obs = 0, n_unique = 0;
  double intensity = 0, i_over_sigma = 0, unmerged = 0, r_intensity = 0, merge_sum = 0, meas = 0, pim = 0,
         chi_square = 0, degrees = 0;
  Moments means;

  void add(const GroupStatistics& s, Index g) {
    const Index n = s.merged.n_obs[g];
    n_obs += n;
    n_unique += 1;
    intensity += s.merged.intensity[g];
    i_over_sigma += s.merged.intensity[g] / s.merged.sigma[g];
    unmerged += s.i_over_sigma_sum[g];
    if (n < 2) return;
    const double f = static_cast<double>(n), deviation = s.absolute_deviation[g];
    r_intensity += s.intensity_sum[g];
    merge_sum += deviation;
    meas += deviation * std::sqrt(f / (f - 1));
    pim += deviation * std::sqrt(1 / (f - 1));
    chi_square += s.chi_square[g];
    degrees += f - 1;
    means.add(s.mean[g], s.variance_of_mean[g]);
  }

  void merge(const ShellSums& o) {
    n_obs += o.n_obs;
    n_unique += o.n_unique;
    intensity += o.intensity;
    i_over_sigma += o.i_over_sigma;
    unmerged += o.unmerged;
    r_intensity += o.r_intensity;
    merge_sum += o.merge_sum;
    meas += o.meas;
    pim += o.pim;
    chi_square += o.chi_square;
    degrees += o.degrees;
    means.merge(o.means);
  }

  ShellStatistics result() const {
    const double n = static_cast<double>(n_unique), signal = means.variance_x(), noise = means.mean_y();
    ShellStatistics r;
    r.n_obs = n_obs;
    r.n_unique = n_unique;
    r.mean_intensity = ratio(intensity, n);
    r.i_over_sigma = ratio(i_over_sigma, n);
    r.unmerged_i_over_sigma = ratio(unmerged, static_cast<double>(n_obs));
    r.r_merge = residual(merge_sum, r_intensity);
    r.r_meas = residual(meas, r_intensity);
    r.r_pim = residual(pim, r_intensity);
    r.chi_square = ratio(chi_square, degrees);
    r.cc_half_sigma_tau = ratio(signal - noise, signal + noise);
    return r;
  }
};

struct AnomalousSums {
  Index n_pairs = 0;
  double difference = 0, mean = 0, sigma = 0, f_difference = 0, f_square = 0;

  void add(const GroupStatistics& s, Index p, Index m) {
    const double plus = s.merged.intensity[p], minus = s.merged.intensity[m];
    n_pairs += 1;
    difference += std::abs(plus - minus);
    mean += std::abs(0.5 * (plus + minus));
    sigma += std::hypot(s.merged.sigma[p], s.merged.sigma[m]);
    if (plus > 0 && minus > 0) {
      const double d = std::sqrt(plus) - std::sqrt(minus);
      f_difference += d * d;
      f_square += plus + minus;
    }
  }

  void merge(const AnomalousSums& o) {
    n_pairs += o.n_pairs;
    difference += o.difference;
    mean += o.mean;
    sigma += o.sigma;
    f_difference += o.f_difference;
    f_square += o.f_square;
  }

  AnomalousStatistics result() const {
    return {n_pairs, residual(difference, mean), std::sqrt(ratio(2 * f_difference, f_square)),
            ratio(difference, sigma)};
  }
};

/// Sums per shell, then their merger; `add(sums, k)` adds item k.
template <class Sums, class Add>
auto sum_shells(Span<const Index> shell, Index n_shells, Add&& add) {
  std::vector<Sums> sums(static_cast<std::size_t>(n_shells) + 1);
  for (Index k = 0; k < shell.size(); ++k) {
    if (shell[k] >= n_shells) throw std::invalid_argument(cat("shell ", shell[k], " of ", n_shells));
    if (shell[k] >= 0) add(sums[shell[k]], k);
  }
  for (Index s = 0; s < n_shells; ++s) sums[n_shells].merge(sums[s]);
  std::vector<decltype(sums[0].result())> results;
  for (const Sums& s : sums) results.push_back(s.result());
  return results;
}

}  // namespace

void check_observations(const ScaledObservations& obs) {
  require_size("variance", obs.variance.size(), obs.intensity.size());
  const Index n_groups = obs.offsets.size() - 1;
  if (n_groups < 0 || obs.offsets[0] != 0 || obs.offsets[n_groups] != obs.intensity.size())
    throw std::invalid_argument("offsets must start at 0 and end at the number of observations");
  for (Index g = 0; g < n_groups; ++g)
    if (obs.offsets[g] >= obs.offsets[g + 1])
      throw std::invalid_argument(cat("offsets must ascend, group ", g));
  for (Index i = 0; i < obs.variance.size(); ++i)
    if (!(obs.variance[i] > 0)) throw DataError(cat("variance of observation ", i, " is not positive"));
}

MergedReflections merge(const ScaledObservations& observations, bool use_internal_variance, int n_threads) {
  check_observations(observations);
  MergedReflections out;
  resize(out, observations.offsets.size() - 1);
  for_each_chunk(chunk_edges(observations), n_threads, [&](Index, Index begin, Index end) {
    for (Index g = begin; g < end; ++g) {
      merge_group(observations, g, out);
      if (!use_internal_variance) continue;
      const double internal =
          internal_variance(observations, observations.offsets[g], observations.offsets[g + 1]);
      out.sigma[g] = std::max(out.sigma[g], std::sqrt(internal));
    }
  });
  return out;
}

GroupStatistics group_statistics(const ScaledObservations& observations, int n_threads) {
  check_observations(observations);
  const Index n_groups = observations.offsets.size() - 1;
  GroupStatistics out;
  resize(out.merged, n_groups);
  for (auto* v : {&out.intensity_sum, &out.i_over_sigma_sum, &out.absolute_deviation, &out.chi_square,
                  &out.mean, &out.variance_of_mean})
    v->resize(n_groups);
  for_each_chunk(chunk_edges(observations), n_threads, [&](Index, Index begin, Index end) {
    for (Index g = begin; g < end; ++g) describe_group(observations, g, out);
  });
  return out;
}

std::vector<ShellStatistics> shell_statistics(const GroupStatistics& groups, Span<const Index> shell,
                                              Index n_shells) {
  require_size("shell", shell.size(), groups.mean.size());
  return sum_shells<ShellSums>(shell, n_shells, [&](ShellSums& sums, Index g) { sums.add(groups, g); });
}

std::vector<AnomalousStatistics> anomalous_statistics(const GroupStatistics& groups, Span<const Index> plus,
                                                      Span<const Index> minus, Span<const Index> shell,
                                                      Index n_shells) {
  const Index n_groups = static_cast<Index>(groups.mean.size());
  require_size("minus", minus.size(), plus.size());
  require_size("shell", shell.size(), plus.size());
  for (const auto& side : {plus, minus})
    for (const Index g : side)
      if (g < 0 || g >= n_groups) throw std::invalid_argument(cat("group ", g, " of ", n_groups));
  return sum_shells<AnomalousSums>(
      shell, n_shells, [&](AnomalousSums& sums, Index k) { sums.add(groups, plus[k], minus[k]); });
}

}  // namespace pyscale
