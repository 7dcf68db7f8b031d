// Differences between equivalents as a function of the dose between them: radiation damage.
#pragma once
#include <pyscale/span.hpp>
#include <vector>

namespace pyscale {

/// Observations of one series that are paired with each other at most; of more, as many take part, evenly
/// spaced in dose.
constexpr Index max_paired = 40;

/// Scaled observations with their dose, sorted by group.
struct DosedObservations {
  Span<const double> intensity;     ///< (n)
  Span<const double> dose;          ///< (n)
  Span<const std::int32_t> series;  ///< (n) only observations of one series make pairs; < 0: left out
  Span<const Index> offsets;        ///< (n_groups + 1) first observation of each group
};

/// Sums over pairs of equivalents: |I_i - I_j| and (I_i + I_j) / 2.
struct PairSums {
  std::vector<double> difference, intensity;
  std::vector<Index> n_pairs;
};

/// Sums by the difference in dose, for each of some parts of the groups, and by the larger of the two doses.
struct PairDifferences {
  PairSums by_difference;  ///< (n_parts * n_bins) part after part
  PairSums by_dose;        ///< (n_bins)
};

/// Bin b of differences holds b <= |D_i - D_j| / width < b + 1, bin b of doses b <= (max(D_i, D_j) - start) /
/// width < b + 1; what lies beyond goes to the last one. Group g is in part g modulo n_parts.
/// \throws std::invalid_argument when sizes or numbers make no sense
PairDifferences pair_differences(const DosedObservations& observations, double start, double width,
                                 Index n_bins, Index n_parts, int n_threads);

}  // namespace pyscale
