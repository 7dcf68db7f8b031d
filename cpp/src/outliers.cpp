#include <algorithm>
#include <cmath>
#include <limits>
#include <pyscale/error.hpp>   // for require_size
#include <pyscale/groups.hpp>  // for require_offsets
#include <pyscale/outliers.hpp>
#include <pyscale/parallel.hpp>  // for for_each_chunk

namespace pyscale {
namespace {

constexpr double max_weight_over_median = 10.0;
// Below this share of the group's total, the sum over the other rows is rounding error.
constexpr double negligible_share = 1e-13;
constexpr Index rows_per_chunk = 4096;

struct Observations {
  Span<const double> intensity, weight, g;
  Span<const std::uint8_t> excluded;
  ReferenceView reference = {};

  bool usable(Index i) const {
    return g[i] > 0 && weight[i] > 0 && std::isfinite(weight[i]) && std::isfinite(intensity[i]) &&
           (excluded.empty() || excluded[i] == 0);
  }
};

struct Row {
  Index position;
  double wgi, wgg, variance;
};

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<Index>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return 0.5 * (*middle + *std::max_element(values.begin(), middle));
}

// The usable rows of one group with limited weights. Buffers are kept from group to group.
class GroupTest {
 public:
  explicit GroupTest(const Observations& obs) : obs_(obs) {}

  /// Loads a group; returns its number of observations, the reference included.
  Index load(Index group, Index begin, Index end) {
    rows_.clear();
    weights_.clear();
    known_weight_ = obs_.reference.weight_of(group);
    known_ = known_weight_ > 0 ? obs_.reference.intensity[group] : 0.0;
    for (Index i = begin; i < end; ++i)
      if (obs_.usable(i)) {
        rows_.push_back({i, 0, 0, 0});
        weights_.push_back(obs_.weight[i]);
      }
    if (rows_.empty()) return 0;
    const double limit = weight_limit();
    for (Row& row : rows_) {
      const Index i = row.position;
      const double w = std::min(obs_.weight[i], limit);
      row = {i, w * obs_.g[i] * obs_.intensity[i], w * obs_.g[i] * obs_.g[i], 1 / w};
    }
    sum();
    return size() + has_reference();
  }

  bool has_reference() const { return known_weight_ > 0; }

  /// z of the reference against the rows.
  double reference_z() const {
    const double rows = wgg_ - known_weight_;
    if (!(rows > negligible_share * wgg_)) return 0.0;
    const double deviation = known_ - (wgi_ - known_weight_ * known_) / rows;
    return std::abs(deviation) / std::sqrt(1 / known_weight_ + 1 / rows);
  }

  void set_reference_aside() {
    known_weight_ = 0;
    sum();
  }

  Index size() const { return static_cast<Index>(rows_.size()); }
  Index position(Index k) const { return rows_[k].position; }

  double z(Index k) const {
    const Row& row = rows_[k];
    const double others = wgg_ - row.wgg, g = obs_.g[row.position];
    if (!(others > negligible_share * wgg_)) return undefined_z;
    const double deviation = obs_.intensity[row.position] - g * (wgi_ - row.wgi) / others;
    return std::abs(deviation) / std::sqrt(row.variance + g * g / others);
  }

  /// z of a row against the mean of all, itself included.
  double z_of_mean(Index k) const {
    const Row& row = rows_[k];
    const double g = obs_.g[row.position];
    const double deviation = obs_.intensity[row.position] - g * wgi_ / wgg_;
    return std::abs(deviation) / std::sqrt(row.variance + g * g / wgg_);
  }

  void remove(Index k) {
    rows_.erase(rows_.begin() + k);
    sum();
  }

 private:
  double weight_limit() {
    const auto [least, greatest] = std::minmax_element(weights_.begin(), weights_.end());
    const bool within = *greatest <= max_weight_over_median * *least;
    return within ? *greatest : max_weight_over_median * median(weights_);
  }

  void sum() {
    wgi_ = known_weight_ * known_;
    wgg_ = known_weight_;
    for (const Row& row : rows_) {
      wgi_ += row.wgi;
      wgg_ += row.wgg;
    }
  }

  const Observations& obs_;
  std::vector<Row> rows_;
  std::vector<double> weights_;
  double known_ = 0, known_weight_ = 0;
  double wgi_ = 0, wgg_ = 0;
};

// Calls body(test) for every group, with its usable rows loaded.
template <class Body>
void for_each_group(const Observations& obs, Span<const Index> offsets, int n_threads, Body&& body) {
  const Index n = obs.intensity.size();
  require_size("weight", obs.weight.size(), n);
  require_size("g", obs.g.size(), n);
  if (!obs.excluded.empty()) require_size("excluded", obs.excluded.size(), n);
  require_offsets("offsets", offsets, n);
  const auto edges = balanced_group_edges(offsets, n / rows_per_chunk + 1);
  for_each_chunk(edges, n_threads, [&](Index, Index first_group, Index last_group) {
    GroupTest test(obs);
    for (Index h = first_group; h < last_group; ++h)
      if (test.load(h, offsets[h], offsets[h + 1]) > 1) body(test);
  });
}

}  // namespace

std::vector<double> leave_one_out_z(Span<const double> intensity, Span<const double> weight,
                                    Span<const double> g, Span<const Index> offsets,
                                    Span<const std::uint8_t> excluded, int n_threads) {
  std::vector<double> z(static_cast<std::size_t>(intensity.size()), std::numeric_limits<double>::quiet_NaN());
  for_each_group({intensity, weight, g, excluded}, offsets, n_threads, [&](const GroupTest& test) {
    for (Index k = 0; k < test.size(); ++k) z[test.position(k)] = test.z(k);
  });
  return z;
}

std::vector<std::uint8_t> find_outliers(Span<const double> intensity, Span<const double> weight,
                                        Span<const double> g, Span<const Index> offsets, double zmax,
                                        Span<const std::uint8_t> excluded, int n_threads,
                                        const ReferenceView& reference) {
  reference.validate(offsets.size() - 1);
  std::vector<std::uint8_t> outlier(static_cast<std::size_t>(intensity.size()), 0);
  for_each_group({intensity, weight, g, excluded, reference}, offsets, n_threads, [&](GroupTest& test) {
    while (test.size() > (test.has_reference() ? 0 : 2)) {
      Index worst = 0;
      double z_worst = test.z(0);
      for (Index k = 1; k < test.size(); ++k)
        if (const double z = test.z(k); z > z_worst) {
          worst = k;
          z_worst = z;
        }
      if (test.has_reference() && test.size() > 1) {
        if (const double z = test.reference_z(); z > z_worst && z > zmax) {
          test.set_reference_aside();
          continue;
        }
      }
      if (!(z_worst > zmax)) return;
      outlier[test.position(worst)] = 1;
      test.remove(worst);
    }
  });
  return outlier;
}

std::vector<std::uint8_t> find_outliers_at_once(Span<const double> intensity, Span<const double> weight,
                                                Span<const double> g, Span<const Index> offsets, double zmax,
                                                Span<const std::uint8_t> excluded, int n_threads,
                                                const ReferenceView& reference) {
  reference.validate(offsets.size() - 1);
  std::vector<std::uint8_t> outlier(static_cast<std::size_t>(intensity.size()), 0);
  for_each_group({intensity, weight, g, excluded, reference}, offsets, n_threads, [&](const GroupTest& test) {
    for (Index k = 0; k < test.size(); ++k) outlier[test.position(k)] = test.z_of_mean(k) > zmax;
  });
  return outlier;
}

std::vector<std::uint8_t> disputed_pairs(Span<const double> intensity, Span<const double> weight,
                                         Span<const double> g, Span<const Index> offsets, double zmax,
                                         Span<const std::uint8_t> excluded, int n_threads,
                                         const ReferenceView& reference) {
  reference.validate(offsets.size() - 1);
  std::vector<std::uint8_t> disputed(static_cast<std::size_t>(intensity.size()), 0);
  for_each_group({intensity, weight, g, excluded, reference}, offsets, n_threads, [&](const GroupTest& test) {
    if (test.size() != 2 || test.has_reference() || !(test.z(0) > zmax)) return;
    disputed[test.position(0)] = disputed[test.position(1)] = 1;
  });
  return disputed;
}

Comparison compare_with_others(Span<const double> intensity, Span<const double> weight, Span<const double> g,
                               Span<const Index> offsets, Span<const std::uint8_t> merged, int n_threads) {
  const Observations obs{intensity, weight, g, {}};
  const Index n = intensity.size();
  require_size("weight", weight.size(), n);
  require_size("g", g.size(), n);
  require_size("merged", merged.size(), n);
  require_offsets("offsets", offsets, n);
  const std::vector<double> undefined(static_cast<std::size_t>(n), std::numeric_limits<double>::quiet_NaN());
  Comparison result{undefined, undefined, undefined};
  const auto edges = balanced_group_edges(offsets, n / rows_per_chunk + 1);
  for_each_chunk(edges, n_threads, [&](Index, Index first_group, Index last_group) {
    for (Index h = first_group; h < last_group; ++h) {
      double wgg = 0, wgi = 0;
      const auto counts = [&](Index i) { return merged[i] != 0 && obs.usable(i); };
      for (Index i = offsets[h]; i < offsets[h + 1]; ++i)
        if (counts(i)) {
          wgg += weight[i] * g[i] * g[i];
          wgi += weight[i] * g[i] * intensity[i];
        }
      for (Index i = offsets[h]; i < offsets[h + 1]; ++i) {
        if (!obs.usable(i)) continue;
        const double own = counts(i) ? weight[i] * g[i] * g[i] : 0.0;
        const double others = wgg - own;
        if (!(others > negligible_share * wgg)) continue;
        const double x = intensity[i] / g[i];
        result.mean[i] = (wgi - own * x) / others;
        result.sigma[i] = std::sqrt(1 / (weight[i] * g[i] * g[i]) + 1 / others);
        result.z[i] = (x - result.mean[i]) / result.sigma[i];
      }
    }
  });
  return result;
}

std::vector<double> sum_over_cells(Span<const std::int32_t> key, Span<const double> deviation,
                                   Span<const double> square, Span<const double> signal,
                                   Span<const std::uint8_t> rejected, Index n_cells) {
  const Index n = key.size();
  require_size("deviation", deviation.size(), n);
  require_size("square", square.size(), n);
  require_size("signal", signal.size(), n);
  require_size("rejected", rejected.size(), n);
  std::vector<double> sums(static_cast<std::size_t>(n_cells * n_cell_sums), 0.0);
  for (Index i = 0; i < n; ++i) {
    if (key[i] < 0 || key[i] >= n_cells || !std::isfinite(deviation[i])) continue;
    double* const cell = sums.data() + static_cast<Index>(key[i]) * n_cell_sums;
    cell[0] += 1;
    cell[1] += deviation[i];
    cell[2] += square[i];
    cell[3] += deviation[i] * signal[i];
    cell[4] += signal[i] * signal[i];
    cell[5] += rejected[i] != 0;
  }
  return sums;
}

}  // namespace pyscale
