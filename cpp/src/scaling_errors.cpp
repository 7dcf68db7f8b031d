#include <algorithm>
#include <cmath>
#include <pyscale/error_model.hpp>

#include "detail/scaling_errors.hpp"

namespace pyscale::detail {
namespace {

constexpr double kNu = 4.0;
/// Root of E[(nu + 1) q / (1 + q)] = 1 with q = z^2 / (nu kappa), z standard normal: unbiased for Gaussian
/// data.
constexpr double kKappa = 0.6905668066708721;
constexpr int kMaxCycles = 6, kMaxSteps = 60, kMaxHalvings = 20;
/// In standard uncertainties: of a minimum, and of the cycles that renew expected intensities.
constexpr double kPrecision = 0.01, kCyclePrecision = 0.05;
constexpr double kCostRounding = 1e-11;
constexpr Index kMinForAny = 20, kMinForB = 100, kEnough = 2000;
/// Relative uncertainty of the mean of a strong group up to which it is taken for the expected intensity.
constexpr double kMeanPrecision = 0.15;

std::vector<double> packed(const ErrorTheta& theta) { return {theta.log_a, theta.d, 0.0}; }

/// The robust cost with fixed expected intensities and means.
class Cost {
 public:
  Cost(const RepeatedObservations& obs, const ErrorTheta& theta, int n_threads)
      : view_{obs.intensity, obs.variance, obs.linear, obs.quadratic, obs.offsets},
        residuals_(group_residuals(view_, {packed(theta), {}}, n_threads)),
        n_threads_(n_threads) {}

  ErrorModelTerms operator()(const ErrorTheta& theta) const {
    return student_cost(view_, residuals_.residual, residuals_.share, {packed(theta), {}}, kNu, kKappa,
                        n_threads_);
  }

 private:
  RepeatedView view_;
  GroupResiduals residuals_;
  int n_threads_;
};

struct Step {
  double log_a, d;
};

/// Minimum of the quadratic model with d >= 0; with `both` false a alone moves. A step of ln a is 1 at most.
Step scoring_step(const ErrorModelTerms& t, const ErrorTheta& theta, bool both) {
  const double ga = t.gradient[0], gd = t.gradient[1];
  const double i_aa = t.information[0], i_ad = t.information[1], i_dd = t.information[3];
  const double determinant = i_aa * i_dd - i_ad * i_ad;
  Step step{-ga / i_aa, 0.0};
  if (both && determinant > 1e-8 * i_aa * i_dd) {
    step = {(i_ad * gd - i_dd * ga) / determinant, (i_ad * ga - i_aa * gd) / determinant};
    if (theta.d + step.d < 0) step = {-(ga + i_ad * -theta.d) / i_aa, -theta.d};
  }
  const double excess = std::max(std::abs(step.log_a), 1.0);
  return {step.log_a / excess, step.d / excess};
}

struct Minimum {
  ErrorTheta theta;
  ErrorModelTerms terms;
  bool converged = false;
};

Minimum minimise_cost(const Cost& cost, ErrorTheta theta, bool both) {
  Minimum best{theta, cost(theta), false};
  for (int i = 0; i < kMaxSteps; ++i) {
    const ErrorModelTerms& t = best.terms;
    if (!(t.information[0] > 0)) return best;
    const Step step = scoring_step(t, best.theta, both);
    if (-(step.log_a * t.gradient[0] + step.d * t.gradient[1]) < kPrecision * kPrecision) {
      best.converged = true;
      return best;
    }
    const double limit = t.cost + kCostRounding * std::max(1.0, std::abs(t.cost));
    double factor = 1.0;
    int halving = 0;
    for (; halving < kMaxHalvings; ++halving, factor *= 0.5) {
      const ErrorTheta trial{best.theta.log_a + factor * step.log_a,
                             std::max(best.theta.d + factor * step.d, 0.0)};
      ErrorModelTerms terms = cost(trial);
      if (!(terms.cost <= limit)) continue;
      best.theta = trial;
      best.terms = std::move(terms);
      break;
    }
    if (halving == kMaxHalvings) return best;
  }
  return best;
}

/// Multiplicity at which the mean of a strong group may serve as its expected intensity.
Index needed_multiplicity(const ErrorTheta& theta) {
  const double ratio = std::exp(theta.log_a) * std::sqrt(theta.d) / kMeanPrecision;
  return std::max<Index>(2, static_cast<Index>(std::ceil(std::min(ratio * ratio, 1e6))));
}

/// Rows of groups whose mean is precise enough, if there are enough of them; else of smaller ones.
RepeatedObservations precise_groups(const ScalingData& data, const std::vector<double>& g,
                                    const std::vector<double>& expected,
                                    const std::vector<std::uint8_t>& excluded, Index needed) {
  const auto of = [&](Index multiplicity) {
    return repeated_observations(data.intensity, data.variance, g, expected, data.no_conversion,
                                 data.anomalous_offsets, excluded, multiplicity);
  };
  Index largest = 2;
  for (std::size_t h = 0; h + 1 < data.anomalous_offsets.size(); ++h)
    largest = std::max(largest, data.anomalous_offsets[h + 1] - data.anomalous_offsets[h]);
  for (Index multiplicity = std::min(needed, largest); multiplicity > 2;
       multiplicity = std::max<Index>(2, multiplicity / 2)) {
    RepeatedObservations found = of(multiplicity);
    if (static_cast<Index>(found.row.size()) >= kEnough) return found;
  }
  return of(2);
}

/// Whether a cycle moved the parameters by less than some of their uncertainties, from the information alone.
bool is_settled(const ErrorTheta& before, const Minimum& m) {
  const double da = m.theta.log_a - before.log_a, dd = m.theta.d - before.d;
  const std::vector<double>& h = m.terms.information;
  return da * da * h[0] + 2.0 * da * dd * h[1] + dd * dd * h[3] < kCyclePrecision * kCyclePrecision;
}

}  // namespace

std::vector<double> variances(const ScalingData& data, const ErrorTheta& theta,
                              const std::vector<double>& expected, int n_threads) {
  return error_model_variances(data.variance, expected, data.no_conversion, {packed(theta), {}}, n_threads);
}

std::vector<double> expected_of(const ScalingData& data, const std::vector<double>& variance,
                                const std::vector<double>& g, const std::vector<std::uint8_t>& excluded,
                                int n_threads) {
  std::vector<double> weight(variance.size());
  for (std::size_t i = 0; i < weight.size(); ++i) weight[i] = 1.0 / variance[i];
  return expected_intensity(data.intensity, weight, g, data.target_offsets, excluded, n_threads);
}

ErrorRefinement refine_error_model(const ScalingData& data, const std::vector<double>& g,
                                   const std::vector<std::uint8_t>& excluded, const ErrorTheta& start,
                                   int n_threads) {
  ErrorRefinement result{start, 0, false};
  std::vector<double> expected =
      expected_of(data, variances(data, start, data.no_conversion, n_threads), g, excluded, n_threads);
  for (int cycle = 0; cycle < kMaxCycles; ++cycle) {
    expected = expected_of(data, variances(data, result.theta, expected, n_threads), g, excluded, n_threads);
    const RepeatedObservations repeated =
        precise_groups(data, g, expected, excluded, needed_multiplicity(result.theta));
    result.n_used = static_cast<Index>(repeated.row.size());
    if (result.n_used < kMinForAny) return result;
    const Cost cost(repeated, result.theta, n_threads);
    const Minimum minimum = minimise_cost(cost, result.theta, result.n_used >= kMinForB);
    const bool settled = is_settled(result.theta, minimum);
    result.theta = minimum.theta;
    result.converged = minimum.converged;
    if (settled) break;
  }
  return result;
}

}  // namespace pyscale::detail
