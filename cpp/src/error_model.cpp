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
  require_size("linear", obs.linear.size(), obs.intensity.size());
  require_size("quadratic", obs.quadratic.size(), obs.intensity.size());
  require_offsets("offsets", obs.offsets, obs.intensity.size());
}

void require_parameters(const ErrorParameters& parameters, Index n) {
  if (parameters.n_models() < 1 || parameters.values.size() % 3 != 0)
    throw std::invalid_argument("parameters must have three columns and a row for each model");
  if (parameters.model.empty()) return;
  require_size("model", parameters.model.size(), n);
  for (const auto k : parameters.model)
    if (k < 0 || k >= parameters.n_models())
      throw std::invalid_argument("a row has an error model that does not exist");
}

// The models of all rows: a^2, b^2 and c by number.
class Models {
 public:
  explicit Models(const ErrorParameters& p) : number_(p.model), values_(p.values.begin(), p.values.end()) {
    for (Index k = 0; k < p.n_models(); ++k) values_[3 * k] = std::exp(2 * values_[3 * k]);
  }

  Index of(Index row) const { return number_.empty() ? 0 : number_[row]; }

  double variance(Index i, double variance, double linear, double quadratic) const {
    const double* p = &values_[3 * of(i)];
    return p[0] * (variance + p[2] * linear + p[1] * quadratic);
  }

  double variance(const RepeatedView& obs, Index i) const {
    return variance(i, obs.variance[i], obs.linear[i], obs.quadratic[i]);
  }

  // dv / d(ln a, d, c) over v
  std::array<double, 3> relative_derivatives(const RepeatedView& obs, Index i, double v) const {
    const double a_squared = values_[3 * of(i)] / v;
    return {2.0, a_squared * obs.quadratic[i], a_squared * obs.linear[i]};
  }

 private:
  Span<const std::int32_t> number_;
  std::vector<double> values_;
};

// Variances v of the rows of a group and s of their residuals.
struct GroupVariances {
  std::vector<double> row, residual;

  void compute(const RepeatedView& obs, Span<const double> share, const Models& models, Index begin,
               Index end) {
    const auto n = static_cast<std::size_t>(end - begin);
    row.resize(n);
    residual.resize(n);
    double of_mean = 0;
    for (Index i = begin; i < end; ++i) {
      const double v = row[i - begin] = models.variance(obs, i);
      of_mean += share[i] * share[i] * v;
    }
    for (Index i = begin; i < end; ++i) residual[i - begin] = (1 - 2 * share[i]) * row[i - begin] + of_mean;
  }
};

// Sums over some groups, one row of `width` elements for each model.
struct PartialTerms {
  double cost = 0;
  std::vector<double> gradient, information, score_variance;

  void resize(Index n_models) {
    gradient.resize(static_cast<std::size_t>(3 * n_models));
    information.resize(static_cast<std::size_t>(6 * n_models));
    score_variance.resize(static_cast<std::size_t>(6 * n_models));
  }

  void merge(const PartialTerms& other) {
    cost += other.cost;
    add(gradient, other.gradient);
    add(information, other.information);
    add(score_variance, other.score_variance);
  }

 private:
  static void add(std::vector<double>& to, const std::vector<double>& from) {
    for (std::size_t k = 0; k < to.size(); ++k) to[k] += from[k];
  }
};

// Coefficients of the derivatives of a group's cost, by residual: over s, the slope, the curvature and the
// square of the slope, each times the weight 1 - p.
struct GroupSlopes {
  std::vector<std::array<double, 3>> of_residual;
  std::array<double, 3> total{};

  // Returns the cost.
  double compute(Span<const double> residual, Span<const double> share, const std::vector<double>& s,
                 Index begin, double nu, double kappa) {
    of_residual.assign(s.size(), {});
    total = {};
    double cost = 0;
    for (std::size_t k = 0; k < s.size(); ++k) {
      if (!(s[k] > 0)) continue;
      const Index i = begin + static_cast<Index>(k);
      const double weight = 1 - share[i], q = residual[i] * residual[i] / (nu * kappa * s[k]),
                   down = 1 / (1 + q);
      const double slope = 1 - (nu + 1) * q * down, curvature = (nu + 1) * q * down * down;
      cost += weight * (std::log(s[k]) + (nu + 1) * std::log(1 + q));
      of_residual[k] = {weight * slope / s[k], weight * curvature / s[k], weight * slope * slope / s[k]};
      for (int c = 0; c < 3; ++c) total[c] += of_residual[k][c];
    }
    return cost;
  }
};

void add_derivatives(const RepeatedView& obs, Span<const double> share, const Models& models,
                     const GroupVariances& variances, const GroupSlopes& slopes, Index begin,
                     PartialTerms& to) {
  for (std::size_t k = 0; k < variances.row.size(); ++k) {
    const Index i = begin + static_cast<Index>(k);
    const double v = variances.row[k], p = share[i];
    if (!(v > 0)) continue;
    const auto& own = slopes.of_residual[k];
    std::array<double, 3> coefficient;
    for (int c = 0; c < 3; ++c)
      coefficient[c] = v * ((1 - p) * (1 - p) * own[c] + p * p * (slopes.total[c] - own[c]));
    const auto x = models.relative_derivatives(obs, i, v);
    const auto model = static_cast<std::size_t>(models.of(i));
    double* gradient = &to.gradient[3 * model];
    double* information = &to.information[6 * model];
    double* score = &to.score_variance[6 * model];
    for (int r = 0, element = 0; r < 3; ++r) {
      gradient[r] += coefficient[0] * x[r];
      for (int c = r; c < 3; ++c, ++element) {
        information[element] += coefficient[1] * x[r] * x[c];
        score[element] += coefficient[2] * x[r] * x[c];
      }
    }
  }
}

// Chunks of groups: fewer where each holds sums for many models.
std::vector<Index> cost_edges(Span<const Index> offsets, Index n_rows, Index n_models) {
  const Index most = std::max<Index>(1, (Index{1} << 18) / n_models);
  return balanced_group_edges(offsets, std::min(most, n_rows / rows_per_chunk + 1));
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

std::vector<double> error_model_variances(Span<const double> variance, Span<const double> expected,
                                          Span<const double> conversion, const ErrorParameters& parameters,
                                          int n_threads) {
  const Index n = variance.size();
  require_size("expected", expected.size(), n);
  require_size("conversion", conversion.size(), n);
  require_parameters(parameters, n);
  const Models models(parameters);
  std::vector<double> result(static_cast<std::size_t>(n));
  for_each_chunk(fixed_size_edges(n, rows_per_chunk), n_threads, [&](Index, Index first, Index last) {
    for (Index i = first; i < last; ++i) {
      const double mean = std::max(0.0, expected[i]);
      result[i] = models.variance(i, variance[i], std::max(0.0, conversion[i]) * mean, mean * mean);
    }
  });
  return result;
}

RepeatedObservations repeated_observations(Span<const double> intensity, Span<const double> variance,
                                           Span<const double> g, Span<const double> expected,
                                           Span<const double> conversion, Span<const Index> offsets,
                                           Span<const std::uint8_t> excluded, Index min_multiplicity) {
  const Index n = intensity.size();
  require_size("variance", variance.size(), n);
  require_size("g", g.size(), n);
  require_size("expected", expected.size(), n);
  require_size("conversion", conversion.size(), n);
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
                          std::isfinite(conversion[i]) && (excluded.empty() || excluded[i] == 0);
      if (usable) out.row.push_back(i);
    }
    const Index last = static_cast<Index>(out.row.size());
    if (last - first >= min_multiplicity)
      out.offsets.push_back(last);
    else
      out.row.resize(static_cast<std::size_t>(first));
  }
  for (auto* values : {&out.intensity, &out.variance, &out.linear, &out.quadratic})
    values->reserve(out.row.size());
  for (const Index i : out.row) {
    const double mean = std::max(0.0, expected[i]) / g[i];
    out.intensity.push_back(intensity[i] / g[i]);
    out.variance.push_back(variance[i] / (g[i] * g[i]));
    out.linear.push_back(std::max(0.0, conversion[i]) * mean / g[i]);
    out.quadratic.push_back(mean * mean);
  }
  return out;
}

GroupResiduals group_residuals(const RepeatedView& obs, const ErrorParameters& parameters, int n_threads) {
  require_repeated(obs);
  require_parameters(parameters, obs.intensity.size());
  const Models models(parameters);
  const std::vector<double> zeros(static_cast<std::size_t>(obs.intensity.size()));
  GroupResiduals out{zeros, zeros};
  const auto edges = balanced_group_edges(obs.offsets, obs.intensity.size() / rows_per_chunk + 1);
  for_each_chunk(edges, n_threads, [&](Index, Index first_group, Index last_group) {
    for (Index h = first_group; h < last_group; ++h) {
      const Index begin = obs.offsets[h], end = obs.offsets[h + 1];
      double sum = 0, mean = 0;
      for (Index i = begin; i < end; ++i) {
        const double w = out.share[i] = 1 / models.variance(obs, i);
        sum += w;
        mean += w * obs.intensity[i];
      }
      for (Index i = begin; i < end; ++i) {
        out.share[i] /= sum;
        out.residual[i] = obs.intensity[i] - mean / sum;
      }
    }
  });
  return out;
}

std::vector<double> residual_variances(const RepeatedView& obs, Span<const double> share,
                                       const ErrorParameters& parameters, int n_threads) {
  require_repeated(obs);
  require_parameters(parameters, obs.intensity.size());
  require_size("share", share.size(), obs.intensity.size());
  const Models models(parameters);
  std::vector<double> result(static_cast<std::size_t>(obs.intensity.size()));
  const auto edges = balanced_group_edges(obs.offsets, obs.intensity.size() / rows_per_chunk + 1);
  for_each_chunk(edges, n_threads, [&](Index, Index first_group, Index last_group) {
    GroupVariances variances;
    for (Index h = first_group; h < last_group; ++h) {
      variances.compute(obs, share, models, obs.offsets[h], obs.offsets[h + 1]);
      std::copy(variances.residual.begin(), variances.residual.end(), result.begin() + obs.offsets[h]);
    }
  });
  return result;
}

ErrorModelTerms student_cost(const RepeatedView& obs, Span<const double> residual, Span<const double> share,
                             const ErrorParameters& parameters, double nu, double kappa, int n_threads) {
  const Index n = obs.intensity.size(), n_models = parameters.n_models();
  require_repeated(obs);
  require_parameters(parameters, n);
  require_size("residual", residual.size(), n);
  require_size("share", share.size(), n);
  const Models models(parameters);
  const auto edges = cost_edges(obs.offsets, n, n_models);
  std::vector<PartialTerms> parts(std::max<std::size_t>(edges.size() - 1, 1));
  parts.front().resize(n_models);
  for_each_chunk(edges, n_threads, [&](Index chunk, Index first_group, Index last_group) {
    GroupVariances variances;
    GroupSlopes slopes;
    PartialTerms terms;
    terms.resize(n_models);
    for (Index h = first_group; h < last_group; ++h) {
      const Index begin = obs.offsets[h], end = obs.offsets[h + 1];
      variances.compute(obs, share, models, begin, end);
      terms.cost += slopes.compute(residual, share, variances.residual, begin, nu, kappa);
      add_derivatives(obs, share, models, variances, slopes, begin, terms);
    }
    parts[chunk] = std::move(terms);
  });
  PartialTerms total = tree_merge(std::move(parts));
  return {total.cost, std::move(total.gradient), std::move(total.information),
          std::move(total.score_variance)};
}

}  // namespace pyscale
