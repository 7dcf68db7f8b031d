#include <algorithm>
#include <cmath>
#include <numeric>
#include <pyscale/error.hpp>     // for require_size
#include <pyscale/groups.hpp>    // for require_offsets
#include <pyscale/parallel.hpp>  // for for_each_chunk
#include <pyscale/rows.hpp>
#include <stdexcept>

namespace pyscale {
namespace {

constexpr Index rows_per_chunk = 65536;
constexpr double strong = 3, weak = 1, lowest_quantile = 0.005;
constexpr std::size_t least_rows = 50;

double low_quantile(std::vector<double>& values) {
  const double place = lowest_quantile * static_cast<double>(values.size() - 1);
  const auto first = values.begin() + static_cast<std::ptrdiff_t>(place);
  std::nth_element(values.begin(), first, values.end());
  const double low = *first, share = place - std::floor(place);
  if (share == 0) return low;
  const double high = *std::min_element(first + 1, values.end());
  return share < 0.5 ? low + (high - low) * share : high - (high - low) * (1 - share);
}

// Edges of at most so many chunks, each of which has sums for all data sets.
std::vector<Index> few_edges(const PairsView& pairs) {
  constexpr Index most_chunks = 8;
  return balanced_group_edges(pairs.offsets,
                              std::min(most_chunks, pairs.data_set.size() / rows_per_chunk + 1));
}

void require_pairs(const PairsView& pairs, Span<const double> x) {
  require_offsets("offsets", pairs.offsets, pairs.data_set.size());
  require_size("weight", pairs.weight.size(), pairs.data_set.size());
  if (!pairs.value.empty()) require_size("value", pairs.value.size(), pairs.data_set.size());
  for (const std::int32_t k : pairs.data_set)
    if (k < 0 || k >= x.size()) throw std::invalid_argument(cat("there is no data set ", k));
}

// Calls body(pair, residual) for all pairs of some groups.
template <class Body>
void for_residuals(const PairsView& pairs, Span<const double> x, Index first, Index last, Body&& body) {
  const auto left = [&](Index i) {
    return (pairs.value.empty() ? 0.0 : pairs.value[i]) - x[pairs.data_set[i]];
  };
  for (Index h = first; h < last; ++h) {
    double sum = 0, weight = 0;
    for (Index i = pairs.offsets[h]; i < pairs.offsets[h + 1]; ++i) {
      sum += pairs.weight[i] * left(i);
      weight += pairs.weight[i];
    }
    const double mean = weight > 0 ? sum / weight : 0.0;
    for (Index i = pairs.offsets[h]; i < pairs.offsets[h + 1]; ++i) body(i, left(i) - mean);
  }
}

struct Sums {
  std::vector<double> values;

  void merge(const Sums& other) {
    for (std::size_t k = 0; k < values.size(); ++k) values[k] += other.values[k];
  }
};

}  // namespace

RowsOfDataSets rows_of_data_sets(Span<const std::int32_t> data_set, Index n_data_sets) {
  RowsOfDataSets result;
  result.offsets.assign(static_cast<std::size_t>(n_data_sets) + 1, 0);
  for (const std::int32_t k : data_set) {
    if (k < 0 || k >= n_data_sets) throw std::invalid_argument(cat("there is no data set ", k));
    ++result.offsets[k + 1];
  }
  std::partial_sum(result.offsets.begin(), result.offsets.end(), result.offsets.begin());
  std::vector<Index> next(result.offsets.begin(), result.offsets.end() - 1);
  result.row.resize(static_cast<std::size_t>(data_set.size()));
  for (Index i = 0; i < data_set.size(); ++i) result.row[next[data_set[i]]++] = i;
  return result;
}

std::vector<Index> canonical_rank(Span<const std::int32_t> data_set, Span<const double> image_z,
                                  Span<const double> intensity, Index n_data_sets, int n_threads) {
  require_size("image_z", image_z.size(), data_set.size());
  require_size("intensity", intensity.size(), data_set.size());
  RowsOfDataSets rows = rows_of_data_sets(data_set, n_data_sets);
  std::vector<Index> rank(rows.row.size());
  const auto before = [&](Index a, Index b) {
    if (image_z[a] != image_z[b]) return image_z[a] < image_z[b];
    if (intensity[a] != intensity[b]) return intensity[a] < intensity[b];
    return a < b;
  };
  const auto edges = balanced_group_edges(rows.offsets, data_set.size() / rows_per_chunk + 1);
  for_each_chunk(edges, n_threads, [&](Index, Index first, Index last) {
    for (Index k = first; k < last; ++k) {
      std::sort(rows.row.begin() + rows.offsets[k], rows.row.begin() + rows.offsets[k + 1], before);
      for (Index i = rows.offsets[k]; i < rows.offsets[k + 1]; ++i) rank[rows.row[i]] = i;
    }
  });
  return rank;
}

std::vector<double> count_variance_factors(Span<const double> intensity, Span<const double> variance,
                                           Span<const double> conversion, Span<const std::int32_t> data_set,
                                           Index n_data_sets, int n_threads) {
  for (const Index size : {intensity.size(), variance.size(), conversion.size()})
    require_size("intensity, variance or conversion", size, data_set.size());
  const RowsOfDataSets rows = rows_of_data_sets(data_set, n_data_sets);
  std::vector<double> factor(static_cast<std::size_t>(n_data_sets));
  const auto edges = balanced_group_edges(rows.offsets, data_set.size() / rows_per_chunk + 1);
  for_each_chunk(edges, n_threads, [&](Index, Index first, Index last) {
    std::vector<double> slopes, backgrounds, values;
    for (Index k = first; k < last; ++k) {
      slopes.clear(), backgrounds.clear(), values.clear();
      for (Index i = rows.offsets[k]; i < rows.offsets[k + 1]; ++i) {
        const Index row = rows.row[i];
        const double scale = conversion[row];
        if (!(scale > 0)) continue;
        const double value = intensity[row] / scale, spread = variance[row] / (scale * scale);
        const double sigma = std::sqrt(spread);
        if (value > strong * sigma) values.push_back(value), slopes.push_back(spread);
        if (std::abs(value) < weak * sigma) backgrounds.push_back(spread);
      }
      if (slopes.size() < least_rows) continue;
      const double background = backgrounds.size() < least_rows ? 0 : low_quantile(backgrounds);
      for (std::size_t i = 0; i < slopes.size(); ++i) slopes[i] = (slopes[i] - background) / values[i];
      factor[k] = std::max(0.0, low_quantile(slopes));
    }
  });
  return factor;
}

std::vector<double> pair_residuals(const PairsView& pairs, Span<const double> x, int n_threads) {
  require_pairs(pairs, x);
  std::vector<double> residual(static_cast<std::size_t>(pairs.data_set.size()));
  for_each_chunk(few_edges(pairs), n_threads, [&](Index, Index first, Index last) {
    for_residuals(pairs, x, first, last, [&](Index i, double r) { residual[i] = r; });
  });
  return residual;
}

std::vector<double> pair_residual_sums(const PairsView& pairs, Span<const double> x, int n_threads) {
  require_pairs(pairs, x);
  const auto edges = few_edges(pairs);
  const Sums none{std::vector<double>(static_cast<std::size_t>(x.size()))};
  if (edges.size() < 2) return none.values;
  std::vector<Sums> parts(edges.size() - 1, none);
  for_each_chunk(edges, n_threads, [&](Index chunk, Index first, Index last) {
    std::vector<double>& sums = parts[chunk].values;
    for_residuals(pairs, x, first, last,
                  [&](Index i, double r) { sums[pairs.data_set[i]] += pairs.weight[i] * r; });
  });
  return tree_merge(std::move(parts)).values;
}

}  // namespace pyscale
