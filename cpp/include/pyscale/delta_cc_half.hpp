// How CC1/2 changes when a data set or a group of images is left out.
#pragma once
#include <cstdint>
#include <pyscale/span.hpp>
#include <vector>

namespace pyscale {

/// Scaled observations sorted by group, and what each of them belongs to.
struct CcHalfObservations {
  Span<const double> intensity;        ///< (n) I/g
  Span<const Index> offsets;           ///< (n_groups + 1) first observation of each group
  Span<const std::int32_t> bin;        ///< (n_groups) resolution bin; negative: the group is left out
  Span<const std::int32_t> candidate;  ///< (n) what the observation would leave with; negative: nothing
};

/// CC1/2 of all observations, and without each candidate. NaN where no bin defines it.
struct DeltaCcHalf {
  double cc_half = 0;                 ///< mean over the bins, weighted by their groups
  std::vector<double> bin_cc_half;    ///< (n_bins)
  std::vector<Index> bin_n_groups;    ///< (n_bins) groups of two or more observations
  std::vector<double> without;        ///< (n_candidates) CC1/2 of the observations of all others
  std::vector<Index> n_observations;  ///< (n_candidates) observations in groups of two or more
};

/// CC1/2 without random numbers (Assmann, Brehm & Diederichs 2016), from unweighted intensities:
///   CC1/2 = (v - e) / (v + e),  v the sample variance of the groups' means, e the mean of their squared
///   standard errors s^2 / n, both over the groups of one bin with n > 1.
/// A candidate touches only the groups that it has observations in, so that all of them together cost one
/// pass over the rows, in whose order sums are made.
/// \throws std::invalid_argument when sizes do not fit, offsets do not ascend, or a bin or candidate is out
/// of range
DeltaCcHalf delta_cc_half(const CcHalfObservations& observations, Index n_bins, Index n_candidates);

}  // namespace pyscale
