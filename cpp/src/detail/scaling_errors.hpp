// The error model of a job, found from the scatter of equivalents.
#pragma once
#include "scaling_data.hpp"

namespace pyscale::detail {

/// sigma'^2 = a^2 (V + d I^2).
struct ErrorTheta {
  double log_a = 0.0, d = 0.0;
};

/// Variances sigma'^2 (n) for expected intensities (n).
std::vector<double> variances(const ScalingData& data, const ErrorTheta& theta,
                              const std::vector<double>& expected, int n_threads);

/// Expected intensities (n) with weights 1 / variance, without some observations.
std::vector<double> expected_of(const ScalingData& data, const std::vector<double>& variance,
                                const std::vector<double>& g, const std::vector<std::uint8_t>& excluded,
                                int n_threads);

/// What a refinement came to.
struct ErrorRefinement {
  ErrorTheta theta;
  Index n_used = 0;
  bool converged = false;
};

/// Refines a and d by a robust cost of the residuals of equivalents from their means. With few observations
/// d, or both, stay as they are.
ErrorRefinement refine_error_model(const ScalingData& data, const std::vector<double>& g,
                                   const std::vector<std::uint8_t>& excluded, const ErrorTheta& start,
                                   int n_threads);

}  // namespace pyscale::detail
