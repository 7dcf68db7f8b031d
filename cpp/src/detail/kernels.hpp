// The hot pass over groups, compiled once per instruction set and chosen at run time.
// Plain pointers only: no inline code of any library may be emitted from these translation units.
#pragma once
#include "rows.hpp"

namespace pyscale::detail {

/// Observations sorted by group, ready for the fit.
struct FitRows {
  const double* intensity;
  const double* weight;  ///< 0 leaves an observation out
  const double* given;   ///< factor of g that no parameter changes
  const std::int32_t* data_set;
  const float* value;         ///< basis values, `value_stride` per observation
  const std::int32_t* start;  ///< first parameter of each window, `start_stride` per observation
  int value_stride, start_stride;
  const Index* offsets;  ///< (n_groups + 1)
  const RowLayout* layouts;
  /// Intensity of each group that is known beforehand and its weight (0: none), or null: an observation with
  /// g = 1.
  const double *reference, *reference_weight;
};

/// Parameter blocks: block b holds parameters [block_begin[b], block_begin[b + 1]).
struct ParameterBlocks {
  int n_blocks;
  const std::int32_t* block_begin;  ///< (n_blocks + 1)
  const std::int32_t* block_of;     ///< (n_parameters) block of each parameter
};

/// Room for one chunk; sizes in rows of the largest group and in parameters padded to `stride`.
struct ChunkScratch {
  double* g;                   ///< (max_group)
  double* dg;                  ///< (max_group * value_stride)
  Index* row;                  ///< (max_group) rows with weight > 0
  double* group_vectors;       ///< (2 * kGroupBatch * stride)
  std::uint8_t* block_active;  ///< (n_blocks)
  std::int32_t* segments;      ///< (2 * n_blocks)
};

/// Sums of one chunk. `normal` holds rows of `stride` numbers of which the upper triangle counts.
struct ChunkSums {
  double cost;
  double* gradient;  ///< (stride) half the gradient, or null
  double* normal;    ///< (stride * stride), or null
  int stride;
};

constexpr int kGroupBatch = 8;  ///< groups whose vectors enter the normal matrix together
constexpr int kPadding = 8;     ///< parameters are padded to a multiple of this

/// Adds groups [begin, end) to `sums`: the cost, and where asked for the half gradient -sum I_h c_h and
/// J^T W J = sum_h [I_h^2 (sum_i w dg dg^T - a a^T / S) + c c^T / S]; docs/theory/model.md, equations 3
/// and 4. `batch` groups (1 ... kGroupBatch) enter the matrix together.
using GroupPass = void (*)(const FitRows&, const ParameterBlocks&, const double* parameters, Index begin,
                           Index end, int batch, const ChunkScratch&, ChunkSums&);

/// What products with J^T W J need of the rows at one point.
struct LinearisedRows {
  double* g;      ///< (n)
  double* slope;  ///< (n * slope_stride) derivative of g by the sum inside each factor
  int slope_stride;
  int n_single_values;           ///< RowLayouts::n_single_values
  double* group_intensity;       ///< (n_groups) I_h
  double* group_inverse_weight;  ///< (n_groups) 1 / S_h; negative: the group has no part in the fit
};

/// Fills `at` for groups [begin, end), adds half the gradient, and returns their cost.
using LinearisePass = double (*)(const FitRows&, const double* parameters, Index begin, Index end,
                                 const LinearisedRows& at, double* half_gradient);

constexpr int kLanes = 8;  ///< vectors that a product takes at once, if not a single one

/// result += J^T W J x for groups [begin, end), for one vector or kLanes of them, interleaved.
/// `sums` has room for one number per vector and row of the largest group.
using ProductPass = void (*)(const FitRows&, const LinearisedRows& at, const double* x, Index begin,
                             Index end, double* sums, double* result);

/// The passes over groups of one instruction set.
struct GroupPasses {
  GroupPass normal_equations;
  LinearisePass linearise;
  ProductPass product, product_of_lanes;
};

GroupPasses baseline_group_passes();
GroupPasses avx2_group_passes();
GroupPasses avx512_group_passes();

/// The best passes for this processor; PYSCALE_SIMD=baseline|avx2|avx512 forces one.
const GroupPasses& best_group_passes();
const char* best_group_passes_name();

}  // namespace pyscale::detail
