// The gauge of a fit, and uncertainties in it: docs/theory/uncertainty.md, "Gauge".
#include <algorithm>
#include <cmath>
#include <limits>

#include "detail/scaling_fit.hpp"

namespace pyscale::detail {
namespace {

constexpr double kTakesPart = 1e-3;

/// Parameters of some connected component: those that carry scales, or those that add to B. Empty where not
/// all of its data sets have any.
std::vector<Index> parameters_of(const ModelLayout& layout, const std::vector<std::int32_t>& label,
                                 std::int32_t which, bool ModelPart::* kind) {
  std::vector<Index> result;
  Index n_data_sets = std::count(label.begin(), label.end(), which);
  for (const ModelPart& part : layout.parts) {
    if (!(part.*kind) || label[part.data_set] != which) continue;
    --n_data_sets;
    for (Index i = part.first; i < part.first + part.size; ++i) result.push_back(i);
  }
  return n_data_sets == 0 ? result : std::vector<Index>{};
}

std::int32_t n_labels(const std::vector<std::int32_t>& label) {
  return *std::max_element(label.begin(), label.end()) + 1;
}

/// Whether the parameters that take part in an undetermined combination are just those of a gauge direction.
bool is_gauge(const double* combination, const Gauge& gauge, std::size_t p) {
  for (Index d = 0; d < gauge.n_directions; ++d) {
    bool same = true;
    for (std::size_t i = 0; i < p && same; ++i)
      same = (std::abs(combination[i]) > kTakesPart) ==
             (gauge.direction[static_cast<std::size_t>(d) * p + i] != 0.0);
    if (same) return true;
  }
  return false;
}

}  // namespace

void ScalingFit::fix_gauge() {
  const std::int32_t n = n_labels(label_);
  const FitProblem::GaugeSums sums = problem_.gauge_sums(out_.parameters, label_, n);
  for (std::int32_t k = 0; k < n; ++k) {
    if (!(sums.weight[k] > 0)) continue;
    double mean = sums.ln_g[k] / sums.weight[k];
    const std::vector<Index> decays = parameters_of(layout_, label_, k, &ModelPart::is_decay_like);
    if (!decays.empty() && sums.x_squared[k] > 0) {
      const double slope = sums.x_ln_g[k] / sums.x_squared[k];
      for (const Index i : decays) out_.parameters[i] -= slope;
      mean -= slope * (sums.x[k] / sums.weight[k]);
    }
    const double factor = std::exp(-mean);
    for (const Index i : parameters_of(layout_, label_, k, &ModelPart::is_scale_like))
      out_.parameters[i] *= factor;
  }
}

Gauge ScalingFit::gauge() const {
  const std::int32_t n = n_labels(label_);
  const std::size_t p = out_.parameters.size();
  const FitProblem::GaugeSums sums = problem_.gauge_sums(out_.parameters, label_, n);
  Gauge gauge;
  const auto add = [&](const std::vector<Index>& parameters, bool scales,
                       const std::vector<double>& functional, std::size_t row, double divisor) {
    if (parameters.empty() || !(divisor > 0)) return;
    const std::size_t begin = gauge.direction.size();
    gauge.direction.resize(begin + p, 0.0);
    for (const Index i : parameters)
      gauge.direction[begin + static_cast<std::size_t>(i)] = scales ? out_.parameters[i] : 1.0;
    for (std::size_t i = 0; i < p; ++i) gauge.functional.push_back(functional[row * p + i] / divisor);
    ++gauge.n_directions;
  };
  for (std::int32_t k = 0; k < n; ++k) {
    if (!(sums.weight[k] > 0)) continue;
    const auto row = static_cast<std::size_t>(k);
    add(parameters_of(layout_, label_, k, &ModelPart::is_scale_like), true, sums.mean, row, sums.weight[k]);
    add(parameters_of(layout_, label_, k, &ModelPart::is_decay_like), false, sums.first, row,
        sums.x_squared[k]);
  }
  return gauge;
}

double ScalingFit::effective_parameters(const std::vector<double>& covariance,
                                        const Restraints& restraints) const {
  const std::size_t p = out_.parameters.size();
  double held = 0.0;
  for (Index k = 0; k < restraints.size(); ++k) {
    double form = 0.0;
    for (Index i = restraints.row_offsets[k]; i < restraints.row_offsets[k + 1]; ++i)
      for (Index j = restraints.row_offsets[k]; j < restraints.row_offsets[k + 1]; ++j)
        form += restraints.value[i] * restraints.value[j] *
                covariance[static_cast<std::size_t>(restraints.column[i]) * p +
                           static_cast<std::size_t>(restraints.column[j])];
    held += restraints.weight[k] * form;
  }
  return static_cast<double>(p) - held;
}

std::vector<double> ScalingFit::add_uncertainties(double cost) {
  const Restraints restraints = component_restraints(layout_, out_.parameters, information_);
  problem_.set_restraints(restraints);
  NormalEquations equations;
  problem_.evaluate(out_.parameters, equations);
  const Gauge fixed = gauge();
  const Index p = problem_.n_parameters();
  CovarianceResult unit = gauge_covariance(equations.matrix, p, fixed, options_.n_threads);
  const auto n = static_cast<std::size_t>(p);
  std::vector<std::uint8_t> is_unknown(n, 0);
  Index n_unknown = 0;
  for (Index k = 0; k < unit.n_undetermined; ++k) {
    const double* combination = unit.undetermined.data() + static_cast<std::size_t>(k) * n;
    if (is_gauge(combination, fixed, n)) continue;
    ++n_unknown;
    for (std::size_t i = 0; i < n; ++i) is_unknown[i] |= std::abs(combination[i]) > kTakesPart;
  }
  const double effective = effective_parameters(unit.covariance, restraints) -
                           static_cast<double>(fixed.n_directions) - static_cast<double>(n_unknown);
  const double freedom = static_cast<double>(problem_.n_observations() - problem_.n_groups()) - effective;
  out_.chi_squared = freedom > 0 ? cost / freedom : 1.0;
  for (double& c : unit.covariance) c *= out_.chi_squared;
  out_.sigma.resize(n);
  for (std::size_t i = 0; i < n; ++i)
    out_.sigma[i] = is_unknown[i] != 0 ? std::numeric_limits<double>::infinity()
                                       : std::sqrt(std::max(unit.covariance[i * n + i], 0.0));
  out_.g_variance = inverse_scale_factor_variances(layout_.core, data_.view(), out_.parameters,
                                                   unit.covariance, options_.n_threads);
  return std::move(unit.covariance);
}

void ScalingFit::add_correlations(const std::vector<double>& covariance) {
  const std::size_t n = out_.g.size();
  const std::vector<double> variance = merging_variances(data_, out_);
  std::vector<double> weight(n), q(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (!is_merged(out_, static_cast<Index>(i))) continue;
    const double square = out_.g[i] * out_.g[i];
    weight[i] = square / variance[i];
    q[i] = out_.g_variance[i] / square;
  }
  out_.correlation = problem_.scale_correlations(
      {out_.parameters, weight, q, data_.offsets, data_.anomalous_offsets}, covariance);
}

}  // namespace pyscale::detail
