// R_meas of scaled intensities for crossovers between profile-fitted and summed ones.
#pragma once
#include <pyscale/span.hpp>
#include <vector>

namespace pyscale {

/// Observations that have both integrated intensities, sorted by group, the groups sorted by class.
struct IntegratedObservations {
  Span<const double> profile, profile_variance;      ///< (n)
  Span<const double> summation, summation_variance;  ///< (n)
  Span<const double> scale;                          ///< (n) what both are multiplied by: LP/(QE g)
  Span<const Index> offsets;                         ///< (n_groups + 1) first observation of each group
  Span<const Index> class_offsets;                   ///< (n_classes + 1) first group of each class
};

/// R_meas = sum_h sqrt(n/(n-1)) sum_i |I_i - <I>_h| / sum_h sum_i I_i over groups of two or more observations
/// of a class (Diederichs & Karplus 1997; means weighted by 1/V), for every crossover that is tried for the
/// class:
///   I = w I_prf + (1 - w) I_sum, V likewise, w = 1/(1 + (max(I_sum, 0)/imid)^3); imid 0: w = 1, 1: w = 0.
/// `candidate_offsets` (n_classes + 1) says where the crossovers of each class begin in `imid`. NaN where no
/// group has two observations or the intensities do not add up to more than 0.
/// \throws std::invalid_argument when sizes do not fit or offsets do not ascend
std::vector<double> r_meas_of_crossovers(const IntegratedObservations& observations, Span<const double> imid,
                                         Span<const Index> candidate_offsets, int n_threads);

}  // namespace pyscale
