// Groups of symmetry-equivalent reflections: asymmetric-unit indices, canonical order, offsets.
#pragma once
#include <pyscale/export.hpp>
#include <pyscale/large_vector.hpp>
#include <pyscale/span.hpp>

#include <array>
#include <cstdint>
#include <vector>

namespace pyscale {

/// Row-major rotation part of a symmetry operator acting on row vectors: h' = h R.
using RotationMatrix = std::array<std::int32_t, 9>;

/// Observations sorted by group. Position k of every sorted array is input row `order[k]`.
struct ReflectionGroups {
  LargeVector<Index> order;    ///< (n) input row at each sorted position
  std::vector<Index> offsets;  ///< (n_groups + 1) first position of each group, Friedel mates together
  std::vector<Index> anomalous_offsets;  ///< (n_anomalous_groups + 1) the same, I(+) and I(-) apart
  std::vector<Miller> asu_index;         ///< (n_groups) representative of each group
  LargeVector<std::uint8_t> is_minus;    ///< (n) by sorted position: 1 for the I(-) mate of an acentric pair
  std::vector<std::uint8_t> is_centric;  ///< (n_groups) 1 when -h is equivalent to h by a rotation
};

/// Groups reflections under the Laue group made of `rotations` (the rotation parts of all operators, centring
/// translations left out) and Friedel's law. The representative is the lexicographically largest equivalent;
/// an observation is I(-) when only the inversion leads to it.
/// Inside a group rows are ordered I(+) first, then by `rank`, then by input row; a `rank` made from the data
/// (data set, image, ...) makes every result independent of the order of the input rows.
/// \param miller_index (n) observed indices
/// \param rank (n) or empty: secondary sort key
/// \throws std::invalid_argument when `rotations` is empty or sizes differ
PYSCALE_API ReflectionGroups group_reflections(Span<const Miller> miller_index,
                                               const std::vector<RotationMatrix>& rotations,
                                               Span<const Index> rank, int n_threads);

/// Rows by their keys, those of equal keys in their order.
/// \param keys (n) >= 0
/// \throws std::invalid_argument when a key is negative
PYSCALE_API LargeVector<Index> stable_order(Span<const Index> keys, int n_threads);

/// Values of some rows: values[rows[k]].
/// \throws std::invalid_argument when a row is out of range
PYSCALE_API LargeVector<double> gathered(Span<const double> values, Span<const Index> rows, int n_threads);

/// Scaled intensities of groups that are known beforehand, and their weights 1 / variance; both empty: none.
struct PYSCALE_API ReferenceView {
  Span<const double> intensity;  ///< (n_groups)
  Span<const double> weight;     ///< (n_groups), 0 for groups without one

  double weight_of(Index group) const { return weight.empty() ? 0.0 : weight[group]; }

  /// \throws std::invalid_argument unless it is empty or has `n_groups` elements
  void validate(Index n_groups) const;
};

/// Throws std::invalid_argument unless `offsets` runs from 0 to `n_rows` without a step back.
PYSCALE_API void require_offsets(const char* name, Span<const Index> offsets, Index n_rows);

/// Puts the rows of each group into canonical order, by data set, image and intensity: what group_reflections
/// does with the ranks of canonical_rank, without ranking all rows.
/// \param order (n) rows sorted by group, \param offsets (n_groups + 1) of the groups, \param data_set (n),
/// \param image_z (n), \param intensity (n) of the rows
/// \throws std::invalid_argument when sizes disagree or a row is out of range
PYSCALE_API LargeVector<Index> canonical_order(Span<const Index> order, Span<const Index> offsets,
                                               Span<const std::int32_t> data_set, Span<const double> image_z,
                                               Span<const double> intensity, int n_threads);

}  // namespace pyscale
