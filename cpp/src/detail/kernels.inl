// Body of the group pass; included by one translation unit per instruction set, all functions static.
#include "kernels.hpp"

namespace pyscale::detail {
namespace {

/// Groups whose vectors wait for their rank-2k update of the normal matrix.
struct Batch {
  int n_vectors = 0;
  double sign[2 * kGroupBatch];
  double gradient_factor[2 * kGroupBatch];  ///< -I_h sqrt(S) for c vectors, 0 for a vectors
};

/// Lists the runs of active blocks and makes them inactive; returns their number.
inline int collect_segments(const ParameterBlocks& blocks, const ChunkScratch& scratch) {
  int n_segments = 0;
  for (int b = 0; b < blocks.n_blocks; ++b) {
    if (!scratch.block_active[b]) continue;
    const std::int32_t begin = blocks.block_begin[b], end = blocks.block_begin[b + 1];
    if (n_segments > 0 && scratch.segments[2 * n_segments - 1] == begin) {
      scratch.segments[2 * n_segments - 1] = end;
    } else {
      scratch.segments[2 * n_segments] = begin;
      scratch.segments[2 * n_segments + 1] = end;
      ++n_segments;
    }
    scratch.block_active[b] = 0;
  }
  return n_segments;
}

/// matrix += sum over `count` vectors of sign x x^T on the upper triangle, between all pairs of segments.
template <int count>
inline void add_vectors(const double* vectors, const double* sign, const std::int32_t* segments,
                        int n_segments, double* normal, int stride) {
  const double* x[count];
  for (int j = 0; j < count; ++j) x[j] = vectors + j * stride;
  for (int s = 0; s < n_segments; ++s)
    for (int r = segments[2 * s]; r < segments[2 * s + 1]; ++r) {
      double f[count];
      for (int j = 0; j < count; ++j) f[j] = sign[j] * x[j][r];
      double* __restrict row = normal + static_cast<Index>(r) * stride;
      for (int t = s; t < n_segments; ++t) {
        const int begin = t == s ? r & ~(kPadding - 1) : segments[2 * t];
        const int end = segments[2 * t + 1];
        for (int c = begin; c < end; ++c) {
          if constexpr (count == 4) {
            row[c] += (f[0] * x[0][c] + f[1] * x[1][c]) + (f[2] * x[2][c] + f[3] * x[3][c]);
          } else {
            row[c] += f[0] * x[0][c] + f[1] * x[1][c];
          }
        }
      }
    }
}

/// Adds the waiting vectors to gradient and matrix.
inline void flush(Batch& batch, const ParameterBlocks& blocks, const ChunkScratch& scratch, ChunkSums& sums) {
  const int stride = sums.stride, n_segments = collect_segments(blocks, scratch);
  for (int k = 1; k < batch.n_vectors; k += 2)
    for (int s = 0; s < n_segments; ++s)
      for (int c = scratch.segments[2 * s]; c < scratch.segments[2 * s + 1]; ++c)
        sums.gradient[c] += batch.gradient_factor[k] * scratch.group_vectors[k * stride + c];
  int k = 0;
  for (; k + 4 <= batch.n_vectors; k += 4)
    add_vectors<4>(scratch.group_vectors + k * stride, batch.sign + k, scratch.segments, n_segments,
                   sums.normal, stride);
  if (k < batch.n_vectors)
    add_vectors<2>(scratch.group_vectors + k * stride, batch.sign + k, scratch.segments, n_segments,
                   sums.normal, stride);
  batch.n_vectors = 0;
}

/// matrix += sum over `count` rows of f x x^T for one window; `x` rows are `x_stride` apart.
template <int count>
inline void add_diagonal_window(const double* const* x, const double* f, int start, int length,
                                double* normal, int stride) {
  for (int r = 0; r < length; ++r) {
    double scaled[count];
    for (int k = 0; k < count; ++k) scaled[k] = f[k] * x[k][r];
    double* __restrict row = normal + static_cast<Index>(start + r) * stride + start;
    for (int c = r & ~(kPadding - 1); c < length; ++c) {
      double sum = scaled[0] * x[0][c];
      for (int k = 1; k < count; ++k) sum += scaled[k] * x[k][c];
      row[c] += sum;
    }
  }
}

/// matrix += f dg dg^T for one observation, without the square of its last window.
inline void add_outer_product(const RowLayout& layout, const double* dg, const std::int32_t* start, double f,
                              double* normal, int stride) {
  for (int a = 0; a < layout.n_windows - 1; ++a) {
    const WindowLayout& wa = layout.windows[a];
    for (int r = 0; r < wa.length; ++r) {
      const double scaled = f * dg[wa.value_offset + r];
      double* __restrict row = normal + static_cast<Index>(start[a] + r) * stride;
      for (int c = r; c < wa.length; ++c) row[start[a] + c] += scaled * dg[wa.value_offset + c];
      for (int b = a + 1; b < layout.n_windows; ++b) {
        const double* __restrict y = dg + layout.windows[b].value_offset;
        double* __restrict target = row + start[b];
        const int length = layout.windows[b].length;
        for (int c = 0; c < length; ++c) target[c] += scaled * y[c];
      }
    }
  }
}

struct GroupSums {
  Index n = 0;
  Index n_reference = 0;        ///< 1 with a reference, which is in S and I_h
  double weight = 0.0;          ///< S = sum w g^2
  double intensity = 0.0;       ///< I_h
  double reference_cost = 0.0;  ///< w r^2 of the reference
};

/// Evaluates the rows of one group that have weight.
inline GroupSums evaluate_group(const FitRows& rows, const double* p, Index group, bool derivatives,
                                const ChunkScratch& scratch) {
  GroupSums sums;
  const double known = rows.reference_weight != nullptr ? rows.reference_weight[group] : 0.0;
  double wgi = 0.0;
  if (known > 0) {
    sums.n_reference = 1;
    sums.weight = known;
    wgi = known * rows.reference[group];
  }
  for (Index i = rows.offsets[group]; i < rows.offsets[group + 1]; ++i) {
    if (!(rows.weight[i] > 0)) continue;
    double* dg = derivatives ? scratch.dg + sums.n * rows.value_stride : nullptr;
    const double g = evaluate_row(rows.layouts[rows.data_set[i]], rows.value + i * rows.value_stride,
                                  rows.start + i * rows.start_stride, p, rows.given[i], dg);
    scratch.g[sums.n] = g;
    scratch.row[sums.n] = i;
    ++sums.n;
    sums.weight += rows.weight[i] * g * g;
    wgi += rows.weight[i] * g * rows.intensity[i];
  }
  if (sums.weight > 0) sums.intensity = wgi / sums.weight;
  if (known > 0) {
    const double r = rows.reference[group] - sums.intensity;
    sums.reference_cost = known * r * r;
  }
  return sums;
}

/// Marks the blocks that a row touches and clears the waiting vectors where a block becomes active.
inline void activate_blocks(const RowLayout& layout, const std::int32_t* start, const ParameterBlocks& blocks,
                            const ChunkScratch& scratch, int n_vectors, int stride) {
  for (int w = 0; w < layout.n_windows; ++w) {
    const int last = blocks.block_of[start[w] + layout.windows[w].length - 1];
    for (int b = blocks.block_of[start[w]]; b <= last; ++b) {
      if (scratch.block_active[b]) continue;
      scratch.block_active[b] = 1;
      for (int v = 0; v < n_vectors; ++v)
        for (int c = blocks.block_begin[b]; c < blocks.block_begin[b + 1]; ++c)
          scratch.group_vectors[v * stride + c] = 0.0;
    }
  }
}

/// Adds the squares of the last windows (the long one, absorption, where there is one), four rows at a time.
inline void add_last_windows(const FitRows& rows, const GroupSums& group, const ChunkScratch& scratch,
                             ChunkSums& sums) {
  const double square = group.intensity * group.intensity;
  Index i = 0;
  while (i < group.n) {
    const std::int32_t data_set = rows.data_set[scratch.row[i]];
    const RowLayout& layout = rows.layouts[data_set];
    const int last = layout.n_windows - 1;
    if (last < 0) {
      ++i;
      continue;
    }
    const WindowLayout& window = layout.windows[last];
    const int start = rows.start[scratch.row[i] * rows.start_stride + last];
    const double* x[4];
    double f[4];
    int count = 0;
    while (count < 4 && i < group.n && rows.data_set[scratch.row[i]] == data_set &&
           rows.start[scratch.row[i] * rows.start_stride + last] == start) {
      x[count] = scratch.dg + i * rows.value_stride + window.value_offset;
      f[count++] = square * rows.weight[scratch.row[i++]];
    }
    if (count == 4) {
      add_diagonal_window<4>(x, f, start, window.length, sums.normal, sums.stride);
    } else {
      for (int k = 0; k < count; ++k)
        add_diagonal_window<1>(x + k, f + k, start, window.length, sums.normal, sums.stride);
    }
  }
}

/// Cost, half gradient and normal matrix of one evaluated group.
inline void add_group(const FitRows& rows, const ParameterBlocks& blocks, const GroupSums& group,
                      int batch_size, const ChunkScratch& scratch, Batch& batch, ChunkSums& sums) {
  const int stride = sums.stride;
  const int n_vectors = 2 * batch_size;
  for (Index k = 0; k < group.n; ++k)
    activate_blocks(rows.layouts[rows.data_set[scratch.row[k]]],
                    rows.start + scratch.row[k] * rows.start_stride, blocks, scratch, n_vectors, stride);
  double* a = scratch.group_vectors + batch.n_vectors * stride;
  double* c = a + stride;
  const double root = 1.0 / std::sqrt(group.weight);
  for (Index k = 0; k < group.n; ++k) {
    const Index i = scratch.row[k];
    const RowLayout& layout = rows.layouts[rows.data_set[i]];
    const double* dg = scratch.dg + k * rows.value_stride;
    const std::int32_t* start = rows.start + i * rows.start_stride;
    const double r = rows.intensity[i] - scratch.g[k] * group.intensity;
    const double wr = rows.weight[i] * r, wg = rows.weight[i] * scratch.g[k];
    sums.cost += wr * r;
    const double fa = wg * group.intensity * root, fc = wr * root;
    for (int w = 0; w < layout.n_windows; ++w) {
      const double* y = dg + layout.windows[w].value_offset;
      double* __restrict aw = a + start[w];
      double* __restrict cw = c + start[w];
      for (int j = 0; j < layout.windows[w].length; ++j) {
        aw[j] += fa * y[j];
        cw[j] += fc * y[j];
      }
    }
    add_outer_product(layout, dg, start, group.intensity * group.intensity * rows.weight[i], sums.normal,
                      stride);
  }
  add_last_windows(rows, group, scratch, sums);
  batch.sign[batch.n_vectors] = -1.0;
  batch.sign[batch.n_vectors + 1] = 1.0;
  batch.gradient_factor[batch.n_vectors] = 0.0;
  batch.gradient_factor[batch.n_vectors + 1] = -group.intensity * std::sqrt(group.weight);
  batch.n_vectors += 2;
}

/// Half gradient of one evaluated group: -I_h c_h.
inline void add_gradient_only(const FitRows& rows, const GroupSums& group, const ChunkScratch& scratch,
                              ChunkSums& sums) {
  for (Index k = 0; k < group.n; ++k) {
    const Index i = scratch.row[k];
    const RowLayout& layout = rows.layouts[rows.data_set[i]];
    const double* dg = scratch.dg + k * rows.value_stride;
    const double wr = rows.weight[i] * (rows.intensity[i] - scratch.g[k] * group.intensity);
    const std::int32_t* start = rows.start + i * rows.start_stride;
    for (int w = 0; w < layout.n_windows; ++w) {
      const double* y = dg + layout.windows[w].value_offset;
      double* __restrict target = sums.gradient + start[w];
      for (int j = 0; j < layout.windows[w].length; ++j) target[j] -= group.intensity * wr * y[j];
    }
  }
}

inline double group_cost(const FitRows& rows, const GroupSums& group, const ChunkScratch& scratch) {
  double cost = 0.0;
  for (Index k = 0; k < group.n; ++k) {
    const Index i = scratch.row[k];
    const double r = rows.intensity[i] - scratch.g[k] * group.intensity;
    cost += rows.weight[i] * r * r;
  }
  return cost;
}

/// Products with rows of any layout.
template <int lanes>
struct AnyRow {
  /// u = dg_i . x for one row and `lanes` interleaved vectors.
  static void multiply(const FitRows& rows, const LinearisedRows& at, Index i, const double* x, double* u) {
    const RowLayout& layout = rows.layouts[rows.data_set[i]];
    for (int l = 0; l < lanes; ++l) u[l] = 0.0;
    for (int f = 0; f < layout.n_factors; ++f) {
      double sum[lanes] = {};
      for (int w = layout.factors[f].first_window; w < layout.factors[f].end_window; ++w) {
        const float* value = rows.value + i * rows.value_stride + layout.windows[w].value_offset;
        const double* q = x + static_cast<Index>(rows.start[i * rows.start_stride + w]) * lanes;
        for (int k = 0; k < layout.windows[w].length; ++k)
          for (int l = 0; l < lanes; ++l) sum[l] += static_cast<double>(value[k]) * q[k * lanes + l];
      }
      const double slope = at.slope[i * at.slope_stride + f];
      for (int l = 0; l < lanes; ++l) u[l] += slope * sum[l];
    }
  }

  /// result += factor dg_i for one row and `lanes` interleaved vectors.
  static void add(const FitRows& rows, const LinearisedRows& at, Index i, const double* factor, double* result) {
    const RowLayout& layout = rows.layouts[rows.data_set[i]];
    for (int f = 0; f < layout.n_factors; ++f) {
      double scaled[lanes];
      for (int l = 0; l < lanes; ++l) scaled[l] = at.slope[i * at.slope_stride + f] * factor[l];
      for (int w = layout.factors[f].first_window; w < layout.factors[f].end_window; ++w) {
        const float* value = rows.value + i * rows.value_stride + layout.windows[w].value_offset;
        double* __restrict target = result + static_cast<Index>(rows.start[i * rows.start_stride + w]) * lanes;
        for (int k = 0; k < layout.windows[w].length; ++k)
          for (int l = 0; l < lanes; ++l) target[k * lanes + l] += static_cast<double>(value[k]) * scaled[l];
      }
    }
  }
};

/// The same for rows of `n` factors that look at one parameter each.
template <int lanes, int n>
struct SingleValues {
  static void multiply(const FitRows& rows, const LinearisedRows& at, Index i, const double* x, double* u) {
    for (int l = 0; l < lanes; ++l) u[l] = 0.0;
    for (int f = 0; f < n; ++f) {
      const double slope = at.slope[i * n + f] * static_cast<double>(rows.value[i * n + f]);
      const double* q = x + static_cast<Index>(rows.start[i * n + f]) * lanes;
      for (int l = 0; l < lanes; ++l) u[l] += slope * q[l];
    }
  }

  static void add(const FitRows& rows, const LinearisedRows& at, Index i, const double* factor, double* result) {
    for (int f = 0; f < n; ++f) {
      const double slope = at.slope[i * n + f] * static_cast<double>(rows.value[i * n + f]);
      double* target = result + static_cast<Index>(rows.start[i * n + f]) * lanes;
      for (int l = 0; l < lanes; ++l) target[l] += slope * factor[l];
    }
  }
};

void group_pass(const FitRows& rows, const ParameterBlocks& blocks, const double* parameters, Index begin,
                Index end, int batch_size, const ChunkScratch& scratch, ChunkSums& sums) {
  Batch batch;
  for (int b = 0; b < blocks.n_blocks; ++b) scratch.block_active[b] = 0;
  for (Index group = begin; group < end; ++group) {
    const GroupSums g = evaluate_group(rows, parameters, group, sums.gradient != nullptr, scratch);
    if (g.n == 0 || g.n + g.n_reference < 2 || !(g.weight > 0)) continue;
    sums.cost += g.reference_cost;
    if (sums.normal == nullptr) {
      sums.cost += group_cost(rows, g, scratch);
      if (sums.gradient != nullptr) add_gradient_only(rows, g, scratch, sums);
      continue;
    }
    add_group(rows, blocks, g, batch_size, scratch, batch, sums);
    if (batch.n_vectors >= 2 * batch_size) flush(batch, blocks, scratch, sums);
  }
  if (batch.n_vectors > 0) flush(batch, blocks, scratch, sums);
}

double linearise_pass(const FitRows& rows, const double* parameters, Index begin, Index end,
                      const LinearisedRows& at, double* half_gradient) {
  double cost = 0.0;
  for (Index group = begin; group < end; ++group) {
    const double known = rows.reference_weight != nullptr ? rows.reference_weight[group] : 0.0;
    double weight = known, wgi = known > 0 ? known * rows.reference[group] : 0.0;
    int n = 0;
    for (Index i = rows.offsets[group]; i < rows.offsets[group + 1]; ++i) {
      if (!(rows.weight[i] > 0)) continue;
      const double g = evaluate_factors(rows.layouts[rows.data_set[i]], rows.value + i * rows.value_stride,
                                        rows.start + i * rows.start_stride, parameters, rows.given[i],
                                        at.slope + i * at.slope_stride);
      at.g[i] = g;
      weight += rows.weight[i] * g * g;
      wgi += rows.weight[i] * g * rows.intensity[i];
      ++n;
    }
    const bool used = n > 0 && n + (known > 0) >= 2 && weight > 0;
    at.group_inverse_weight[group] = used ? 1.0 / weight : -1.0;
    const double intensity = at.group_intensity[group] = used ? wgi / weight : 0.0;
    if (!used) continue;
    if (known > 0) cost += known * (rows.reference[group] - intensity) * (rows.reference[group] - intensity);
    for (Index i = rows.offsets[group]; i < rows.offsets[group + 1]; ++i) {
      if (!(rows.weight[i] > 0)) continue;
      const double r = rows.intensity[i] - at.g[i] * intensity;
      cost += rows.weight[i] * r * r;
      const double factor = -intensity * rows.weight[i] * r;
      AnyRow<1>::add(rows, at, i, &factor, half_gradient);
    }
  }
  return cost;
}

template <int lanes, class Row>
void add_products(const FitRows& rows, const LinearisedRows& at, const double* x, Index begin, Index end,
                  double* sums, double* result) {
  for (Index group = begin; group < end; ++group) {
    const double inverse = at.group_inverse_weight[group];
    if (inverse < 0) continue;
    const double intensity = at.group_intensity[group], square = intensity * intensity;
    double a[lanes] = {}, c[lanes] = {};
    double* u = sums;
    for (Index i = rows.offsets[group]; i < rows.offsets[group + 1]; ++i) {
      if (!(rows.weight[i] > 0)) continue;
      Row::multiply(rows, at, i, x, u);
      const double wg = rows.weight[i] * at.g[i];
      const double wr = rows.weight[i] * (rows.intensity[i] - at.g[i] * intensity);
      for (int l = 0; l < lanes; ++l) {
        a[l] += wg * u[l];
        c[l] += wr * u[l];
      }
      u += lanes;
    }
    for (int l = 0; l < lanes; ++l) {
      a[l] *= square * inverse;
      c[l] *= inverse;
    }
    u = sums;
    for (Index i = rows.offsets[group]; i < rows.offsets[group + 1]; ++i) {
      if (!(rows.weight[i] > 0)) continue;
      const double w = rows.weight[i], wg = w * at.g[i];
      const double wr = w * (rows.intensity[i] - at.g[i] * intensity);
      for (int l = 0; l < lanes; ++l) u[l] = square * w * u[l] - a[l] * wg + c[l] * wr;
      Row::add(rows, at, i, u, result);
      u += lanes;
    }
  }
}

template <int lanes>
void product_pass(const FitRows& rows, const LinearisedRows& at, const double* x, Index begin, Index end,
                  double* sums, double* result) {
  switch (at.n_single_values) {
    case 1:
      return add_products<lanes, SingleValues<lanes, 1>>(rows, at, x, begin, end, sums, result);
    case 2:
      return add_products<lanes, SingleValues<lanes, 2>>(rows, at, x, begin, end, sums, result);
    default:
      return add_products<lanes, AnyRow<lanes>>(rows, at, x, begin, end, sums, result);
  }
}

constexpr GroupPasses kPasses{&group_pass, &linearise_pass, &product_pass<1>, &product_pass<kLanes>};

}  // namespace
}  // namespace pyscale::detail
