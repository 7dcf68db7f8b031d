// The normal matrix of many data sets: groups touch many of them, so that their vectors are nearly dense.
#include <algorithm>
#include <cmath>
#include <pyscale/parallel.hpp>

#include "detail/cholesky.hpp"
#include "detail/normal_operator_impl.hpp"

namespace pyscale {
namespace {

using detail::kTile;

constexpr Index kTilesDeep = 4;
constexpr Index kDepth = kTilesDeep * kTile;  ///< rows of a panel
constexpr Index kGroups = kDepth / 2;         ///< of which each group has two
constexpr Index kDataSetsPerChunk = 4, kGroupsPerChunk = 8;

/// Sums of c c^T - a a^T over groups: panels of rows times each other, tile by tile. The order of the sums
/// does not depend on the number of threads.
class PanelProducts {
 public:
  PanelProducts(Index p, int n_threads)
      : n_tiles_((p + kTile - 1) / kTile),
        n_threads_(n_threads),
        occupied_(static_cast<std::size_t>(n_tiles_)) {
    sums_.resize(n_tiles_ * (n_tiles_ + 1) / 2);
    left_.resize(n_tiles_ * kTilesDeep);
    right_.resize(n_tiles_ * kTilesDeep);
    std::fill(sums_.tile(0), sums_.tile(n_tiles_ * (n_tiles_ + 1) / 2), 0.0);
  }

  void clear() {
    for_each_chunk(fixed_size_edges(n_tiles_, 1), n_threads_, [&](Index, Index t, Index) {
      std::fill(left_.tile(t * kTilesDeep), left_.tile((t + 1) * kTilesDeep), 0.0);
      std::fill(right_.tile(t * kTilesDeep), right_.tile((t + 1) * kTilesDeep), 0.0);
    });
    std::fill(occupied_.begin(), occupied_.end(), 0);
  }

  /// Adds to element `k` of the two vectors of a panel's group.
  void add(Index group, Index k, double a, double c) {
    const Index tile = k / kTile * kTilesDeep, place = 2 * group * kTile + k % kTile;
    left_.tile(tile)[place] += a;
    right_.tile(tile)[place] += a;
    left_.tile(tile)[place + kTile] -= c;
    right_.tile(tile)[place + kTile] += c;
  }

  void note(const std::vector<std::uint8_t>& touched) {
    for (std::size_t k = 0; k < touched.size(); ++k) occupied_[k] |= touched[k];
  }

  void multiply() {
    const detail::CholeskyKernels& kernels = detail::best_cholesky_kernels();
    for_each_chunk(fixed_size_edges(n_tiles_, 1), n_threads_, [&](Index, Index chunk, Index) {
      const Index column = n_tiles_ - 1 - chunk;
      if (!occupied_[column]) return;
      for (Index row = 0; row <= column; ++row)
        if (occupied_[row])
          kernels.subtract_product(left_.tile(row * kTilesDeep), right_.tile(column * kTilesDeep),
                                   sums_.tile(column * (column + 1) / 2 + row), kDepth, kTile, kTile);
    });
  }

  Index n_tiles() const { return n_tiles_; }

  double sum(Index i, Index j) const {
    const Index row = i / kTile, column = j / kTile;
    return sums_.tile(column * (column + 1) / 2 + row)[i % kTile * kTile + j % kTile];
  }

 private:
  Index n_tiles_;
  int n_threads_;
  std::vector<std::uint8_t> occupied_;
  detail::TileBuffer sums_, left_, right_;
};

/// Of what data sets share.
struct SharedSums {
  std::vector<double> values;
  void merge(const SharedSums& other) {
    for (std::size_t k = 0; k < values.size(); ++k) values[k] += other.values[k];
  }
};

/// Rows in the order of data sets, and the group of each.
struct RowsBySet {
  std::vector<Index> offset, row, group;

  RowsBySet(Span<const std::int32_t> data_set, const std::vector<Index>& offsets, std::size_t n_sets)
      : offset(n_sets + 1), row(static_cast<std::size_t>(data_set.size())), group(row.size()) {
    for (const std::int32_t s : data_set) ++offset[s + 1];
    for (std::size_t s = 1; s < offset.size(); ++s) offset[s] += offset[s - 1];
    std::vector<Index> next(offset);
    for (Index h = 0; h + 1 < static_cast<Index>(offsets.size()); ++h)
      for (Index i = offsets[h]; i < offsets[h + 1]; ++i) {
        const Index place = next[data_set[i]]++;
        row[place] = i;
        group[place] = h;
      }
  }
};

}  // namespace

/// Adds I_h^2 w dg dg^T of all rows: what is of one data set alone is written by one thread.
void NormalOperator::Impl::add_row_products(std::vector<double>& matrix) const {
  const Index p = problem.n_parameters, n_sets = static_cast<Index>(problem.blocks.size()) - 1;
  const ParameterBlock shared = problem.blocks.back();
  const RowsBySet order(problem.data_set, problem.offsets, static_cast<std::size_t>(n_sets));
  const detail::FitRows view = problem.rows();
  const std::vector<Index> edges = fixed_size_edges(n_sets, kDataSetsPerChunk);
  std::vector<SharedSums> parts(std::max<std::size_t>(edges.size(), 2) - 1);
  for (SharedSums& part : parts)
    part.values.assign(static_cast<std::size_t>(shared.size() * shared.size()), 0.0);
  for_each_chunk(edges, problem.n_threads, [&](Index chunk, Index begin, Index end) {
    std::vector<double> derivative(static_cast<std::size_t>(view.value_stride));
    std::vector<detail::Run> runs;
    double* const of_shared = parts[chunk].values.data();
    const auto row_of = [&](Index k) {
      return k < shared.begin ? matrix.data() + k * p
                              : of_shared + (k - shared.begin) * shared.size() - shared.begin;
    };
    for (Index place = order.offset[begin]; place < order.offset[end]; ++place) {
      const Index i = order.row[place], group = order.group[place];
      if (!(problem.weight[i] > 0) || group_inverse_weight[group] < 0) continue;
      runs.clear();
      detail::runs_of_row(view, slope, slope_stride, i, derivative, runs);
      detail::add_outer_product(
          runs, problem.weight[i] * group_intensity[group] * group_intensity[group],
          [](const detail::Run&, const detail::Run&) { return true; }, row_of);
    }
  });
  const SharedSums sums = tree_merge(std::move(parts));
  for (Index i = 0; i < shared.size(); ++i)
    for (Index j = i; j < shared.size(); ++j)
      matrix[(shared.begin + i) * p + shared.begin + j] += sums.values[i * shared.size() + j];
}

/// Adds (c c^T - I_h^2 a a^T) / S of all groups.
void NormalOperator::Impl::add_group_products(std::vector<double>& matrix) const {
  const Index p = problem.n_parameters;
  const detail::FitRows view = problem.rows();
  PanelProducts panel(p, problem.n_threads);
  std::vector<Index> used;
  for (Index h = 0; h + 1 < static_cast<Index>(problem.offsets.size()); ++h)
    if (group_inverse_weight[h] >= 0) used.push_back(h);
  for (Index first = 0; first < static_cast<Index>(used.size()); first += kGroups) {
    const Index n = std::min(kGroups, static_cast<Index>(used.size()) - first);
    panel.clear();
    const std::vector<Index> edges = fixed_size_edges(n, kGroupsPerChunk);
    std::vector<std::vector<std::uint8_t>> touched(edges.size() - 1);
    for_each_chunk(edges, problem.n_threads, [&](Index chunk, Index begin, Index end) {
      touched[chunk].resize(static_cast<std::size_t>(panel.n_tiles()));
      std::vector<double> derivative(static_cast<std::size_t>(view.value_stride));
      std::vector<detail::Run> runs;
      for (Index k = begin; k < end; ++k) {
        const Index group = used[first + k];
        const double intensity = group_intensity[group], root = std::sqrt(group_inverse_weight[group]);
        for (Index i = problem.offsets[group]; i < problem.offsets[group + 1]; ++i) {
          const double w = problem.weight[i];
          if (!(w > 0)) continue;
          runs.clear();
          detail::runs_of_row(view, slope, slope_stride, i, derivative, runs);
          const double fa = intensity * root * w * g[i];
          const double fc = root * w * (problem.intensity[i] - g[i] * intensity);
          for (const detail::Run& run : runs)
            for (int j = 0; j < run.length; ++j) {
              panel.add(k, run.first + j, fa * run.derivative[j], fc * run.derivative[j]);
              touched[chunk][(run.first + j) / kTile] = 1;
            }
        }
      }
    });
    for (const auto& part : touched) panel.note(part);
    panel.multiply();
  }
  for_each_chunk(fixed_size_edges(p, kTile), problem.n_threads, [&](Index, Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      for (Index j = i; j < p; ++j) matrix[i * p + j] += panel.sum(i, j);
  });
}

void FitProblem::Impl::evaluate_by_panels(Span<const double> parameters, NormalEquations& result) const {
  const Index p = n_parameters;
  NormalOperator::Impl at(*this);
  at.linearise(parameters);
  result.matrix.assign(static_cast<std::size_t>(p * p), 0.0);
  at.add_row_products(result.matrix);
  at.add_group_products(result.matrix);
  for_each_chunk(fixed_size_edges(p, kTile), n_threads, [&](Index, Index begin, Index end) {
    for (Index j = begin; j < end; ++j)
      for (Index i = 0; i < j; ++i) result.matrix[j * p + i] = result.matrix[i * p + j];
  });
  result.cost = at.cost;
  result.half_gradient = std::move(at.half_gradient);
}

}  // namespace pyscale
