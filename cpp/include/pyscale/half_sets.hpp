// Random halves of the observations of each reflection, and how well their means correlate.
#pragma once
#include <array>
#include <cstdint>
#include <pyscale/export.hpp>
#include <pyscale/merging.hpp>
#include <vector>

namespace pyscale {

/// Splits that are drawn at most.
constexpr int max_splits = 32;

/// Merged reflections of two halves of each group; 0 for groups of one observation.
struct HalfSets {
  std::array<std::vector<double>, 2> intensity;  ///< (n_groups) means weighted by 1/variance
  std::array<std::vector<double>, 2> sigma;      ///< (n_groups) (sum w)^-1/2
  std::array<std::vector<Index>, 2> n_obs;       ///< (n_groups)
};

/// The first split. Halves are drawn without replacement with a key made of `seed` and `group_index` and
/// follow the order inside the group; an odd extra observation goes to either half by a coin.
/// \param group_index (n_groups) a Miller index that identifies the group
/// \throws as merge
PYSCALE_API HalfSets half_sets(const ScaledObservations& observations, Span<const Miller> group_index,
                               std::uint64_t seed, int n_threads);

/// Correlation of half sets in one resolution shell.
struct HalfSetCorrelation {
  Index n_pairs = 0;          ///< reflections with both halves
  double correlation = 0;     ///< mean of Pearson's correlation over the splits; NaN if not defined
  double standard_error = 0;  ///< of `correlation`; NaN if not defined
  double r_split = 0;  ///< 2^-1/2 sum |x - y| / (1/2 sum (x + y)), over all splits; NaN unless the sum is > 0
};

/// Correlation of the weighted means of halves over groups of two or more observations, per shell, then of
/// all shells together: n_shells + 1 entries. The standard error is that of the infinitesimal jackknife over
/// reflections, whose observations and splits belong together (docs/reference/statistics.md).
/// \param group_index as for `half_sets`, \param n_splits independent splits, 1 to max_splits
/// \param shell (n_groups) shell of each group; groups of negative number are left out
/// \throws as merge; std::invalid_argument when a number is out of range
PYSCALE_API std::vector<HalfSetCorrelation> half_set_correlations(const ScaledObservations& observations,
                                                                  Span<const Miller> group_index,
                                                                  std::uint64_t seed, int n_splits,
                                                                  Span<const Index> shell, Index n_shells,
                                                                  int n_threads);

/// The same of the differences I(+) - I(-) of unweighted means, for pairs with two or more observations of
/// each mate.
/// \param plus (n_pairs) group of I(+), \param minus (n_pairs) group of I(-), \param shell (n_pairs)
PYSCALE_API std::vector<HalfSetCorrelation> half_difference_correlations(
    const ScaledObservations& observations, Span<const Miller> group_index, std::uint64_t seed, int n_splits,
    Span<const Index> plus, Span<const Index> minus, Span<const Index> shell, Index n_shells, int n_threads);

}  // namespace pyscale
