#include <algorithm>
#include <cmath>
#include <numeric>
#include <pyscale/error.hpp>
#include <pyscale/rows.hpp>

#include "detail/scaling_data.hpp"

namespace pyscale::detail {
namespace {

void require_column(const char* name, Index size, Index n) {
  if (size != 0) require_size(name, size, n);
}

void require_finite(const char* name, Span<const double> values) {
  for (Index i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      throw DataError(cat(name, " of row ", i, " is ", values[i], ": leave such rows out"));
}

void require_sizes(const Reflections& r) {
  const Index n = r.miller_index.size();
  if (n == 0) throw DataError("there are no reflections");
  require_size("intensity", r.intensity.size(), n);
  require_size("variance", r.variance.size(), n);
  require_column("data_set", r.data_set.size(), n);
  require_column("image_z", r.image_z.size(), n);
  require_column("s1", r.s1.size(), n);
  require_column("x_px", r.x_px.size(), n);
  require_size("y_px", r.y_px.size(), r.x_px.size());
  require_column("group", r.group.size(), n);
}

Index n_data_sets_of(const Reflections& r) { return std::max<Index>(1, static_cast<Index>(r.sweeps.size())); }

void require_data_sets(const Reflections& r) {
  const Index n_data_sets = n_data_sets_of(r);
  if (n_data_sets > 1 && r.data_set.empty())
    throw std::invalid_argument("data_set must be given where there are several sweeps");
  std::vector<bool> seen(static_cast<std::size_t>(n_data_sets), r.data_set.empty());
  for (Index i = 0; i < r.data_set.size(); ++i) {
    if (r.data_set[i] < 0 || r.data_set[i] >= n_data_sets)
      throw DataError(
          cat("data_set of row ", i, " is ", r.data_set[i], ": there are ", n_data_sets, " sweeps"));
    seen[r.data_set[i]] = true;
  }
  for (Index k = 0; k < n_data_sets; ++k)
    if (!seen[k]) throw DataError(cat("data set ", k, " has no reflections: leave its sweep out"));
}

/// Groups in the order of their numbers; mates are not told apart.
ReflectionGroups groups_as_given(const Reflections& r, int n_threads) {
  ReflectionGroups g;
  g.order = stable_order(r.group, n_threads);
  const Index n = r.group.size();
  for (Index k = 0; k < n; ++k)
    if (k == 0 || r.group[g.order[k]] != r.group[g.order[k - 1]]) g.offsets.push_back(k);
  g.offsets.push_back(n);
  g.anomalous_offsets = g.offsets;
  g.is_minus.assign(static_cast<std::size_t>(n), 0);
  return g;
}

/// Fills columns of sorted data from those of the input.
struct Sorter {
  const LargeVector<Index>& order;

  template <class T>
  std::vector<T> operator()(Span<const T> values, T missing = {}) const {
    std::vector<T> sorted(order.size(), missing);
    if (values.empty()) return sorted;
    for (std::size_t k = 0; k < order.size(); ++k) sorted[k] = values[order[k]];
    return sorted;
  }
};

/// Directions in the frame of the crystal, data set by data set.
void add_directions(const Reflections& r, int n_threads, ScalingData& data) {
  const RowsOfDataSets rows = rows_of_data_sets(data.data_set, data.n_data_sets);
  data.s0_crystal.resize(static_cast<std::size_t>(data.size()));
  data.s1_crystal.resize(static_cast<std::size_t>(data.size()));
  for (Index k = 0; k < data.n_data_sets; ++k) {
    const Index begin = rows.offsets[k], n = rows.offsets[k + 1] - begin;
    std::vector<Vec3> s1(static_cast<std::size_t>(n));
    std::vector<double> z(static_cast<std::size_t>(n));
    for (Index i = 0; i < n; ++i) {
      const Index row = rows.row[begin + i], input = data.order[row];
      s1[i] = r.s1[input];
      z[i] = data.image_z[row];
      const double square = s1[i][0] * s1[i][0] + s1[i][1] * s1[i][1] + s1[i][2] * s1[i][2];
      if (!(square > 0) || !std::isfinite(square))
        throw DataError(
            cat("s1 of row ", input, " is no direction, which absorption needs: leave such rows out"));
    }
    const CrystalFrameBeams beams = crystal_frame_beams(r.sweeps[k], s1, z, n_threads);
    for (Index i = 0; i < n; ++i) {
      data.s0_crystal[rows.row[begin + i]] = beams.s0_crystal[i];
      data.s1_crystal[rows.row[begin + i]] = beams.s1_crystal[i];
    }
  }
}

/// Indices of groups, and of mates apart: the negative for an I(-).
void add_group_indices(const Reflections& r, const ReflectionGroups& groups, ScalingData& data) {
  data.group_index = groups.asu_index;
  if (data.group_index.empty())
    for (std::size_t h = 0; h + 1 < groups.offsets.size(); ++h)
      data.group_index.push_back(r.miller_index[data.order[groups.offsets[h]]]);
  Index h = 0;
  for (std::size_t k = 0; k + 1 < groups.anomalous_offsets.size(); ++k) {
    const Index first = groups.anomalous_offsets[k];
    while (groups.offsets[h + 1] <= first) ++h;
    const std::int32_t sign = groups.is_minus[first] != 0 ? -1 : 1;
    const Miller& m = data.group_index[h];
    data.anomalous_index.push_back({sign * m[0], sign * m[1], sign * m[2]});
    data.group_of_mates.push_back(h);
  }
}

}  // namespace

void require_sound(const Reflections& r) {
  require_sizes(r);
  require_finite("intensity", r.intensity);
  require_finite("variance", r.variance);
  require_finite("image_z", r.image_z);
  require_finite("x_px", r.x_px);
  require_finite("y_px", r.y_px);
  for (Index i = 0; i < r.variance.size(); ++i)
    if (!(r.variance[i] > 0))
      throw DataError(cat("variance of row ", i, " is ", r.variance[i], ": leave such rows out"));
  require_data_sets(r);
  if (r.group.empty() && r.rotations.empty())
    throw std::invalid_argument("give rotations, at least the identity, or group");
}

ObservationView ScalingData::view() const {
  return {data_set, image_z, half_inv_d2, s0_crystal, s1_crystal, x_px, y_px, {}};
}

ScalingData sorted_data(const Reflections& r, const ScalingOptions& options, bool with_directions) {
  ScalingData data;
  data.n_data_sets = n_data_sets_of(r);
  const int n_threads = options.n_threads;
  const auto n = static_cast<std::size_t>(r.intensity.size());
  const std::vector<double> d_star_sq = inverse_d_squared(r.unit_cell, r.miller_index);
  const std::vector<std::int32_t> one(r.data_set.empty() ? n : 0);
  const std::vector<double> still(r.image_z.empty() ? n : 0);
  const Span<const std::int32_t> data_set = r.data_set.empty() ? Span<const std::int32_t>(one) : r.data_set;
  const Span<const double> image_z = r.image_z.empty() ? Span<const double>(still) : r.image_z;
  ReflectionGroups groups = r.group.empty() ? group_reflections(r.miller_index, r.rotations, {}, n_threads)
                                            : groups_as_given(r, n_threads);
  data.order =
      canonical_order(groups.order, groups.anomalous_offsets, data_set, image_z, r.intensity, n_threads);
  const Sorter sorted{data.order};
  data.data_set = sorted(data_set);
  data.image_z = sorted(image_z);
  data.intensity = sorted(r.intensity);
  data.variance = sorted(r.variance);
  data.half_inv_d2 = sorted(Span<const double>(d_star_sq));
  for (std::size_t k = 0; k < n; ++k) {
    if (!(data.half_inv_d2[k] > 0)) throw DataError(cat("row ", data.order[k], " has Miller index 0 0 0"));
    data.half_inv_d2[k] *= 0.5;
  }
  if (!r.x_px.empty()) {
    data.x_px = sorted(r.x_px);
    data.y_px = sorted(r.y_px);
  }
  data.no_conversion.assign(n, 0.0);
  add_group_indices(r, groups, data);
  data.offsets = std::move(groups.offsets);
  data.anomalous_offsets = std::move(groups.anomalous_offsets);
  data.target_offsets = options.anomalous ? data.anomalous_offsets : data.offsets;
  if (with_directions) add_directions(r, n_threads, data);
  return data;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0.0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

}  // namespace pyscale::detail
