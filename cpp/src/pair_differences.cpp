#include <algorithm>
#include <cmath>
#include <cstdint>
#include <pyscale/error.hpp>  // for require_size
#include <pyscale/pair_differences.hpp>
#include <pyscale/parallel.hpp>  // for for_each_chunk
#include <stdexcept>

namespace pyscale {
namespace {

constexpr Index rows_per_chunk = 16384, max_chunks = 64;

struct Bins {
  double start, width;
  Index n;

  Index of(double dose) const { return std::clamp<Index>(static_cast<Index>(dose / width), 0, n - 1); }
};

void resize(PairSums& sums, std::size_t n) {
  sums.difference.resize(n);
  sums.intensity.resize(n);
  sums.n_pairs.resize(n);
}

void add(PairSums& sums, std::size_t bin, double difference, double intensity) {
  sums.difference[bin] += difference;
  sums.intensity[bin] += intensity;
  sums.n_pairs[bin] += 1;
}

void merge(PairSums& sums, const PairSums& other) {
  for (std::size_t k = 0; k < sums.n_pairs.size(); ++k) {
    sums.difference[k] += other.difference[k];
    sums.intensity[k] += other.intensity[k];
    sums.n_pairs[k] += other.n_pairs[k];
  }
}

/// All pairs of the rows [begin, end) of one series, in the order of their doses.
void add_series(const DosedObservations& obs, std::vector<Index>::iterator begin,
                std::vector<Index>::iterator end, const Bins& bins, std::size_t part, PairDifferences& out) {
  std::stable_sort(begin, end, [&](Index a, Index b) { return obs.dose[a] < obs.dose[b]; });
  const Index n = end - begin, m = std::min(n, max_paired);
  for (Index a = 1; a < m; ++a) {
    const Index i = begin[a * n / m];
    const std::size_t dose_bin = bins.of(obs.dose[i] - bins.start);
    for (Index b = 0; b < a; ++b) {
      const Index j = begin[b * n / m];
      const double difference = std::abs(obs.intensity[i] - obs.intensity[j]),
                   intensity = 0.5 * (obs.intensity[i] + obs.intensity[j]);
      add(out.by_difference, part + bins.of(obs.dose[i] - obs.dose[j]), difference, intensity);
      add(out.by_dose, dose_bin, difference, intensity);
    }
  }
}

void add_group(const DosedObservations& obs, Index g, const Bins& bins, std::size_t part,
               std::vector<Index>& rows, PairDifferences& out) {
  rows.clear();
  for (Index i = obs.offsets[g]; i < obs.offsets[g + 1]; ++i)
    if (obs.series[i] >= 0) rows.push_back(i);
  auto less = [&](Index a, Index b) { return obs.series[a] < obs.series[b]; };
  if (!std::is_sorted(rows.begin(), rows.end(), less)) std::stable_sort(rows.begin(), rows.end(), less);
  for (auto begin = rows.begin(); begin != rows.end();) {
    const auto end = std::upper_bound(begin, rows.end(), *begin, less);
    add_series(obs, begin, end, bins, part, out);
    begin = end;
  }
}

void check(const DosedObservations& obs, double width, Index n_bins, Index n_parts) {
  require_size("dose", obs.dose.size(), obs.intensity.size());
  require_size("series", obs.series.size(), obs.intensity.size());
  if (obs.offsets.size() < 1 || obs.offsets[0] != 0 ||
      obs.offsets[obs.offsets.size() - 1] != obs.intensity.size() ||
      !std::is_sorted(obs.offsets.begin(), obs.offsets.end()))
    throw std::invalid_argument("offsets must ascend from 0 to the number of observations");
  if (!(width > 0) || n_bins < 1 || n_parts < 1)
    throw std::invalid_argument("width, n_bins and n_parts must be positive");
}

}  // namespace

PairDifferences pair_differences(const DosedObservations& observations, double start, double width,
                                 Index n_bins, Index n_parts, int n_threads) {
  check(observations, width, n_bins, n_parts);
  const std::vector<Index> edges = balanced_group_edges(
      observations.offsets, std::min(max_chunks, observations.intensity.size() / rows_per_chunk + 1));
  std::vector<PairDifferences> parts(std::max<std::size_t>(edges.size(), 1));
  for (PairDifferences& p : parts) {
    resize(p.by_difference, static_cast<std::size_t>(n_parts * n_bins));
    resize(p.by_dose, static_cast<std::size_t>(n_bins));
  }
  const Bins bins{start, width, n_bins};
  for_each_chunk(edges, n_threads, [&](Index chunk, Index begin, Index end) {
    std::vector<Index> rows;
    for (Index g = begin; g < end; ++g)
      add_group(observations, g, bins, static_cast<std::size_t>(g % n_parts * n_bins), rows,
                parts[chunk + 1]);
  });
  for (std::size_t k = 1; k < parts.size(); ++k) {
    merge(parts[0].by_difference, parts[k].by_difference);
    merge(parts[0].by_dose, parts[k].by_dose);
  }
  return std::move(parts[0]);
}

}  // namespace pyscale
