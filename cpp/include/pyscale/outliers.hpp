// Outliers within groups of symmetry equivalents by the leave-one-out test.
#pragma once
#include <cstdint>
#include <pyscale/export.hpp>
#include <pyscale/groups.hpp>  // for ReferenceView
#include <pyscale/span.hpp>
#include <vector>

namespace pyscale {

/// z of a row whose comparison has no finite uncertainty.
inline constexpr double undefined_z = 1000.0;

/// Deviation of each row from the weighted mean of the *others* in its group, in standard deviations:
///   z_i = |I_i - g_i M_i| / sqrt(1/w_i + g_i^2 / B_i),  B_i = sum_{j != i} w g^2,  M_i = sum_{j != i} w g I
///   / B_i,
/// with weights limited to ten times the median of the group; undefined_z where B_i vanishes.
/// Rows that are excluded, or have g <= 0, w <= 0 or no finite I and w, take no part; they and rows alone in
/// their group get NaN. Test as in dials.scale ('standard' outlier rejection).
/// \param intensity, weight, g (n) sorted by group; weight = 1 / sigma'^2
/// \param offsets (n_groups + 1) first row of each group
/// \param excluded (n) non-zero: leave the row out; or empty
/// \throws std::invalid_argument when sizes or offsets do not fit
PYSCALE_API std::vector<double> leave_one_out_z(Span<const double> intensity, Span<const double> weight,
                                                Span<const double> g, Span<const Index> offsets,
                                                Span<const std::uint8_t> excluded, int n_threads);

/// Rejects in each group the row of largest z when that exceeds `zmax`, then tests the remaining rows again,
/// down to groups of two, which are never split. Weights are limited once, with the median before any
/// rejection. Parameters as in leave_one_out_z; excluded rows are not flagged. A reference is one more row
/// with g = 1 that is never flagged: where it deviates most, of three or more, it is set aside; a single row
/// that deviates from it is an outlier.
/// \return (n) 1 for an outlier
PYSCALE_API std::vector<std::uint8_t> find_outliers(Span<const double> intensity, Span<const double> weight,
                                                    Span<const double> g, Span<const Index> offsets,
                                                    double zmax, Span<const std::uint8_t> excluded,
                                                    int n_threads, const ReferenceView& reference = {});

/// Rejects all rows at once whose deviation from the mean of their group, themselves included, is too large:
///   |I_i - g_i I_h| / sqrt(1/w_i + g_i^2 / sum w g^2) > zmax,
/// groups of two and more. Parameters and result as in find_outliers ('simple' rejection of dials.scale, with
/// the variance of the mean in place of its square).
PYSCALE_API std::vector<std::uint8_t> find_outliers_at_once(Span<const double> intensity,
                                                            Span<const double> weight, Span<const double> g,
                                                            Span<const Index> offsets, double zmax,
                                                            Span<const std::uint8_t> excluded, int n_threads,
                                                            const ReferenceView& reference = {});

/// Marks the rows of groups that come down to two usable rows which disagree by more than `zmax`: the
/// leave-one-out test says that, but not which of them is wrong. Groups with a reference are left alone,
/// since it has judged them. Parameters as in find_outliers; excluded should hold the outliers found so far.
/// \return (n) 1 for both rows of such a group
PYSCALE_API std::vector<std::uint8_t> disputed_pairs(Span<const double> intensity, Span<const double> weight,
                                                     Span<const double> g, Span<const Index> offsets,
                                                     double zmax, Span<const std::uint8_t> excluded,
                                                     int n_threads, const ReferenceView& reference = {});

/// What the other rows of a group say of each row.
struct Comparison {
  std::vector<double> mean;  ///< M_i, weighted mean of I/g of the others; NaN if there are none
  std::vector<double>
      sigma;  ///< of I_i/g_i - M_i: sqrt(1/(w_i g_i^2) + 1/B_i), B_i = sum of w g^2 over the others
  std::vector<double> z;  ///< (I_i/g_i - M_i) / sigma
};

/// Compares every row with the weighted mean of the other rows of its group that are merged, itself merged or
/// not.
/// \param intensity, weight, g (n) sorted by group; weight = 1 / sigma'^2, not limited
/// \param merged (n) non-zero: the row counts in means
PYSCALE_API Comparison compare_with_others(Span<const double> intensity, Span<const double> weight,
                                           Span<const double> g, Span<const Index> offsets,
                                           Span<const std::uint8_t> merged, int n_threads);

/// Number of sums over a cell: observations, deviations, squares, deviation x signal, signal squared,
/// rejected.
inline constexpr int n_cell_sums = 6;

/// Sums over the rows of cells, in the order of the rows.
/// \param key (n) cell of each row; others than 0 ... n_cells - 1 are in none
/// \param deviation, square, signal (n); rows whose deviation is not finite are left out
/// \param rejected (n) non-zero: counts as rejected
/// \return (n_cells x n_cell_sums)
PYSCALE_API std::vector<double> sum_over_cells(Span<const std::int32_t> key, Span<const double> deviation,
                                               Span<const double> square, Span<const double> signal,
                                               Span<const std::uint8_t> rejected, Index n_cells);

}  // namespace pyscale
