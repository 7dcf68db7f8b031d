// Amplitudes from intensities that may be weak or negative, given the mean intensity (French & Wilson 1978).
#pragma once
#include <cstdint>
#include <pyscale/export.hpp>
#include <pyscale/span.hpp>
#include <vector>

namespace pyscale {

/// What is known of reflections after their measurement; see french_wilson.
struct WilsonPosterior {
  std::vector<double> intensity;        ///< (n) mean of J
  std::vector<double> amplitude;        ///< (n) mean of F = J^1/2
  std::vector<double> amplitude_sigma;  ///< (n) standard deviation of F; intensity = F^2 + sigma_F^2
  std::vector<double> log_evidence;     ///< (n) ln p(I), the prior integrated out; NaN without a prior
};

/// Posterior of the true intensity J >= 0 of reflections with measured I and Gaussian error sigma. The prior
/// is Wilson's: exp(-J/S)/S for acentric and exp(-J/2S)/(2 pi S J)^1/2 for centric ones. With x = J/sigma the
/// posterior is x^(nu-1) exp(-(x-h)^2/2), nu = 1, h = I/sigma - sigma/S or nu = 1/2, h = I/sigma - sigma/2S.
/// Its moments are exact to rounding for every h: closed forms and the trapezoidal rule between -12 and 12,
/// asymptotic series beyond.
/// \param intensity (n), \param sigma (n) > 0
/// \param prior_mean (n) S > 0, the multiplicity epsilon included; infinite: no prior but J >= 0
/// \param is_centric (n)
/// \throws std::invalid_argument when sizes disagree, \throws DataError when a value is out of range
PYSCALE_API WilsonPosterior french_wilson(Span<const double> intensity, Span<const double> sigma,
                                          Span<const double> prior_mean, Span<const std::uint8_t> is_centric,
                                          int n_threads);

}  // namespace pyscale
