#include <algorithm>
#include <cmath>
#include <pyscale/error.hpp>  // for require_size
#include <pyscale/parallel.hpp>
#include <pyscale/scale_errors.hpp>

namespace pyscale {
namespace {

constexpr double least_part = 0.1;
constexpr int n_iterations = 8;
constexpr Index rows_per_chunk = 16384;

std::vector<Index> chunk_edges(const ScaledObservations& obs) {
  return balanced_group_edges(obs.offsets, obs.intensity.size() / rows_per_chunk + 1);
}

void check(const ScaledObservations& obs, Span<const double> scale_variance) {
  check_observations(obs);
  require_size("scale_variance", scale_variance.size(), obs.intensity.size());
  for (Index i = 0; i < scale_variance.size(); ++i)
    if (!(scale_variance[i] >= 0) || !std::isfinite(scale_variance[i]))
      throw DataError(cat("scale variance of observation ", i, " is negative or not finite"));
}

}  // namespace

std::vector<double> statistical_variance(const ScaledObservations& observations,
                                         Span<const double> scale_variance, int n_threads) {
  check(observations, scale_variance);
  std::vector<double> result(observations.variance.begin(), observations.variance.end());
  for_each_chunk(chunk_edges(observations), n_threads, [&](Index, Index first, Index last) {
    for (Index g = first; g < last; ++g) {
      const auto begin = observations.offsets[g], end = observations.offsets[g + 1];
      double before = 0;
      for (int k = 0; k < n_iterations; ++k) {
        double sum_w = 0, sum_wi = 0;
        for (Index i = begin; i < end; ++i) {
          sum_w += 1 / result[i];
          sum_wi += observations.intensity[i] / result[i];
        }
        const double mean = sum_wi / sum_w;
        if (k > 0 && std::abs(mean - before) <= 1e-12 * std::abs(mean)) break;
        before = mean;
        for (Index i = begin; i < end; ++i) {
          const double v = observations.variance[i];
          result[i] = std::max(v - mean * mean * scale_variance[i], least_part * v);
        }
      }
    }
  });
  return result;
}

std::vector<double> common_scale_error(const ScaledObservations& observations,
                                       Span<const double> scale_variance, Span<const double> correlation,
                                       int n_threads) {
  check(observations, scale_variance);
  if (!correlation.empty()) require_size("correlation", correlation.size(), observations.intensity.size());
  std::vector<double> result(static_cast<std::size_t>(observations.offsets.size() - 1));
  for_each_chunk(chunk_edges(observations), n_threads, [&](Index, Index first, Index last) {
    for (Index g = first; g < last; ++g) {
      double sum_w = 0, sum = 0, squares = 0, correlated = 0;
      for (Index i = observations.offsets[g]; i < observations.offsets[g + 1]; ++i) {
        const double w = 1 / observations.variance[i], u = w * std::sqrt(scale_variance[i]);
        sum_w += w;
        sum += u;
        squares += u * u;
        correlated += correlation.empty() ? u : u * correlation[i];
      }
      const double r = sum > 0 ? correlated / sum : 1.0;
      result[g] = std::sqrt(std::max(r * sum * sum + (1 - r) * squares, 0.0)) / sum_w;
    }
  });
  return result;
}

}  // namespace pyscale
