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

/// What the scales' errors add to each merged intensity, relative to it: the square root of
/// (r (sum u)^2 + (1 - r) sum u^2) / (sum w)^2 with u = w q^1/2 and r the mean correlation of the errors of
/// scales of a group's observations. With r = 1 that is the largest that any correlation gives.
/// \param scale_variance (n) as above
/// \param correlation (n) r, -1 to 1, of the group of each observation; its mean by u where they differ.
/// Empty: all 1
/// \throws as merge
PYSCALE_API std::vector<double> common_scale_error(const ScaledObservations& observations,
                                                   Span<const double> scale_variance,
                                                   Span<const double> correlation, int n_threads);

}  // namespace pyscale
