// Tools over the rows of many data sets at once: their canonical order, and quantities per data set.
#pragma once
#include <pyscale/span.hpp>

#include <vector>

namespace pyscale {

/// Rows of each data set in their order, data set after data set.
struct RowsOfDataSets {
  std::vector<Index> row;      ///< (n) row numbers
  std::vector<Index> offsets;  ///< (n_data_sets + 1) first of each data set in `row`
};

/// Sorts rows by data set, by counting.
/// \param data_set (n) 0 to n_data_sets - 1
/// \throws std::invalid_argument when a data set does not exist
RowsOfDataSets rows_of_data_sets(Span<const std::int32_t> data_set, Index n_data_sets);

/// Rank of each row by data set, image, intensity and row number: an order that that of the data sets' rows
/// does not change unless image and intensity are equal.
/// \param data_set (n)
/// \param image_z, intensity (n) finite
std::vector<Index> canonical_rank(Span<const std::int32_t> data_set, Span<const double> image_z,
                                  Span<const double> intensity, Index n_data_sets, int n_threads);

/// Factor f of each data set with which f LP/QE is the variance per unit of intensity (`pyscale.counting`):
/// with I and V in raw units, divided by LP/QE and its square, the 0.5 % quantile of (V - B) / I over I > 3
/// sigma, not below 0, where B is that of V over |I| < sigma, 0 if these are fewer than 50. Data sets with
/// fewer than 50 rows of I > 3 sigma have f = 0. Quantiles are interpolated linearly.
/// \param intensity, variance, conversion (n) conversion: LP/QE; rows where it is not positive take no part
/// \param data_set (n)
std::vector<double> count_variance_factors(Span<const double> intensity, Span<const double> variance,
                                           Span<const double> conversion, Span<const std::int32_t> data_set,
                                           Index n_data_sets, int n_threads);

/// Values y of (group, data set) pairs with weights, sorted by group: the model is y = a value per group + a
/// value x per data set.
struct PairsView {
  Span<const Index> offsets;          ///< (n_groups + 1) first pair of each group
  Span<const std::int32_t> data_set;  ///< (n_pairs) 0 to n_data_sets - 1
  Span<const double> value, weight;   ///< (n_pairs) `value` may be empty: zero
};

/// What is left of y - x after the weighted mean of each group, (n_pairs).
std::vector<double> pair_residuals(const PairsView& pairs, Span<const double> x, int n_threads);

/// Its weighted sums by data set, (n_data_sets): the gradient of the least squares with the groups' values
/// eliminated.
std::vector<double> pair_residual_sums(const PairsView& pairs, Span<const double> x, int n_threads);

}  // namespace pyscale
