#include <algorithm>
#include <cmath>

#include "detail/scaling_model.hpp"

namespace pyscale::detail {
namespace {

/// Of the information on a typical parameter: what neighbours are held together by.
constexpr double kSmoothness = 1e-4;
constexpr double kFirm = 100.0, kSome = 1e-6;
constexpr double kLargestStep = 100.0;

/// Appends weight (p_i - p_j)^2 for neighbours along an axis.
void add_differences(const ModelPart& part, std::size_t axis, double weight, Restraints& restraints) {
  Index stride = 1;
  for (std::size_t k = 0; k < axis; ++k) stride *= part.shape[k];
  const Index block = stride * part.shape[axis];
  for (Index i = 0; i < part.size; ++i) {
    if (i % block >= block - stride) continue;
    restraints.column.push_back(static_cast<std::int32_t>(part.first + i));
    restraints.column.push_back(static_cast<std::int32_t>(part.first + i + stride));
    restraints.value.insert(restraints.value.end(), {1.0, -1.0});
    restraints.row_offsets.push_back(static_cast<Index>(restraints.column.size()));
    restraints.target.push_back(0.0);
    restraints.weight.push_back(weight);
  }
}

void add_mean(const std::vector<std::int32_t>& parameters, double target, double weight,
              Restraints& restraints) {
  for (const std::int32_t p : parameters) {
    restraints.column.push_back(p);
    restraints.value.push_back(1.0 / static_cast<double>(parameters.size()));
  }
  restraints.row_offsets.push_back(static_cast<Index>(restraints.column.size()));
  restraints.target.push_back(target);
  restraints.weight.push_back(weight);
}

/// Median information of the parameters that have some.
double typical(const std::vector<double>& information, const std::vector<std::int32_t>& parameters) {
  double largest = 0;
  for (const std::int32_t p : parameters) largest = std::max(largest, information[p]);
  std::vector<double> some;
  for (const std::int32_t p : parameters)
    if (information[p] > kSome * largest) some.push_back(information[p]);
  return median(std::move(some));
}

std::vector<std::int32_t> numbers(const ModelPart& part) {
  std::vector<std::int32_t> result;
  for (Index i = 0; i < part.size; ++i) result.push_back(static_cast<std::int32_t>(part.first + i));
  return result;
}

/// From weights of differences to those of differences of logarithms: whatever the overall scale, they mean
/// the same.
double square(const ModelPart& part, const std::vector<double>& parameters) {
  if (part.null_value != 1.0) return 1.0;
  const auto begin = parameters.begin() + part.first;
  const double middle = median({begin, begin + part.size});
  return middle * middle;
}

void add_own(const ModelPart& part, const std::vector<double>& parameters, Restraints& restraints) {
  if (part.weight > 0)
    for (Index i = 0; i < part.size; ++i)
      restraints.add(static_cast<std::int32_t>(part.first + i), part.null_value, part.weight);
  const double weight = part.smooth_weight / square(part, parameters);
  if (weight > 0)
    for (std::size_t k = 0; k < part.shape.size(); ++k) add_differences(part, k, weight, restraints);
}

/// Weight with which a mean stays in place, whatever the restraints of the components pull at it.
double holding(const std::vector<double>& information, const std::vector<std::int32_t>& parameters,
               double pull) {
  return static_cast<double>(parameters.size()) * (typical(information, parameters) + kFirm * pull);
}

bool is_free(const ModelPart& part) { return part.highest > part.lowest; }

}  // namespace

Restraints component_restraints(const ModelLayout& layout, const std::vector<double>& parameters,
                                const std::vector<double>& information) {
  Restraints restraints;
  for (const ModelPart& part : layout.parts) add_own(part, parameters, restraints);
  for (const ModelPart& part : layout.parts) {
    if (part.shape.empty()) continue;
    const double weight = kSmoothness * typical(information, numbers(part));
    if (weight > 0)
      for (std::size_t k = 0; k < part.shape.size(); ++k) add_differences(part, k, weight, restraints);
    // A second grid could take any factor from the first.
    if (part.shape.size() == 3)
      add_mean(numbers(part), 1.0, holding(information, numbers(part), part.weight), restraints);
  }
  return restraints;
}

void add_scale_restraints(const ModelLayout& layout, const std::vector<double>& parameters,
                          const std::vector<double>& information, const std::vector<std::int32_t>& label,
                          Restraints& restraints) {
  const std::int32_t n_labels = *std::max_element(label.begin(), label.end()) + 1;
  for (std::int32_t k = 0; k < n_labels; ++k) {
    std::vector<std::int32_t> scales;
    double sum = 0.0, pull = 0.0;
    for (const ModelPart& part : layout.parts) {
      if (!part.is_scale_like || label[part.data_set] != k) continue;
      pull = std::max(pull, part.weight);
      for (const std::int32_t p : numbers(part)) {
        scales.push_back(p);
        sum += parameters[p];
      }
    }
    const double mean = sum / static_cast<double>(scales.size());
    add_mean(scales, mean, holding(information, scales, pull), restraints);
  }
}

std::vector<double> restraint_diagonal(const Restraints& restraints, Index n_parameters) {
  std::vector<double> diagonal(static_cast<std::size_t>(n_parameters), 0.0);
  for (Index k = 0; k < restraints.size(); ++k)
    for (Index j = restraints.row_offsets[k]; j < restraints.row_offsets[k + 1]; ++j)
      diagonal[restraints.column[j]] += restraints.weight[k] * (restraints.value[j] * restraints.value[j]);
  return diagonal;
}

double update_restraints(ModelLayout& layout, const std::vector<double>& parameters,
                         const std::vector<double>& covariance, double chi_squared) {
  const std::size_t n = parameters.size();
  double largest = 0.0;
  for (ModelPart& part : layout.parts) {
    if (!is_free(part)) continue;
    double trace = 0.0, sum = 0.0;
    for (Index i = part.first; i < part.first + part.size; ++i) {
      const double deviation = parameters[i] - part.null_value;
      trace += covariance[static_cast<std::size_t>(i) * n + static_cast<std::size_t>(i)];
      sum += deviation * deviation;
    }
    const double determined = static_cast<double>(part.size) - part.weight * trace;
    const double most = part.weight * kLargestStep;
    const double wanted = sum > 0 ? std::min(std::max(determined, 1e-3) * chi_squared / sum, most) : most;
    const double least = part.weight / kLargestStep;
    const double weight = std::min(std::max(std::max(wanted, least), part.lowest), part.highest);
    largest = std::max(largest, std::abs(std::log(weight / part.weight)) * std::max(determined, 0.0));
    part.weight = weight;
  }
  return largest;
}

}  // namespace pyscale::detail
