// Merged intensities and statistics of a job.
#pragma once
#include "scaling_fit.hpp"

namespace pyscale::detail {

/// Fills `merged`, `anomalous`, `overall`, `shells` and `merged_row` of a result.
void merge_into(const ScalingData& data, const UnitCell& cell, const ScalingOptions& options,
                const FitOutcome& fit, ScalingResult& result);

}  // namespace pyscale::detail
