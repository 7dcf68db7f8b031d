// The basic error model sigma'^2 = a^2 (V + (b I_e)^2): expected intensities and likelihoods of a and b.
#pragma once
#include <array>
#include <cstdint>
#include <pyscale/groups.hpp>  // for ReferenceView
#include <pyscale/span.hpp>
#include <vector>

namespace pyscale {

/// g I_h of each row, I_h = sum w g I / sum w g^2 over the usable rows of its group (not excluded, g > 0, w >
/// 0, finite). Rows with g <= 0, and groups without a usable row, keep their own intensity.
/// \param intensity, weight, g (n) sorted by group
/// \param offsets (n_groups + 1); \param excluded (n), non-zero: keep out of the mean; or empty
/// \param reference one more observation of each group, with g = 1
std::vector<double> expected_intensity(Span<const double> intensity, Span<const double> weight,
                                       Span<const double> g, Span<const Index> offsets,
                                       Span<const std::uint8_t> excluded, int n_threads,
                                       const ReferenceView& reference = {});

/// Usable observations of groups with enough of them, on the common scale and packed.
struct RepeatedObservations {
  std::vector<Index> row;                ///< (m) position in the input arrays
  std::vector<double> intensity;         ///< (m) I / g
  std::vector<double> variance;          ///< (m) V / g^2
  std::vector<double> expected_squared;  ///< (m) (max(0, I_e) / g)^2
  std::vector<Index> offsets;            ///< (m_groups + 1)
};

/// Usable: not excluded, g > 0, V > 0, and all of I, V, I_e finite.
/// \param min_multiplicity least number of usable rows in a group, at least 2
/// \throws std::invalid_argument when sizes or offsets do not fit
RepeatedObservations repeated_observations(Span<const double> intensity, Span<const double> variance,
                                           Span<const double> g, Span<const double> expected,
                                           Span<const Index> offsets, Span<const std::uint8_t> excluded,
                                           Index min_multiplicity);

/// View of RepeatedObservations, the form in which the functions below take them.
struct RepeatedView {
  Span<const double> intensity, variance, expected_squared;
  Span<const Index> offsets;
};

/// A cost and its derivatives by (ln a, b^2). Matrices are held as their elements (aa, ab, bb).
struct ErrorModelTerms {
  double cost = 0;
  std::array<double, 2> gradient{};
  std::array<double, 3> information{};     ///< expected second derivatives, never indefinite
  std::array<double, 3> score_variance{};  ///< variance of the gradient at the true parameters

  void merge(const ErrorModelTerms& other);
};

/// -2 ln of the restricted likelihood (Patterson & Thompson, 1971) of Gaussian groups, their means
/// eliminated:
///   sum_h [ sum_i ln v_i + ln sum_i 1/v_i + sum_i (y_i - ybar_h)^2 / v_i ],  v = a^2 (variance + b^2
///   expected^2).
/// Unbiased at any multiplicity, as the mean's own degree of freedom is counted.
ErrorModelTerms restricted_likelihood(const RepeatedView& obs, double log_a, double b_squared, int n_threads);

/// Residuals from group means of fixed weights, and what their variance is made of.
struct GroupResiduals {
  std::vector<double> residual;          ///< (m) y - ybar_h
  std::vector<double> variance;          ///< (m) variance of the residual: a^2 (variance +
  std::vector<double> expected_squared;  ///<     b^2 expected_squared)
  std::vector<double> weight;            ///< (m) 1 - share of the row in its mean: degrees of freedom
};

/// Means are weighted by 1 / (variance + b^2 expected^2). With p_i the share of row i in its mean, a residual
/// has variance (1 - p_i)^2 v_i + sum_{j != i} p_j^2 v_j, which is v_i - 1 / sum 1/v_j when the weights are
/// the true ones.
GroupResiduals group_residuals(const RepeatedView& obs, double b_squared, int n_threads);

/// View of GroupResiduals.
struct ResidualsView {
  Span<const double> residual, variance, expected_squared, weight;
};

/// Robust cost of the residuals as scaled Student t variables:
///   sum weight [ ln s + (nu + 1) ln(1 + r^2 / (nu kappa s)) ],  s = a^2 (variance + b^2 expected^2).
/// With the kappa that makes the expected gradient vanish for Gaussian residuals, a and b are unbiased for
/// those.
ErrorModelTerms student_likelihood(const ResidualsView& residuals, double log_a, double b_squared, double nu,
                                   double kappa, int n_threads);

}  // namespace pyscale
