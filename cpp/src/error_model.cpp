#include <algorithm>
#include <cmath>
#include <pyscale/error.hpp>  // for require_size
#include <pyscale/error_model.hpp>
#include <pyscale/groups.hpp>    // for require_offsets
#include <pyscale/parallel.hpp>  // for for_each_chunk, tree_merge
#include <stdexcept>

namespace pyscale {
namespace {

constexpr Index rows_per_chunk = 4096;

void require_repeated(const RepeatedView& obs) {
  require_size("variance", obs.variance.size(), obs.intensity.size());
  require_size("expected_squared", obs.expected_squared.size(), obs.intensity.size());
  require_offsets("offsets", obs.offsets, obs.intensity.size());
}

// Fills `weight` (at least as long as the group) and returns its sum and the weighted mean.
struct GroupMean {
  double weight_sum = 0, intensity = 0;

  GroupMean(const RepeatedView& obs, Index begin, Index end, double b_squared, std::vector<double>& weight) {
    weight.resize(static_cast<std::size_t>(end - begin));
    for (Index i = begin; i < end; ++i) {
      const double w = 1 / (obs.variance[i] + b_squared * obs.expected_squared[i]);
      weight[i - begin] = w;
      weight_sum += w;
      intensity += w * obs.intensity[i];
    }
    intensity /= weight_sum;
  }
};

// Sums over one group for restricted_likelihood at a = 1, with w = 1/v, e = dv/db^2, r = y - ybar.
struct RestrictedSums {
  double log_variance = 0, we = 0, wwe = 0, wwee = 0, wwwee = 0, wrr = 0, wwerr = 0;
};

void add_group(const RestrictedSums& s, double n, double weight_sum, double log_a, ErrorModelTerms& terms) {
  const double dof = n - 1, precision = std::exp(-2 * log_a), mean_we = s.wwe / weight_sum;
  terms.cost += s.log_variance + std::log(weight_sum) + 2 * log_a * dof + precision * s.wrr;
  terms.gradient[0] += 2 * (dof - precision * s.wrr);
  terms.gradient[1] += s.we - mean_we - precision * s.wwerr;
  const std::array<double, 3> information = {4 * dof, 2 * (s.we - mean_we),
                                             s.wwee - 2 * s.wwwee / weight_sum + mean_we * mean_we};
  for (int k = 0; k < 3; ++k) {
    terms.information[k] += information[k];
    terms.score_variance[k] += 2 * information[k];
  }
}

template <class T, class Body>
T reduce(const std::vector<Index>& edges, int n_threads, Body&& body) {
  if (edges.size() < 2) return T{};
  std::vector<T> parts(edges.size() - 1);
  for_each_chunk(edges, n_threads, [&](Index chunk, Index begin, Index end) {
    T part;
    for (Index i = begin; i < end; ++i) body(i, part);
    parts[chunk] = part;
  });
  return tree_merge(std::move(parts));
}

}  // namespace

std::vector<double> expected_intensity(Span<const double> intensity, Span<const double> weight,
                                       Span<const double> g, Span<const Index> offsets,
                                       Span<const std::uint8_t> excluded, int n_threads,
                                       const ReferenceView& reference) {
  const Index n = intensity.size();
  reference.validate(offsets.size() - 1);
  require_size("weight", weight.size(), n);
  require_size("g", g.size(), n);
  if (!excluded.empty()) require_size("excluded", excluded.size(), n);
  require_offsets("offsets", offsets, n);
  std::vector<double> expected(intensity.begin(), intensity.end());
  for_each_chunk(
      balanced_group_edges(offsets, n / rows_per_chunk + 1), n_threads, [&](Index, Index first, Index last) {
        for (Index h = first; h < last; ++h) {
          double wgi = 0, wgg = reference.weight_of(h);
          if (wgg > 0) wgi = wgg * reference.intensity[h];
          for (Index i = offsets[h]; i < offsets[h + 1]; ++i) {
            const bool usable = g[i] > 0 && weight[i] > 0 && std::isfinite(weight[i]) &&
                                std::isfinite(intensity[i]) && (excluded.empty() || excluded[i] == 0);
            if (!usable) continue;
            wgi += weight[i] * g[i] * intensity[i];
            wgg += weight[i] * g[i] * g[i];
          }
          if (!(wgg > 0)) continue;
          for (Index i = offsets[h]; i < offsets[h + 1]; ++i)
            if (g[i] > 0) expected[i] = g[i] * (wgi / wgg);
        }
      });
  return expected;
}

RepeatedObservations repeated_observations(Span<const double> intensity, Span<const double> variance,
                                           Span<const double> g, Span<const double> expected,
                                           Span<const Index> offsets, Span<const std::uint8_t> excluded,
                                           Index min_multiplicity) {
  const Index n = intensity.size();
  require_size("variance", variance.size(), n);
  require_size("g", g.size(), n);
  require_size("expected", expected.size(), n);
  if (!excluded.empty()) require_size("excluded", excluded.size(), n);
  require_offsets("offsets", offsets, n);
  if (min_multiplicity < 2) throw std::invalid_argument("min_multiplicity must be at least 2");
  RepeatedObservations out;
  out.row.reserve(static_cast<std::size_t>(n));
  out.offsets.push_back(0);
  for (Index h = 0; h + 1 < offsets.size(); ++h) {
    const Index first = out.offsets.back();
    for (Index i = offsets[h]; i < offsets[h + 1]; ++i) {
      const bool usable = g[i] > 0 && variance[i] > 0 && std::isfinite(variance[i]) &&
                          std::isfinite(intensity[i]) && std::isfinite(expected[i]) &&
                          (excluded.empty() || excluded[i] == 0);
      if (usable) out.row.push_back(i);
    }
    const Index last = static_cast<Index>(out.row.size());
    if (last - first >= min_multiplicity)
      out.offsets.push_back(last);
    else
      out.row.resize(static_cast<std::size_t>(first));
  }
  for (auto* values : {&out.intensity, &out.variance, &out.expected_squared}) values->reserve(out.row.size());
  for (const Index i : out.row) {
    const double mean = std::max(0.0, expected[i]) / g[i];
    out.intensity.push_back(intensity[i] / g[i]);
    out.variance.push_back(variance[i] / (g[i] * g[i]));
    out.expected_squared.push_back(mean * mean);
  }
  return out;
}

void ErrorModelTerms::merge(const ErrorModelTerms& other) {
  cost += other.cost;
  for (int k = 0; k < 2; ++k) gradient[k] += other.gradient[k];
  for (int k = 0; k < 3; ++k) {
    information[k] += other.information[k];
    score_variance[k] += other.score_variance[k];
  }
}

ErrorModelTerms restricted_likelihood(const RepeatedView& obs, double log_a, double b_squared,
                                      int n_threads) {
  require_repeated(obs);
  const auto edges = balanced_group_edges(obs.offsets, obs.intensity.size() / rows_per_chunk + 1);
  return reduce<ErrorModelTerms>(edges, n_threads, [&](Index h, ErrorModelTerms& terms) {
    thread_local std::vector<double> weight;
    const Index begin = obs.offsets[h], end = obs.offsets[h + 1];
    if (begin == end) return;
    const GroupMean mean(obs, begin, end, b_squared, weight);
    RestrictedSums s;
    for (Index i = begin; i < end; ++i) {
      const double w = weight[i - begin], we = w * obs.expected_squared[i];
      const double r = obs.intensity[i] - mean.intensity, wrr = w * r * r;
      s.log_variance -= std::log(w);
      s.we += we;
      s.wwe += w * we;
      s.wwee += we * we;
      s.wwwee += w * we * we;
      s.wrr += wrr;
      s.wwerr += we * wrr;
    }
    add_group(s, static_cast<double>(end - begin), mean.weight_sum, log_a, terms);
  });
}

GroupResiduals group_residuals(const RepeatedView& obs, double b_squared, int n_threads) {
  require_repeated(obs);
  const std::vector<double> zeros(static_cast<std::size_t>(obs.intensity.size()));
  GroupResiduals out{zeros, zeros, zeros, zeros};
  const auto edges = balanced_group_edges(obs.offsets, obs.intensity.size() / rows_per_chunk + 1);
  for_each_chunk(edges, n_threads, [&](Index, Index first_group, Index last_group) {
    std::vector<double> share;
    for (Index h = first_group; h < last_group; ++h) {
      const Index begin = obs.offsets[h], end = obs.offsets[h + 1];
      if (begin == end) continue;
      const GroupMean mean(obs, begin, end, b_squared, share);
      double variance = 0, expected_squared = 0;
      for (Index i = begin; i < end; ++i) {
        const double p = share[i - begin] /= mean.weight_sum;
        variance += p * p * obs.variance[i];
        expected_squared += p * p * obs.expected_squared[i];
      }
      for (Index i = begin; i < end; ++i) {
        const double p = share[i - begin], own = 1 - 2 * p;
        out.residual[i] = obs.intensity[i] - mean.intensity;
        out.variance[i] = own * obs.variance[i] + variance;
        out.expected_squared[i] = own * obs.expected_squared[i] + expected_squared;
        out.weight[i] = 1 - p;
      }
    }
  });
  return out;
}

ErrorModelTerms student_likelihood(const ResidualsView& residuals, double log_a, double b_squared, double nu,
                                   double kappa, int n_threads) {
  const Index n = residuals.residual.size();
  require_size("variance", residuals.variance.size(), n);
  require_size("expected_squared", residuals.expected_squared.size(), n);
  require_size("weight", residuals.weight.size(), n);
  const double a_squared = std::exp(2 * log_a);
  return reduce<ErrorModelTerms>(
      fixed_size_edges(n, rows_per_chunk), n_threads, [&](Index i, ErrorModelTerms& terms) {
        const double variance = residuals.variance[i] + b_squared * residuals.expected_squared[i];
        if (!(variance > 0)) return;
        const double weight = residuals.weight[i], r = residuals.residual[i];
        const double q = r * r / (nu * kappa * a_squared * variance), downweight = 1 / (1 + q);
        const std::array<double, 2> row = {
            2.0, residuals.expected_squared[i] / variance};  // d ln s / d(ln a, b^2)
        const double slope = 1 - (nu + 1) * q * downweight,
                     curvature = (nu + 1) * q * downweight * downweight;
        terms.cost += weight * (std::log(a_squared * variance) + (nu + 1) * std::log1p(q));
        for (int k = 0; k < 2; ++k) terms.gradient[k] += weight * slope * row[k];
        const std::array<double, 3> outer = {row[0] * row[0], row[0] * row[1], row[1] * row[1]};
        for (int k = 0; k < 3; ++k) {
          terms.information[k] += weight * curvature * outer[k];
          terms.score_variance[k] += weight * slope * slope * outer[k];
        }
      });
}

}  // namespace pyscale
