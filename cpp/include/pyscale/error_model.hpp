// The error model sigma'^2 = a^2 (V + c k I_e + (b I_e)^2): expected intensities, and its cost given the
// scatter of equivalents.
#pragma once
#include <array>
#include <cstdint>
#include <pyscale/export.hpp>
#include <pyscale/groups.hpp>  // for ReferenceView
#include <pyscale/span.hpp>
#include <vector>

namespace pyscale {

/// g I_h of each row, I_h = sum w g I / sum w g^2 over the usable rows of its group (not excluded, g > 0, w >
/// 0, finite). Rows with g <= 0, and groups without a usable row, keep their own intensity.
/// \param intensity, weight, g (n) sorted by group
/// \param offsets (n_groups + 1); \param excluded (n), non-zero: keep out of the mean; or empty
/// \param reference one more observation of each group, with g = 1
PYSCALE_API std::vector<double> expected_intensity(Span<const double> intensity, Span<const double> weight,
                                                   Span<const double> g, Span<const Index> offsets,
                                                   Span<const std::uint8_t> excluded, int n_threads,
                                                   const ReferenceView& reference = {});

/// Parameters of one or several error models, v = a^2 (variance + c linear + d quadratic), d = b^2.
struct ErrorParameters {
  Span<const double> values;       ///< (n_models, 3) ln a, d, c
  Span<const std::int32_t> model;  ///< number of the model of each row; empty: all have the first

  Index n_models() const { return values.size() / 3; }
};

/// Variances sigma'^2 of unscaled intensities, linear = k max(0, I_e) and quadratic = max(0, I_e)^2 in the
/// formula.
/// \param variance, expected, conversion (n) V, I_e and the intensity per count k
PYSCALE_API std::vector<double> error_model_variances(Span<const double> variance,
                                                      Span<const double> expected,
                                                      Span<const double> conversion,
                                                      const ErrorParameters& parameters, int n_threads);

/// Usable observations of groups with enough of them, on the common scale and packed.
struct RepeatedObservations {
  std::vector<Index> row;         ///< (m) position in the input arrays
  std::vector<double> intensity;  ///< (m) I / g
  std::vector<double> variance;   ///< (m) V / g^2
  std::vector<double> linear;     ///< (m) k max(0, I_e) / g^2, k the conversion from counts
  std::vector<double> quadratic;  ///< (m) (max(0, I_e) / g)^2
  std::vector<Index> offsets;     ///< (m_groups + 1)
};

/// Usable: not excluded, g > 0, V > 0, and all of I, V, I_e, k finite.
/// \param conversion (n) intensity per count, LP / QE
/// \param min_multiplicity least number of usable rows in a group, at least 2
/// \throws std::invalid_argument when sizes or offsets do not fit
PYSCALE_API RepeatedObservations
repeated_observations(Span<const double> intensity, Span<const double> variance, Span<const double> g,
                      Span<const double> expected, Span<const double> conversion, Span<const Index> offsets,
                      Span<const std::uint8_t> excluded, Index min_multiplicity);

/// View of RepeatedObservations, the form in which the functions below take them.
struct RepeatedView {
  Span<const double> intensity, variance, linear, quadratic;
  Span<const Index> offsets;
};

/// Residuals from group means of fixed weights.
struct GroupResiduals {
  std::vector<double> residual;  ///< (m) y - ybar_h
  std::vector<double> share;     ///< (m) share of the row in its mean
};

/// Means are weighted by 1 / v.
PYSCALE_API GroupResiduals group_residuals(const RepeatedView& obs, const ErrorParameters& parameters,
                                           int n_threads);

/// Variances of such residuals, (1 - p_i)^2 v_i + sum_{j != i} p_j^2 v_j with p the shares: v_i - 1 / sum
/// 1/v_j when the weights of the means are the true ones.
PYSCALE_API std::vector<double> residual_variances(const RepeatedView& obs, Span<const double> share,
                                                   const ErrorParameters& parameters, int n_threads);

/// A cost and its derivatives by the parameters of each model. Symmetric matrices are held as their elements
/// (00, 01, 02, 11, 12, 22).
struct ErrorModelTerms {
  double cost = 0;
  std::vector<double> gradient;        ///< (n_models, 3)
  std::vector<double> information;     ///< (n_models, 6) bounds the expected second derivatives from above
  std::vector<double> score_variance;  ///< (n_models, 6) variance of the gradient at the true parameters
};

/// Robust cost of the residuals as scaled Student t variables:
///   sum (1 - p) [ ln s + (nu + 1) ln(1 + r^2 / (nu kappa s)) ],  s the variance of the residual.
/// With the kappa that makes the expected gradient vanish for Gaussian residuals, the parameters are unbiased
/// for those. A residual's variance has parts from all rows of its group, whatever their models.
/// `information` attributes its logarithm's second derivatives to the rows in proportion to these parts
/// (Jensen's inequality): steps by it never overshoot, and it is exact where the rows of a group are alike.
PYSCALE_API ErrorModelTerms student_cost(const RepeatedView& obs, Span<const double> residual,
                                         Span<const double> share, const ErrorParameters& parameters,
                                         double nu, double kappa, int n_threads);

}  // namespace pyscale
