// Observations of a job in canonical order.
#pragma once
#include <pyscale/model.hpp>
#include <pyscale/scaling.hpp>
#include <vector>

namespace pyscale::detail {

/// Sorted by group: I(+) before I(-), then by data set, image and intensity.
struct ScalingData {
  Index n_data_sets = 1;
  LargeVector<Index> order;  ///< (n) input row of each
  std::vector<Index> offsets, anomalous_offsets;
  std::vector<Index> target_offsets;  ///< the groups of the fit: one of the two
  std::vector<Miller> group_index, anomalous_index;
  std::vector<Index> group_of_mates;  ///< (n_anomalous_groups) group of each anomalous group
  std::vector<std::int32_t> data_set;
  std::vector<double> intensity, variance, image_z, half_inv_d2, x_px, y_px;
  std::vector<Vec3> s0_crystal, s1_crystal;
  std::vector<double> no_conversion;  ///< (n) zeros: counts are not known

  Index size() const { return static_cast<Index>(intensity.size()); }
  ObservationView view() const;
};

/// \throws DataError, std::invalid_argument as scale(), for reflections that cannot be scaled whatever the
/// model
void require_sound(const Reflections& reflections);

/// Of sound reflections.
ScalingData sorted_data(const Reflections& reflections, const ScalingOptions& options, bool with_directions);

/// Median, that of the two middle values their mean; 0 of nothing.
double median(std::vector<double> values);

}  // namespace pyscale::detail
