// Quadratic restraints of parameters.
#pragma once
#include <cstdint>
#include <pyscale/export.hpp>
#include <pyscale/span.hpp>
#include <vector>

namespace pyscale {

/// Sum over restraints k of weight_k (sum_j value_kj p_j - target_k)^2; the sparse rows are compressed.
struct PYSCALE_API Restraints {
  std::vector<Index> row_offsets{0};  ///< (k + 1)
  std::vector<std::int32_t> column;
  std::vector<double> value;
  std::vector<double> target, weight;  ///< (k)

  Index size() const { return static_cast<Index>(weight.size()); }
  /// Appends weight (p_j - target)^2.
  void add(std::int32_t parameter, double to, double w);
  /// \throws std::invalid_argument for inconsistent sizes, unknown parameters, weights that are negative or
  /// not finite
  void validate(Index n_parameters) const;
  double cost(Span<const double> p) const;
  void add_half_gradient(Span<const double> p, std::vector<double>& half_gradient) const;
  /// Adds to the upper and lower triangle of a matrix of n_parameters rows.
  void add_matrix(std::vector<double>& matrix, Index n_parameters) const;
};

}  // namespace pyscale
