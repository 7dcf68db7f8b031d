#include <cmath>
#include <pyscale/error.hpp>  // for cat
#include <pyscale/restraints.hpp>
#include <stdexcept>

namespace pyscale {
namespace {

double deviation(const Restraints& r, Index k, Span<const double> p) {
  double sum = -r.target[k];
  for (Index i = r.row_offsets[k]; i < r.row_offsets[k + 1]; ++i) sum += r.value[i] * p[r.column[i]];
  return sum;
}

}  // namespace

void Restraints::add(std::int32_t parameter, double to, double w) {
  column.push_back(parameter);
  value.push_back(1.0);
  target.push_back(to);
  weight.push_back(w);
  row_offsets.push_back(static_cast<Index>(column.size()));
}

void Restraints::validate(Index n_parameters) const {
  if (row_offsets.size() != weight.size() + 1 || target.size() != weight.size() ||
      value.size() != column.size() || row_offsets.front() != 0 ||
      row_offsets.back() != static_cast<Index>(column.size()))
    throw std::invalid_argument("restraints: arrays of inconsistent length");
  for (Index k = 0; k < size(); ++k) {
    if (row_offsets[k + 1] < row_offsets[k])
      throw std::invalid_argument("restraints: row_offsets must ascend");
    if (!(weight[k] >= 0) || !std::isfinite(weight[k]) || !std::isfinite(target[k]))
      throw std::invalid_argument(
          cat("restraint ", k, ": weight ", weight[k], " must be finite, not negative"));
  }
  for (std::size_t i = 0; i < column.size(); ++i)
    if (column[i] < 0 || column[i] >= n_parameters || !std::isfinite(value[i]))
      throw std::invalid_argument(cat("restraints: there is no parameter ", column[i]));
}

double Restraints::cost(Span<const double> p) const {
  double sum = 0.0;
  for (Index k = 0; k < size(); ++k) {
    const double d = deviation(*this, k, p);
    sum += weight[k] * d * d;
  }
  return sum;
}

void Restraints::add_half_gradient(Span<const double> p, std::vector<double>& half_gradient) const {
  for (Index k = 0; k < size(); ++k) {
    const double wd = weight[k] * deviation(*this, k, p);
    for (Index i = row_offsets[k]; i < row_offsets[k + 1]; ++i) half_gradient[column[i]] += wd * value[i];
  }
}

void Restraints::add_matrix(std::vector<double>& matrix, Index n_parameters) const {
  for (Index k = 0; k < size(); ++k)
    for (Index i = row_offsets[k]; i < row_offsets[k + 1]; ++i)
      for (Index j = row_offsets[k]; j < row_offsets[k + 1]; ++j)
        matrix[column[i] * n_parameters + column[j]] += weight[k] * value[i] * value[j];
}

}  // namespace pyscale
