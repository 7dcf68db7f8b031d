// What pyscale::scale returns.
#pragma once
#include <cstdint>
#include <pyscale/half_sets.hpp>
#include <pyscale/merging.hpp>
#include <pyscale/model.hpp>
#include <string>
#include <vector>

namespace pyscale {

/// A run of the parameter vector: one correction of one data set.
struct FittedComponent {
  std::string name;  ///< scale, decay or absorption
  Index data_set = 0;
  Index first_parameter = 0, n_parameters = 0;
  double restraint = 0;  ///< weight of the restraint to "no correction" that the last fit used; 0: none
};

/// The scaling model, for evaluation by `inverse_scale_factors`, and what is known of its parameters.
struct FittedModel {
  JobModel model;
  std::vector<FittedComponent> components;
  std::vector<double> parameters;  ///< (p) in the gauge: weighted means of ln g and its slope in 1/d^2 are 0
  std::vector<double> sigma;       ///< (p) standard uncertainties; infinite where the data say nothing
};

/// sigma'^2 = a^2 (V + (b I)^2), I the expected intensity.
struct FittedErrorModel {
  double a = 1, b = 0;
  Index n_used = 0;        ///< observations that it was found from
  bool converged = false;  ///< false where it stayed as it was for want of data, or was not to be refined
};

/// One round: a fit, then error model and outliers with its scales.
struct FitRoundSummary {
  int n_iterations = 0;
  double initial_cost = 0, cost = 0;
  Index n_observations = 0;  ///< in the fit
  Index n_outliers = 0;      ///< found after it
  double a = 1, b = 0;       ///< the error model after it
};

/// Merged intensities.
struct MergedSet {
  std::vector<Miller> miller_index;  ///< (m) lexicographically largest equivalent; of an I(-) its negative
  std::vector<double> intensity;     ///< (m)
  std::vector<double> sigma;         ///< (m) errors of the scales included
  std::vector<Index> n_obs;          ///< (m)
};

/// Statistics of one resolution shell, low to high, Friedel mates merged. What no reflection defines is NaN.
struct ResolutionShell {
  double d_max = 0, d_min = 0;   ///< A
  ShellStatistics merging;       ///< R factors and the like
  HalfSetCorrelation half_sets;  ///< CC1/2 of random halves
};

/// Everything that a job has found.
struct ScalingResult {
  // Of each reflection, in the order of the input.
  std::vector<double> inverse_scale_factor;           ///< (n) g: the scaled intensity is I / g
  std::vector<double> inverse_scale_factor_variance;  ///< (n)
  std::vector<double> variance;                       ///< (n) sigma'^2 of I, the error model's; divide by g^2
  std::vector<std::uint8_t> outlier;                  ///< (n) 1: rejected; not merged
  /// (n) 1: one of two equivalents, all there are, that disagree; not in the fit, but merged, with variances
  /// as large as the difference shows
  std::vector<std::uint8_t> disputed;
  std::vector<Index> merged_row;  ///< (n) row of the reflection in `merged`; -1 if nothing was merged there

  FittedModel model;
  FittedErrorModel error_model;
  std::vector<FitRoundSummary> rounds;  ///< the last is the final fit
  bool converged = false;  ///< whether outliers and restraints settled and the last fit converged
  double chi_squared = 0;  ///< cost per degree of freedom; uncertainties are scaled by it

  MergedSet merged;     ///< Friedel mates together
  MergedSet anomalous;  ///< apart, I(+) before I(-); as `merged` where groups were given ready-made
  ResolutionShell overall;
  std::vector<ResolutionShell> shells;
};

}  // namespace pyscale
