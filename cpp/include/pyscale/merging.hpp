// Merging of symmetry equivalents and the statistics of how well they agree.
#pragma once
#include <cstdint>
#include <pyscale/export.hpp>
#include <pyscale/span.hpp>
#include <vector>

namespace pyscale {

/// Scaled observations (I/g and its variance), sorted by group: see ReflectionGroups.
struct ScaledObservations {
  Span<const double> intensity;  ///< (n)
  Span<const double> variance;   ///< (n) > 0
  Span<const Index> offsets;     ///< (n_groups + 1) first observation of each group
};

/// \throws std::invalid_argument when sizes disagree or offsets do not ascend, \throws DataError when a
/// variance is not > 0
PYSCALE_API void check_observations(const ScaledObservations& observations);

/// Merged reflections, one per group.
struct MergedReflections {
  std::vector<Index> n_obs;       ///< (n_groups) observations merged
  std::vector<double> intensity;  ///< (n_groups) mean weighted by 1/variance
  std::vector<double> sigma;      ///< (n_groups) standard uncertainty of `intensity`
};

/// Weighted means. sigma = (sum w)^-1/2 or, with `use_internal_variance`, the square root of the larger of
/// 1/sum w and the internal variance of the mean (unbiased weighted sample variance divided by the number of
/// observations).
/// \throws std::invalid_argument when sizes disagree or offsets do not ascend, \throws DataError when a
/// variance is not > 0
PYSCALE_API MergedReflections merge(const ScaledObservations& observations, bool use_internal_variance,
                                    int n_threads);

/// What merging statistics need of each group.
struct GroupStatistics {
  MergedReflections merged;
  std::vector<double> intensity_sum;       ///< (n_groups) sum I
  std::vector<double> i_over_sigma_sum;    ///< (n_groups) sum I / sigma
  std::vector<double> absolute_deviation;  ///< (n_groups) sum |I - <I>|, <I> the weighted mean
  std::vector<double> chi_square;          ///< (n_groups) sum (I - <I>)^2 / variance
  std::vector<double> mean;                ///< (n_groups) unweighted mean
  std::vector<double> variance_of_mean;    ///< (n_groups) unweighted sample variance / n; 0 for n = 1
};

/// One pass over the observations.
/// \throws as merge
PYSCALE_API GroupStatistics group_statistics(const ScaledObservations& observations, int n_threads);

/// Statistics of the groups of one resolution shell. What no group defines is NaN.
struct ShellStatistics {
  Index n_obs = 0, n_unique = 0;
  double mean_intensity = 0;         ///< mean of the merged intensities
  double i_over_sigma = 0;           ///< mean of merged I/sigma
  double unmerged_i_over_sigma = 0;  ///< mean of I/sigma of observations
  double r_merge = 0;                ///< sum |I - <I>| / sum I over groups with n > 1; NaN unless sum I > 0
  double r_meas = 0;             ///< the same, deviations times (n / (n - 1))^1/2 (Diederichs & Karplus 1997)
  double r_pim = 0;              ///< the same, deviations times (1 / (n - 1))^1/2 (Weiss 2001)
  double chi_square = 0;         ///< sum of chi-square / sum (n - 1)
  double cc_half_sigma_tau = 0;  ///< CC1/2 without random halves (Assmann, Brehm & Diederichs 2016)
};

/// Statistics per shell, then of all shells together: n_shells + 1 entries.
/// \param shell (n_groups) shell of each group; groups of negative number are left out
/// \throws std::invalid_argument when a shell is >= n_shells or sizes disagree
PYSCALE_API std::vector<ShellStatistics> shell_statistics(const GroupStatistics& groups,
                                                          Span<const Index> shell, Index n_shells);

/// Agreement of the two mates of acentric reflections in one resolution shell. What no pair defines is NaN.
struct AnomalousStatistics {
  Index n_pairs = 0;  ///< reflections with both mates
  double r_anom = 0;  ///< sum |I+ - I-| / sum |(I+ + I-)/2|
  double signal = 0;  ///< (2 <(F+ - F-)^2> / <F+^2 + F-^2>)^1/2 over pairs of positive intensities
  double difference_over_sigma = 0;  ///< <|I+ - I-|> / <sigma(I+ - I-)>
};

/// Statistics of mates per shell, then of all shells together: n_shells + 1 entries.
/// \param groups of anomalous groups, I(+) and I(-) apart
/// \param plus (n_pairs) group of I(+), \param minus (n_pairs) group of I(-), \param shell (n_pairs) as above
/// \throws std::invalid_argument when sizes disagree or a number is out of range
PYSCALE_API std::vector<AnomalousStatistics> anomalous_statistics(const GroupStatistics& groups,
                                                                  Span<const Index> plus,
                                                                  Span<const Index> minus,
                                                                  Span<const Index> shell, Index n_shells);

}  // namespace pyscale
