// Storage of NormalOperator, shared by the files that implement it.
#pragma once
#include <functional>
#include <pyscale/normal_operator.hpp>
#include <vector>

#include "fit_problem_impl.hpp"

namespace pyscale {

struct NormalOperator::Impl {
  explicit Impl(const FitProblem::Impl& of) : problem(of) {}

  const FitProblem::Impl& problem;
  double cost = 0.0;
  std::vector<double> half_gradient;
  std::vector<double> g, slope, group_intensity, group_inverse_weight;
  int slope_stride = 1, n_single_values = 0;
  std::vector<ParameterBlock> blocks;
  std::vector<std::int32_t> block_of;  ///< (p)
  std::vector<Index> block_offset;     ///< (n_blocks + 1) of each block in diagonal_blocks
  mutable std::vector<double> diagonal_blocks;

  detail::LinearisedRows rows() {
    return {g.data(),        slope.data(),           slope_stride,
            n_single_values, group_intensity.data(), group_inverse_weight.data()};
  }
  /// Edges of chunks whose sums take `bytes` each.
  std::vector<Index> chunk_edges(double bytes) const;
  void linearise(Span<const double> parameters);
  void add_row_products(std::vector<double>& matrix) const;
  void add_group_products(std::vector<double>& matrix) const;
  void add_restraint_products(Span<const double> x, Index n_vectors, std::vector<double>& result) const;
  void fill_diagonal_blocks() const;
  void add_restraint_blocks() const;
  /// diagonal_blocks[row_offset(i) + j] belongs to parameters i and j of one block.
  Index row_offset(Index i) const {
    const ParameterBlock& b = problem.blocks[block_of[i]];
    return block_offset[block_of[i]] + (i - b.begin) * b.size() - b.begin;
  }
};

namespace detail {

/// Consecutive variables of one row, and the derivatives of g by them.
struct Run {
  Index first;
  int length;
  const double* derivative;
};

/// dg_i/dp of row i at the point of linearisation, a run for each window; `derivative` has room for a row.
inline void runs_of_row(const FitRows& rows, const std::vector<double>& slope, int slope_stride, Index i,
                        std::vector<double>& derivative, std::vector<Run>& runs) {
  const RowLayout& layout = rows.layouts[rows.data_set[i]];
  for (int f = 0; f < layout.n_factors; ++f)
    for (int w = layout.factors[f].first_window; w < layout.factors[f].end_window; ++w) {
      const WindowLayout& window = layout.windows[w];
      const float* value = rows.value + i * rows.value_stride + window.value_offset;
      double* const d = derivative.data() + window.value_offset;
      for (int k = 0; k < window.length; ++k)
        d[k] = slope[i * slope_stride + f] * static_cast<double>(value[k]);
      runs.push_back({rows.start[i * rows.start_stride + w], window.length, d});
    }
}

/// Adds f d d^T of one row, whose runs ascend, to the upper triangle: element (i, j) is row_of(i)[j]. Of
/// pairs of runs only those are taken that are `wanted`.
template <class Wanted, class RowOf>
void add_outer_product(const std::vector<Run>& runs, double f, Wanted&& wanted, RowOf&& row_of) {
  for (std::size_t s = 0; s < runs.size(); ++s)
    for (int k = 0; k < runs[s].length; ++k) {
      double* const target = row_of(runs[s].first + k);
      const double scaled = f * runs[s].derivative[k];
      for (std::size_t t = s; t < runs.size(); ++t) {
        if (!wanted(runs[s], runs[t])) continue;
        for (int j = t == s ? k : 0; j < runs[t].length; ++j)
          target[runs[t].first + j] += scaled * runs[t].derivative[j];
      }
    }
}

}  // namespace detail
}  // namespace pyscale
