#include <algorithm>
#include <numeric>
#include <pyscale/error.hpp>  // for require_size
#include <pyscale/parallel.hpp>

#include "detail/normal_operator_impl.hpp"

namespace pyscale {
namespace {

struct Sums {
  std::vector<double> values;
  void merge(const Sums& other) {
    for (std::size_t k = 0; k < values.size(); ++k) values[k] += other.values[k];
  }
};

using detail::Run;

/// Variables in pieces that a group touches as a whole, and blocks of these that alone are wanted.
struct Partition {
  std::vector<std::int32_t> piece_begin;  ///< (n_pieces + 1)
  std::vector<std::int32_t> piece_of;     ///< (n_variables)
  std::vector<std::int32_t> block_of;     ///< (n_variables)

  Index size() const { return static_cast<Index>(piece_of.size()); }
};

/// a_h and c_h of one group (docs/theory/model.md, equation 4) over the pieces that it touches.
class GroupVectors {
 public:
  explicit GroupVectors(const Partition& partition)
      : partition_(partition), a_(partition.piece_of.size()), c_(a_.size()), is_touched_(a_.size()) {}

  void add(const Run& run, double wg, double wr) {
    const std::int32_t last = partition_.piece_of[run.first + run.length - 1];
    for (std::int32_t piece = partition_.piece_of[run.first]; piece <= last; ++piece) {
      if (is_touched_[piece]) continue;
      is_touched_[piece] = 1;
      touched_.push_back(piece);
    }
    for (int k = 0; k < run.length; ++k) {
      a_[run.first + k] += wg * run.derivative[k];
      c_[run.first + k] += wr * run.derivative[k];
    }
  }

  /// Adds (c c^T - I_h^2 a a^T) / S to the upper triangle of all blocks, and forgets the group.
  template <class RowOf>
  void finish(double square, double inverse, RowOf&& row_of) {
    std::sort(touched_.begin(), touched_.end());
    for (std::size_t s = 0; s < touched_.size(); ++s)
      for (Index i = begin(s); i < end(s); ++i) {
        double* const target = row_of(i);
        const double fa = -square * inverse * a_[i], fc = inverse * c_[i];
        for (std::size_t t = s; t < touched_.size() && block(t) == block(s); ++t)
          for (Index j = t == s ? i : begin(t); j < end(t); ++j) target[j] += fa * a_[j] + fc * c_[j];
      }
    for (std::size_t s = 0; s < touched_.size(); ++s) {
      is_touched_[touched_[s]] = 0;
      for (Index i = begin(s); i < end(s); ++i) a_[i] = c_[i] = 0.0;
    }
    touched_.clear();
  }

 private:
  Index begin(std::size_t s) const { return partition_.piece_begin[touched_[s]]; }
  Index end(std::size_t s) const { return partition_.piece_begin[touched_[s] + 1]; }
  std::int32_t block(std::size_t s) const { return partition_.block_of[begin(s)]; }

  const Partition& partition_;
  std::vector<double> a_, c_;
  std::vector<std::uint8_t> is_touched_;
  std::vector<std::int32_t> touched_;
};

/// Sums I_h^2 w dg dg^T + (c c^T - I_h^2 a a^T) / S over groups [begin, end), inside blocks of variables.
/// `runs_of(row, out)` lists the variables of a row; `row_of(i)[j]` is the sum for variables i <= j.
template <class RunsOf, class RowOf>
void add_groups(const detail::FitRows& rows, const detail::LinearisedRows& at, Index begin, Index end,
                const Partition& partition, RunsOf&& runs_of, RowOf&& row_of) {
  GroupVectors vectors(partition);
  std::vector<Run> runs;
  for (Index group = begin; group < end; ++group) {
    const double inverse = at.group_inverse_weight[group];
    if (inverse < 0) continue;
    const double intensity = at.group_intensity[group], square = intensity * intensity;
    for (Index i = rows.offsets[group]; i < rows.offsets[group + 1]; ++i) {
      const double w = rows.weight[i];
      if (!(w > 0)) continue;
      runs.clear();
      runs_of(i, runs);
      const double wr = w * (rows.intensity[i] - at.g[i] * intensity);
      for (const Run& run : runs) vectors.add(run, w * at.g[i], wr);
      detail::add_outer_product(
          runs, square * w,
          [&](const Run& a, const Run& b) {
            return partition.block_of[a.first] == partition.block_of[b.first];
          },
          row_of);
    }
    vectors.finish(square, inverse, row_of);
  }
}

/// The same for rows whose factors look at one parameter each, and blocks of `n` parameters for each data
/// set: `values` is n * n for every one.
class SingleValueBlocks {
 public:
  SingleValueBlocks(const detail::FitRows& rows, const detail::LinearisedRows& at,
                    const std::vector<ParameterBlock>& blocks)
      : rows_(rows),
        at_(at),
        n_(at.n_single_values),
        a_(blocks.size() * n_),
        c_(a_.size()),
        is_touched_(blocks.size()) {}

  void add(Index begin, Index end, double* values) {
    for (Index group = begin; group < end; ++group) {
      const double inverse = at_.group_inverse_weight[group];
      if (inverse < 0) continue;
      const double intensity = at_.group_intensity[group];
      for (Index i = rows_.offsets[group]; i < rows_.offsets[group + 1]; ++i)
        if (rows_.weight[i] > 0) add_row(i, intensity, values);
      finish(intensity * intensity, inverse, values);
    }
  }

 private:
  void add_row(Index i, double intensity, double* values) {
    const std::int32_t set = rows_.data_set[i];
    if (!is_touched_[set]) {
      is_touched_[set] = 1;
      touched_.push_back(set);
    }
    const double w = rows_.weight[i], wg = w * at_.g[i];
    const double wr = w * (rows_.intensity[i] - at_.g[i] * intensity), ww = w * intensity * intensity;
    double d[detail::kMaxFactors];
    double *a = a_.data() + set * n_, *c = c_.data() + set * n_, *block = values + set * n_ * n_;
    for (Index k = 0; k < n_; ++k) {
      d[k] = at_.slope[i * n_ + k] * static_cast<double>(rows_.value[i * n_ + k]);
      a[k] += wg * d[k];
      c[k] += wr * d[k];
      for (Index j = 0; j <= k; ++j) block[j * n_ + k] += ww * d[j] * d[k];
    }
  }

  void finish(double square, double inverse, double* values) {
    for (const std::int32_t set : touched_) {
      double *a = a_.data() + set * n_, *c = c_.data() + set * n_, *block = values + set * n_ * n_;
      for (Index j = 0; j < n_; ++j)
        for (Index k = j; k < n_; ++k) block[j * n_ + k] += inverse * (c[j] * c[k] - square * a[j] * a[k]);
      for (Index k = 0; k < n_; ++k) a[k] = c[k] = 0.0;
      is_touched_[set] = 0;
    }
    touched_.clear();
  }

  const detail::FitRows& rows_;
  const detail::LinearisedRows& at_;
  Index n_;
  std::vector<double> a_, c_;
  std::vector<std::uint8_t> is_touched_;
  std::vector<std::int32_t> touched_;
};

}  // namespace

void NormalOperator::Impl::fill_diagonal_blocks() const {
  const detail::FitRows view = problem.rows();
  const detail::LinearisedRows at = const_cast<Impl*>(this)->rows();
  const Partition partition{problem.layouts.block_begin(), problem.layouts.block_of(), block_of};
  const bool is_single_valued =
      n_single_values > 0 && problem.blocks.back().size() == 0 &&
      problem.n_parameters == n_single_values * static_cast<Index>(problem.blocks.size() - 1);
  const std::vector<Index> edges = chunk_edges(8.0 * static_cast<double>(block_offset.back()) + 1.0);
  std::vector<Sums> parts(std::max<std::size_t>(edges.size(), 2) - 1);
  for (Sums& part : parts) part.values.assign(static_cast<std::size_t>(block_offset.back()), 0.0);
  for_each_chunk(edges, problem.n_threads, [&](Index chunk, Index begin, Index end) {
    double* const values = parts[chunk].values.data();
    if (is_single_valued) {
      SingleValueBlocks(view, at, problem.blocks).add(begin, end, values);
      return;
    }
    std::vector<double> derivative(static_cast<std::size_t>(view.value_stride));
    const auto runs_of = [&](Index i, std::vector<Run>& runs) {
      detail::runs_of_row(view, slope, slope_stride, i, derivative, runs);
    };
    add_groups(view, at, begin, end, partition, runs_of, [&](Index i) { return values + row_offset(i); });
  });
  diagonal_blocks = tree_merge(std::move(parts)).values;
  add_restraint_blocks();
  for (const ParameterBlock& b : problem.blocks)
    for (Index i = b.begin; i < b.end; ++i)
      for (Index j = i; j < b.end; ++j) {
        double& value = diagonal_blocks[row_offset(i) + j];
        if (problem.held[i] || problem.held[j]) value = i == j ? 1.0 : 0.0;
        diagonal_blocks[row_offset(j) + i] = value;
      }
}

/// Restraints, on the upper triangle.
void NormalOperator::Impl::add_restraint_blocks() const {
  const Restraints& r = problem.restraints;
  std::vector<Index> order;
  for (Index k = 0; k < r.size(); ++k) {
    order.resize(static_cast<std::size_t>(r.row_offsets[k + 1] - r.row_offsets[k]));
    std::iota(order.begin(), order.end(), r.row_offsets[k]);
    std::sort(order.begin(), order.end(), [&](Index a, Index b) { return r.column[a] < r.column[b]; });
    for (std::size_t s = 0; s < order.size(); ++s)
      for (std::size_t t = s; t < order.size(); ++t) {
        const std::int32_t i = r.column[order[s]], j = r.column[order[t]];
        if (block_of[i] != block_of[j]) break;
        const double twice = i == j && s != t ? 2.0 : 1.0;
        diagonal_blocks[row_offset(i) + j] += twice * r.weight[k] * r.value[order[s]] * r.value[order[t]];
      }
  }
}

const std::vector<double>& NormalOperator::diagonal_blocks() const {
  Impl& d = *impl_;
  if (d.block_offset.empty()) {
    d.block_of.resize(static_cast<std::size_t>(d.problem.n_parameters));
    d.block_offset.push_back(0);
    for (std::size_t k = 0; k < d.problem.blocks.size(); ++k) {
      const ParameterBlock& b = d.problem.blocks[k];
      std::fill(d.block_of.begin() + b.begin, d.block_of.begin() + b.end, static_cast<std::int32_t>(k));
      d.block_offset.push_back(d.block_offset.back() + b.size() * b.size());
    }
    d.fill_diagonal_blocks();
  }
  return d.diagonal_blocks;
}

std::vector<double> NormalOperator::diagonal() const {
  const std::vector<double>& values = diagonal_blocks();
  std::vector<double> result;
  result.reserve(static_cast<std::size_t>(n_parameters()));
  for (std::size_t k = 0; k < blocks().size(); ++k)
    for (Index i = 0, n = blocks()[k].size(); i < n; ++i)
      result.push_back(values[impl_->block_offset[k] + i * n + i]);
  return result;
}

namespace {

void add_term(std::vector<std::pair<Index, double>>& terms, Index variable, double value) {
  for (auto& [known, sum] : terms)
    if (known == variable) {
      sum += value;
      return;
    }
  terms.emplace_back(variable, value);
}

}  // namespace

std::vector<double> NormalOperator::coarse_matrix(const CoarseModes& modes) const {
  const FitProblem::Impl& problem = impl_->problem;
  const Index p = problem.n_parameters, m = modes.n_modes;
  require_size("mode", static_cast<long long>(modes.mode.size()), p);
  require_size("value", static_cast<long long>(modes.value.size()), p);
  const auto mode_of = [&](Index k) { return problem.held[k] ? -1 : modes.mode[k]; };
  const detail::FitRows view = problem.rows();
  Partition partition;
  partition.piece_begin.resize(static_cast<std::size_t>(m) + 1);
  std::iota(partition.piece_begin.begin(), partition.piece_begin.end(), 0);
  partition.piece_of.assign(partition.piece_begin.begin(), partition.piece_begin.end() - 1);
  partition.block_of.assign(static_cast<std::size_t>(m), 0);
  const std::vector<Index> edges = impl_->chunk_edges(8.0 * static_cast<double>(m * m) + 1.0);
  std::vector<Sums> parts(std::max<std::size_t>(edges.size(), 2) - 1);
  for (Sums& part : parts) part.values.assign(static_cast<std::size_t>(m * m), 0.0);
  for_each_chunk(edges, problem.n_threads, [&](Index chunk, Index begin, Index end) {
    double* const values = parts[chunk].values.data();
    std::vector<double> derivative(static_cast<std::size_t>(view.value_stride));
    std::vector<std::pair<Index, double>> terms;
    std::vector<Run> fine;
    const auto runs_of = [&](Index i, std::vector<Run>& runs) {
      terms.clear();
      fine.clear();
      detail::runs_of_row(view, impl_->slope, impl_->slope_stride, i, derivative, fine);
      for (const Run& run : fine)
        for (Index k = run.first; k < run.first + run.length; ++k)
          if (mode_of(k) >= 0) add_term(terms, mode_of(k), modes.value[k] * run.derivative[k - run.first]);
      std::sort(terms.begin(), terms.end());
      for (const auto& [mode, d] : terms) runs.push_back({mode, 1, &d});
    };
    add_groups(view, impl_->rows(), begin, end, partition, runs_of, [&](Index i) { return values + i * m; });
  });
  std::vector<double> result = tree_merge(std::move(parts)).values;
  const Restraints& r = problem.restraints;
  std::vector<double> products(static_cast<std::size_t>(m));
  for (Index k = 0; k < r.size(); ++k) {
    std::vector<Index> touched;
    for (Index i = r.row_offsets[k]; i < r.row_offsets[k + 1]; ++i)
      if (const Index mode = mode_of(r.column[i]); mode >= 0) {
        touched.push_back(mode);
        products[mode] += r.value[i] * modes.value[r.column[i]];
      }
    std::sort(touched.begin(), touched.end());
    touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
    for (const Index a : touched)
      for (const Index b : touched)
        if (a <= b) result[a * m + b] += r.weight[k] * products[a] * products[b];
    for (const Index a : touched) products[a] = 0.0;
  }
  for (Index i = 0; i < m; ++i)
    for (Index j = i + 1; j < m; ++j) result[j * m + i] = result[i * m + j];
  return result;
}

}  // namespace pyscale
