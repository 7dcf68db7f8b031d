// The scaling target over observations sorted by group: cost, gradient, normal matrix, Jacobian.
#pragma once
#include <memory>
#include <pyscale/export.hpp>
#include <pyscale/model.hpp>
#include <pyscale/restraints.hpp>
#include <pyscale/span.hpp>
#include <vector>

namespace pyscale {

/// Phi = sum w r^2 + restraints, half its gradient, and J^T W J + restraints (symmetric, row-major).
struct NormalEquations {
  double cost = 0.0;
  std::vector<double> half_gradient;  ///< (p)
  std::vector<double> matrix;         ///< (p * p)
};

/// Rows of r_i = I_i - g_i I_h and dr_i/dp (the dependence of I_h on p included), compressed by rows; none
/// for references.
struct SparseJacobian {
  std::vector<double> residual;    ///< (n)
  std::vector<Index> row_offsets;  ///< (n + 1)
  std::vector<std::int32_t> column;
  std::vector<double> value;
};

/// What the errors of scales have in common depends on. Observations in the order of a FitProblem's.
struct ScaleCorrelationInput {
  Span<const double> parameters;        ///< (p)
  Span<const double> weight;            ///< (n) of I/g in merging, g^2/sigma'^2; 0: not merged
  Span<const double> scale_variance;    ///< (n) q = var(g)/g^2
  Span<const Index> offsets;            ///< (n_groups + 1) first observation of each reflection
  Span<const Index> anomalous_offsets;  ///< (n_anomalous_groups + 1) of each mate, one or two to a reflection
};

/// Anything the Levenberg-Marquardt minimiser can work on.
class PYSCALE_API LeastSquaresProblem {
 public:
  virtual ~LeastSquaresProblem() = default;
  virtual Index n_parameters() const = 0;
  virtual void evaluate(Span<const double> parameters, NormalEquations& result) const = 0;
  virtual double cost_and_half_gradient(Span<const double> parameters,
                                        std::vector<double>& half_gradient) const = 0;
};

/// The target of scaling with I_h eliminated: docs/theory/model.md, equations 1 to 4. Basis values are kept
/// in single precision (relative error 6e-8 of a basis value); all sums are in double precision. Results are
/// the same bits for any number of threads.
class PYSCALE_API FitProblem final : public LeastSquaresProblem {
 public:
  /// \param observations (n) sorted by group
  /// \param intensity (n) before division by g
  /// \param offsets (n_groups + 1) first observation of each group
  FitProblem(const JobModel& model, const ObservationView& observations, Span<const double> intensity,
             Span<const Index> offsets, int n_threads);
  ~FitProblem() override;
  FitProblem(const FitProblem&) = delete;
  FitProblem& operator=(const FitProblem&) = delete;

  /// Statistical weights 1 / sigma'^2 (n); 0 leaves an observation out. \throws DataError for negative or
  /// non-finite
  void set_weights(Span<const double> weight);
  /// Intensities (n_groups) that are known beforehand and their weights 1 / variance, 0 for groups without
  /// one. Each is one more observation of its group, with g = 1: a great weight fixes I_h.
  /// \throws DataError for negative or non-finite
  void set_reference(Span<const double> intensity, Span<const double> weight);
  /// Other intensities of the same observations (n).
  void set_intensity(Span<const double> intensity);
  /// What is added to the cost. \throws std::invalid_argument for malformed or negative restraints
  void set_restraints(Restraints restraints);
  /// Parameters (p) that stay as they are: their gradient is zero, their part of the matrix the identity.
  void set_held(Span<const std::uint8_t> held);

  Index n_parameters() const override;
  Index n_observations() const;  ///< with weight, in groups of two or more; references are counted
  Index n_groups() const;        ///< with two or more weighted observations

  double cost(Span<const double> parameters) const;
  double cost_and_half_gradient(Span<const double> parameters,
                                std::vector<double>& half_gradient) const override;
  void evaluate(Span<const double> parameters, NormalEquations& result) const override;
  SparseJacobian jacobian(Span<const double> parameters) const;
  /// g of all observations (n), from basis values of single precision.
  std::vector<double> inverse_scale_factors(Span<const double> parameters) const;

  /// For the gauge: sums over the fit's observations, one for each label (connected component of data sets),
  /// with v_i = w_i (g_i I_h)^2, x = 1/(2 d^2), and x' = x less its mean in the data set, so that how data
  /// sets differ in scale and resolution plays no part in slopes.
  struct GaugeSums {
    std::vector<double> weight, x, ln_g;    ///< (n_labels) sum v, sum v x, sum v ln g
    std::vector<double> x_information;      ///< (n_labels) sum v x^2
    std::vector<double> x_squared, x_ln_g;  ///< (n_labels) sum x'^2, sum x' ln g
    std::vector<double> mean, first;        ///< (n_labels * p) sum v dln g/dp, sum x' dln g/dp
  };
  GaugeSums gauge_sums(Span<const double> parameters, Span<const std::int32_t> label, Index n_labels) const;

  /// Mean correlations r between the errors of the scales of equivalents (docs/theory/merging.md, equation
  /// 33): with these, what scales add to the variance of a merged intensity is exact to first order.
  /// \param covariance (p * p) of the parameters
  /// \returns (n * 2), of each observation r of its mate's observations alone and r of its reflection's; 1
  /// where fewer than two are merged
  /// \throws DataError for weights or variances that are negative or not finite
  std::vector<double> scale_correlations(const ScaleCorrelationInput& input,
                                         Span<const double> covariance) const;
  /// Upper bounds of them from the covariances inside each data set alone, blocks as in
  /// `local_scale_factor_variances`: data sets may err alike, and so may mates.
  std::vector<double> local_scale_correlations(const ScaleCorrelationInput& input,
                                               Span<const double> covariance) const;

 private:
  friend class NormalOperator;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Name of the instruction set that the hot pass uses on this machine.
PYSCALE_API const char* simd_name();

}  // namespace pyscale
