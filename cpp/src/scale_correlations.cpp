// Correlations between the errors of the scales of equivalents: docs/theory/merging.md, "Merged intensities".
#include <algorithm>
#include <cmath>
#include <pyscale/error.hpp>   // for cat, require_size
#include <pyscale/groups.hpp>  // for require_offsets
#include <pyscale/parallel.hpp>
#include <stdexcept>

#include "detail/cholesky.hpp"
#include "detail/fit_problem_impl.hpp"

namespace pyscale {
namespace {

using detail::kTile;
using detail::RowLayout;

constexpr Index kRowsPerChunk = 16384;
constexpr int kMates = 2;

/// Sums over the merged observations of a reflection, of u = w q^1/2.
struct Sums {
  Index n = 0;
  double u = 0.0, squares = 0.0;

  void merge(const Sums& other) {
    n += other.n;
    u += other.u;
    squares += other.squares;
  }

  /// Mean correlation of pairs whose sum has this variance; 1 where there is no pair.
  double correlation(double variance) const {
    const double pairs = u * u - squares;
    if (n < 2 || !(pairs > 0)) return 1.0;
    return std::clamp((variance - squares) / pairs, -1.0, 1.0);
  }
};

/// One reflection: its mates, and in how many of them something is merged.
struct Reflection {
  Index group = 0;
  Index mate[kMates] = {0, 0};  ///< number of the group, mates apart
  Sums sums[kMates];
  int n_mates = 0;

  Sums all() const {
    Sums result;
    for (int m = 0; m < n_mates; ++m) result.merge(sums[m]);
    return result;
  }
};

/// What a pass over reflections looks at, and its result.
struct Pass {
  detail::FitRows rows;
  const ScaleCorrelationInput& in;
  std::vector<Index> first_mate;  ///< (n_groups + 1) of each reflection
  std::vector<double> result;     ///< (n * 2)

  Reflection reflection(Index group) const {
    Reflection found;
    found.group = group;
    for (Index a = first_mate[group]; a < first_mate[group + 1]; ++a) {
      Sums sums;
      for (Index i = in.anomalous_offsets[a]; i < in.anomalous_offsets[a + 1]; ++i) {
        if (!(in.weight[i] > 0)) continue;
        const double u = in.weight[i] * std::sqrt(in.scale_variance[i]);
        sums.merge({1, u, u * u});
      }
      if (sums.n == 0) continue;
      found.mate[found.n_mates] = a;
      found.sums[found.n_mates++] = sums;
    }
    return found;
  }

  /// Writes the correlations of a reflection's rows, given the variances of sum w ln g of mates and of all.
  void write(const Reflection& r, const double* of_mate, double of_all) {
    const double together = r.all().correlation(of_all);
    for (int m = 0; m < r.n_mates; ++m) {
      const double apart = r.sums[m].correlation(of_mate[m]);
      for (Index i = in.anomalous_offsets[r.mate[m]]; i < in.anomalous_offsets[r.mate[m] + 1]; ++i)
        result[2 * i] = apart;
    }
    for (Index i = in.offsets[r.group]; i < in.offsets[r.group + 1]; ++i) result[2 * i + 1] = together;
  }

  /// w dln g/dp of a row, in the order of its values.
  void derivative(Index i, std::vector<double>& d) const {
    const double g = detail::evaluate_row(rows.layouts[rows.data_set[i]], rows.value + i * rows.value_stride,
                                          rows.start + i * rows.start_stride, in.parameters.data(),
                                          rows.given[i], d.data());
    const double f = in.weight[i] / g;
    for (double& x : d) x *= f;
  }

  template <class Visit>
  void for_each_window(Index i, const std::vector<double>& d, Visit&& visit) const {
    const RowLayout& layout = rows.layouts[rows.data_set[i]];
    for (int w = 0; w < layout.n_windows; ++w)
      visit(rows.start[i * rows.start_stride + w], layout.windows[w].length,
            d.data() + layout.windows[w].value_offset);
  }
};

/// Groups with mates apart inside each group, at most two. \throws std::invalid_argument
std::vector<Index> first_mates(Span<const Index> anomalous, Span<const Index> offsets) {
  std::vector<Index> first;
  Index a = 0;
  for (Index h = 0; h + 1 < offsets.size(); ++h) {
    first.push_back(a);
    while (a + 1 < anomalous.size() && anomalous[a] < offsets[h + 1]) ++a;
    if (anomalous[a] != offsets[h + 1] || a - first.back() > kMates)
      throw std::invalid_argument(cat("anomalous_offsets do not divide group ", h, " into mates"));
  }
  first.push_back(a);
  return first;
}

Pass make_pass(const detail::FitRows& rows, Index n, Index n_parameters, const ScaleCorrelationInput& in) {
  require_size("parameters", in.parameters.size(), n_parameters);
  require_size("weight", in.weight.size(), n);
  require_size("scale_variance", in.scale_variance.size(), n);
  require_offsets("offsets", in.offsets, n);
  require_offsets("anomalous_offsets", in.anomalous_offsets, n);
  for (Index i = 0; i < n; ++i)
    if (!(in.weight[i] >= 0) || !std::isfinite(in.weight[i]) || !(in.scale_variance[i] >= 0))
      throw DataError(cat("weight or scale_variance of observation ", i, " is negative or not finite"));
  return {rows, in, first_mates(in.anomalous_offsets, in.offsets),
          std::vector<double>(static_cast<std::size_t>(2 * n), 1.0)};
}

/// Halves of a symmetric matrix whose sum with its transpose is the matrix: tiles on and above the diagonal.
class HalfMatrix {
 public:
  HalfMatrix(Span<const double> matrix, Index p, int n_threads) : p_(p), n_tiles_((p + kTile - 1) / kTile) {
    tiles_.resize(n_tiles_ * (n_tiles_ + 1) / 2);
    for_each_chunk(fixed_size_edges(n_tiles_, 1), n_threads, [&](Index, Index column, Index) {
      for (Index row = 0; row <= column; ++row) {
        double* const tile = tiles_.tile(column * (column + 1) / 2 + row);
        std::fill(tile, tile + kTile * kTile, 0.0);
        const double f = row == column ? 0.5 : 1.0;
        for (Index i = 0; i < extent(row); ++i)
          for (Index j = 0; j < extent(column); ++j)
            tile[i * kTile + j] = f * matrix[(row * kTile + i) * p + column * kTile + j];
      }
    });
  }

  Index n_tiles() const { return n_tiles_; }
  int extent(Index tile) const { return static_cast<int>(std::min<Index>(kTile, p_ - tile * kTile)); }
  const double* tile(Index row, Index column) const { return tiles_.tile(column * (column + 1) / 2 + row); }

 private:
  Index p_, n_tiles_;
  detail::TileBuffer tiles_;
};

/// Up to kTile vectors over all parameters, and their products with a HalfMatrix.
class Panel {
 public:
  explicit Panel(const HalfMatrix& matrix)
      : matrix_(matrix),
        vector_(static_cast<std::size_t>(matrix.n_tiles() * kTile)),
        in_vector_(static_cast<std::size_t>(matrix.n_tiles())),
        in_panel_(in_vector_.size()) {
    x_.resize(matrix.n_tiles());
    y_.resize(matrix.n_tiles());
    std::fill(x_.tile(0), x_.tile(matrix.n_tiles()), 0.0);
  }

  int size() const { return n_; }

  /// Adds to the vector that comes next.
  void add(Index first, int length, const double* values) {
    for (int k = 0; k < length; ++k) vector_[first + k] += values[k];
    for (Index t = first / kTile; t <= (first + length - 1) / kTile; ++t) in_vector_[t] = 1;
  }

  void close_vector() {
    for (Index t = 0; t < matrix_.n_tiles(); ++t) {
      if (!in_vector_[t]) continue;
      double* const v = vector_.data() + t * kTile;
      for (int k = 0; k < kTile; ++k) x_.tile(t)[k * kTile + n_] = v[k];
      std::fill(v, v + kTile, 0.0);
      in_panel_[t] = 1;
      in_vector_[t] = 0;
    }
    ++n_;
  }

  /// x^T C x of all vectors, and x^T C y of each and the next; the panel is then empty.
  void forms(double* own, double* with_next) {
    const detail::CholeskyKernels& kernels = detail::best_cholesky_kernels();
    std::fill(own, own + kTile, 0.0);
    std::fill(with_next, with_next + kTile, 0.0);
    for (Index column = 0; column < matrix_.n_tiles(); ++column) {
      if (!in_panel_[column]) continue;
      double* const y = y_.tile(column);
      std::fill(y, y + kTile * kTile, 0.0);
      for (Index row = 0; row <= column; ++row)
        if (in_panel_[row])
          kernels.subtract_product(matrix_.tile(row, column), x_.tile(row), y, matrix_.extent(row),
                                   matrix_.extent(column), n_);
      const double* x = x_.tile(column);
      for (int k = 0; k < matrix_.extent(column); ++k) {
        const double *xk = x + k * kTile, *yk = y + k * kTile;
        for (int v = 0; v < n_; ++v) own[v] -= 2.0 * xk[v] * yk[v];
        for (int v = 0; v + 1 < n_; ++v) with_next[v] -= xk[v] * yk[v + 1] + xk[v + 1] * yk[v];
      }
    }
    for (Index t = 0; t < matrix_.n_tiles(); ++t)
      if (in_panel_[t]) std::fill(x_.tile(t), x_.tile(t + 1), 0.0);
    std::fill(in_panel_.begin(), in_panel_.end(), 0);
    n_ = 0;
  }

 private:
  const HalfMatrix& matrix_;
  std::vector<double> vector_;
  std::vector<std::uint8_t> in_vector_, in_panel_;
  detail::TileBuffer x_, y_;
  int n_ = 0;
};

/// Reflections whose vectors are in a panel.
class Batch {
 public:
  Batch(Pass& pass, const HalfMatrix& matrix)
      : pass_(pass), panel_(matrix), derivative_(static_cast<std::size_t>(pass.rows.value_stride)) {}

  void add(const Reflection& r) {
    if (panel_.size() + r.n_mates > kTile) finish();
    for (int m = 0; m < r.n_mates; ++m) {
      const auto& offsets = pass_.in.anomalous_offsets;
      for (Index i = offsets[r.mate[m]]; i < offsets[r.mate[m] + 1]; ++i) {
        if (!(pass_.in.weight[i] > 0)) continue;
        pass_.derivative(i, derivative_);
        pass_.for_each_window(
            i, derivative_, [&](Index first, int length, const double* d) { panel_.add(first, length, d); });
      }
      panel_.close_vector();
    }
    reflections_.push_back(r);
  }

  void finish() {
    double own[kTile], with_next[kTile];
    panel_.forms(own, with_next);
    int v = 0;
    for (const Reflection& r : reflections_) {
      const double all = r.n_mates == 1 ? own[v] : own[v] + own[v + 1] + 2.0 * with_next[v];
      pass_.write(r, own + v, all);
      v += r.n_mates;
    }
    reflections_.clear();
  }

 private:
  Pass& pass_;
  Panel panel_;
  std::vector<double> derivative_;
  std::vector<Reflection> reflections_;
};

/// The covariances inside each data set: its own parameters, then the shared ones.
class LocalForms {
 public:
  LocalForms(const Pass& pass, const std::vector<ParameterBlock>& blocks, const std::vector<Index>& place,
             Span<const double> covariance)
      : pass_(pass),
        blocks_(blocks),
        place_(place),
        covariance_(covariance),
        derivative_(static_cast<std::size_t>(pass.rows.value_stride)) {
    Index longest = 0;
    for (const ParameterBlock& b : blocks) longest = std::max(longest, b.size());
    vector_.resize(static_cast<std::size_t>(longest + blocks.back().size()));
    is_touched_.resize(vector_.size());
  }

  /// sum over data sets of the standard deviation of sum w ln g over rows [begin, end).
  double deviation(Index begin, Index end) {
    double total = 0.0;
    for (Index i = begin; i < end;) {
      const std::int32_t set = pass_.rows.data_set[i];
      used_.clear();
      for (; i < end && pass_.rows.data_set[i] == set; ++i)
        if (pass_.in.weight[i] > 0) used_.push_back(i);
      if (used_.size() == 1)
        total += pass_.in.weight[used_[0]] * std::sqrt(pass_.in.scale_variance[used_[0]]);
      if (used_.size() < 2) continue;
      for (const Index k : used_) add(k, set);
      total += std::sqrt(std::max(finish(set), 0.0));
    }
    return total;
  }

 private:
  void add(Index i, std::int32_t set) {
    pass_.derivative(i, derivative_);
    const ParameterBlock own = blocks_[set], shared = blocks_.back();
    pass_.for_each_window(i, derivative_, [&](Index first, int length, const double* d) {
      first -= first < shared.begin ? own.begin : shared.begin - own.size();
      for (int k = 0; k < length; ++k) {
        vector_[first + k] += d[k];
        if (is_touched_[first + k]) continue;
        is_touched_[first + k] = 1;
        touched_.push_back(first + k);
      }
    });
  }

  double finish(std::int32_t set) {
    std::sort(touched_.begin(), touched_.end());
    const Index size = blocks_[set].size() + blocks_.back().size();
    double form = 0.0;
    for (const Index i : touched_) {
      const double* const row = covariance_.data() + place_[set] + i * size;
      double inner = 0.0;
      for (const Index j : touched_) inner += row[j] * vector_[j];
      form += vector_[i] * inner;
    }
    for (const Index i : touched_) vector_[i] = 0.0, is_touched_[i] = 0;
    touched_.clear();
    return form;
  }

  const Pass& pass_;
  const std::vector<ParameterBlock>& blocks_;
  const std::vector<Index>& place_;
  Span<const double> covariance_;
  std::vector<double> derivative_, vector_;
  std::vector<std::uint8_t> is_touched_;
  std::vector<Index> touched_, used_;
};

std::vector<Index> chunks(const ScaleCorrelationInput& in) {
  return balanced_group_edges(in.offsets, in.weight.size() / kRowsPerChunk + 1);
}

}  // namespace

std::vector<double> FitProblem::scale_correlations(const ScaleCorrelationInput& input,
                                                   Span<const double> covariance) const {
  const Index p = impl_->n_parameters;
  require_size("covariance", covariance.size(), p * p);
  Pass pass = make_pass(impl_->rows(), static_cast<Index>(impl_->intensity.size()), n_parameters(), input);
  const HalfMatrix matrix(covariance, p, impl_->n_threads);
  for_each_chunk(chunks(input), impl_->n_threads, [&](Index, Index begin, Index end) {
    Batch batch(pass, matrix);
    for (Index group = begin; group < end; ++group) {
      const Reflection r = pass.reflection(group);
      if (r.all().n > 1) batch.add(r);
    }
    batch.finish();
  });
  return std::move(pass.result);
}

std::vector<double> FitProblem::local_scale_correlations(const ScaleCorrelationInput& input,
                                                         Span<const double> covariance) const {
  const std::vector<ParameterBlock>& blocks = impl_->blocks;
  std::vector<Index> place{0};
  for (std::size_t k = 0; k + 1 < blocks.size(); ++k) {
    const Index size = blocks[k].size() + blocks.back().size();
    place.push_back(place.back() + size * size);
  }
  require_size("covariance", covariance.size(), place.back());
  Pass pass = make_pass(impl_->rows(), static_cast<Index>(impl_->intensity.size()), n_parameters(), input);
  for_each_chunk(chunks(input), impl_->n_threads, [&](Index, Index begin, Index end) {
    LocalForms forms(pass, blocks, place, covariance);
    for (Index group = begin; group < end; ++group) {
      const Reflection r = pass.reflection(group);
      if (r.all().n < 2) continue;
      double of_mate[kMates] = {0.0, 0.0}, sum = 0.0;
      for (int m = 0; m < r.n_mates; ++m) {
        const double deviation =
            forms.deviation(input.anomalous_offsets[r.mate[m]], input.anomalous_offsets[r.mate[m] + 1]);
        of_mate[m] = deviation * deviation;
        sum += deviation;
      }
      pass.write(r, of_mate, sum * sum);
    }
  });
  return std::move(pass.result);
}

}  // namespace pyscale
