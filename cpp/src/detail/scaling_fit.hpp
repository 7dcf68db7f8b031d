// The rounds of fit, error model and rejection of a job.
#pragma once
#include <pyscale/covariance.hpp>
#include <pyscale/levmar.hpp>

#include "scaling_errors.hpp"
#include "scaling_model.hpp"

namespace pyscale::detail {

/// What the rounds came to, over sorted observations.
struct FitOutcome {
  std::vector<double> parameters, sigma;
  std::vector<double> g, g_variance;  ///< (n)
  std::vector<double> variance;       ///< (n) sigma'^2
  std::vector<double> correlation;    ///< (n * 2) FitProblem::scale_correlations
  std::vector<std::uint8_t> outlier, disputed;
  ErrorRefinement error_model;
  std::vector<FitRoundSummary> rounds;
  bool converged = false;
  double chi_squared = 1.0;
};

/// Variances sigma'^2, those of disputed pairs as large as their difference shows.
std::vector<double> merging_variances(const ScalingData& data, const FitOutcome& fit);

/// Whether an observation is merged.
inline bool is_merged(const FitOutcome& fit, Index i) { return fit.g[i] > 0 && fit.outlier[i] == 0; }

/// One job. The data must outlive it; `layout` then holds the restraint weights of the last fit.
class ScalingFit {
 public:
  ScalingFit(const ScalingData& data, ModelLayout& layout, const ScalingOptions& options,
             const ProgressCallback& on_iteration);
  FitOutcome run();

 private:
  void start();
  std::vector<double> scales_of_data_sets() const;
  void update_errors();
  void set_weights(const std::vector<double>& variance);
  void restrain();
  LevMarSummary minimise(double tolerance, bool is_last);
  double update_weights_of_restraints(const LevMarSummary& summary);
  void add_round(const LevMarSummary& summary);
  void require_groups() const;
  IterationCallback callback(bool is_last) const;

  void fix_gauge();
  Gauge gauge() const;
  /// Returns the covariance of the parameters.
  std::vector<double> add_uncertainties(double cost);
  void add_correlations(const std::vector<double>& covariance);
  double effective_parameters(const std::vector<double>& covariance, const Restraints& restraints) const;

  std::vector<std::uint8_t> unused() const;

  const ScalingData& data_;
  ModelLayout& layout_;
  const ScalingOptions& options_;
  const ProgressCallback& on_iteration_;
  FitProblem problem_;
  std::vector<std::int32_t> label_;   ///< connected component of each data set
  std::vector<double> information_;   ///< (p) that the data had on parameters at the last minimum
  std::vector<double> restrained_;    ///< (p) what restraints add to the diagonal of the normal matrix
  std::vector<double> largest_step_;  ///< (p)
  std::vector<double> expected_, weight_;
  FitOutcome out_;
};

}  // namespace pyscale::detail
