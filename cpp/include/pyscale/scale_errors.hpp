// Uncertainties of scales in merging: observations of one reflection share them.
#pragma once
#include <pyscale/export.hpp>
#include <pyscale/merging.hpp>
#include <pyscale/span.hpp>
#include <vector>

namespace pyscale {

/// Statistical variances of scaled observations whose variance v_i also holds I_h^2 q_i, the uncertainty of
/// their scale. I_h is the mean weighted by the result, found by iteration; at least a tenth of v_i remains.
/// \param scale_variance (n) q_i = var(g)/g^2
/// \throws as merge
PYSCALE_API std::vector<double> statistical_variance(const ScaledObservations& observations,
                                                     Span<const double> scale_variance, int n_threads);

/// What the scales' errors add to each merged intensity, relative to it: sum w_i q_i^1/2 / sum w_i, the
/// standard uncertainty of the weighted mean where they are common to its observations, and the largest that
/// any correlation gives.
/// \param scale_variance (n) as above
/// \throws as merge
PYSCALE_API std::vector<double> common_scale_error(const ScaledObservations& observations,
                                                   Span<const double> scale_variance, int n_threads);

}  // namespace pyscale
