#include <algorithm>
#include <limits>
#include <pyscale/delta_cc_half.hpp>
#include <pyscale/error.hpp>  // for cat, require_size
#include <stdexcept>

namespace pyscale {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// Sums over groups of one bin: their number, means about a fixed centre, squares of these, squared errors.
struct BinSums {
  double n = 0, mean = 0, square = 0, error = 0;

  void add(const BinSums& o, double sign) {
    n += sign * o.n;
    mean += sign * o.mean;
    square += sign * o.square;
    error += sign * o.error;
  }

  double cc_half() const {
    if (n < 1.5) return nan;
    const double signal = std::max(square - mean * mean / n, 0.0) / (n - 1), noise = error / n;
    return signal + noise > 0 ? (signal - noise) / (signal + noise) : nan;
  }
};

/// Observations of one group that leave together, about the group's mean.
struct Part {
  double n = 0, sum = 0, square = 0;

  void add(double deviation) {
    n += 1;
    sum += deviation;
    square += deviation * deviation;
  }

  Part without(const Part& o) const { return {n - o.n, sum - o.sum, square - o.square}; }

  /// What the group of this mean adds to its bin; nothing unless it has two observations.
  BinSums in_bin(double origin) const {
    if (n < 1.5) return {};
    const double shift = sum / n, mean = origin + shift;
    const double squared_error = std::max(square - sum * shift, 0.0) / (n * (n - 1));
    return {1, mean, mean * mean, squared_error};
  }
};

void check(const CcHalfObservations& obs, Index n_bins, Index n_candidates) {
  const Index n_groups = obs.offsets.size() - 1;
  if (n_groups < 0 || obs.offsets[0] != 0 || obs.offsets[n_groups] != obs.intensity.size())
    throw std::invalid_argument("offsets must start at 0 and end at the number of observations");
  for (Index g = 0; g < n_groups; ++g)
    if (obs.offsets[g] > obs.offsets[g + 1])
      throw std::invalid_argument(cat("offsets must ascend, group ", g));
  require_size("bin", obs.bin.size(), n_groups);
  require_size("candidate", obs.candidate.size(), obs.intensity.size());
  for (const std::int32_t b : obs.bin)
    if (b >= n_bins) throw std::invalid_argument(cat("bin ", b, " of ", n_bins));
  for (const std::int32_t c : obs.candidate)
    if (c >= n_candidates) throw std::invalid_argument(cat("candidate ", c, " of ", n_candidates));
}

double mean_of(const CcHalfObservations& obs, Index group) {
  double sum = 0;
  for (Index i = obs.offsets[group]; i < obs.offsets[group + 1]; ++i) sum += obs.intensity[i];
  return sum / static_cast<double>(obs.offsets[group + 1] - obs.offsets[group]);
}

/// Calls body(group, mean) for the groups that count.
template <class Body>
void for_each_group(const CcHalfObservations& obs, Body&& body) {
  for (Index g = 0; g + 1 < obs.offsets.size(); ++g)
    if (obs.bin[g] >= 0 && obs.offsets[g + 1] - obs.offsets[g] > 1) body(g, mean_of(obs, g));
}

/// Mean of the groups' means in each bin: about it squares lose nothing.
std::vector<double> centres(const CcHalfObservations& obs, Index n_bins) {
  std::vector<double> sum(n_bins), n(n_bins);
  for_each_group(obs, [&](Index g, double mean) {
    sum[obs.bin[g]] += mean;
    n[obs.bin[g]] += 1;
  });
  for (Index b = 0; b < n_bins; ++b) sum[b] = n[b] > 0 ? sum[b] / n[b] : 0;
  return sum;
}

/// The running sums of all bins, and how each candidate would change them.
class Table {
 public:
  Table(const CcHalfObservations& obs, Index n_bins, Index n_candidates)
      : obs_(obs),
        n_bins_(n_bins),
        bins_(n_bins),
        changes_(n_bins * n_candidates),
        n_observations_(n_candidates),
        parts_(n_candidates) {}

  void add_group(Index g, double mean, double centre) {
    touched_.clear();
    Part whole;
    for (Index i = obs_.offsets[g]; i < obs_.offsets[g + 1]; ++i) {
      const double deviation = obs_.intensity[i] - mean;
      whole.add(deviation);
      const std::int32_t candidate = obs_.candidate[i];
      if (candidate < 0) continue;
      if (parts_[candidate].n == 0) touched_.push_back(candidate);
      parts_[candidate].add(deviation);
    }
    const BinSums all = whole.in_bin(mean - centre);
    bins_[obs_.bin[g]].add(all, 1);
    for (const std::int32_t candidate : touched_) {
      Part& part = parts_[candidate];
      BinSums& change = changes_[candidate * n_bins_ + obs_.bin[g]];
      change.add(whole.without(part).in_bin(mean - centre), 1);
      change.add(all, -1);
      n_observations_[candidate] += static_cast<Index>(part.n);
      part = {};
    }
  }

  /// Mean over the bins, changed by a candidate or by none.
  double cc_half(Index candidate) const {
    double sum = 0, n = 0;
    for (Index b = 0; b < n_bins_; ++b) {
      BinSums s = bins_[b];
      if (candidate >= 0) s.add(changes_[candidate * n_bins_ + b], 1);
      const double cc = s.cc_half();
      if (cc != cc) continue;
      sum += s.n * cc;
      n += s.n;
    }
    return n > 0 ? sum / n : nan;
  }

  DeltaCcHalf result() const {
    DeltaCcHalf r;
    r.cc_half = cc_half(-1);
    for (const BinSums& s : bins_) {
      r.bin_cc_half.push_back(s.cc_half());
      r.bin_n_groups.push_back(static_cast<Index>(s.n));
    }
    r.n_observations = n_observations_;
    for (Index c = 0; c < static_cast<Index>(n_observations_.size()); ++c) r.without.push_back(cc_half(c));
    return r;
  }

 private:
  const CcHalfObservations& obs_;
  Index n_bins_;
  std::vector<BinSums> bins_, changes_;
  std::vector<Index> n_observations_;
  // Observations in the group at hand, and which candidates have any.
  std::vector<Part> parts_;
  std::vector<std::int32_t> touched_;
};

}  // namespace

DeltaCcHalf delta_cc_half(const CcHalfObservations& observations, Index n_bins, Index n_candidates) {
  if (n_bins < 0 || n_candidates < 0)
    throw std::invalid_argument("numbers of bins and candidates must not be negative");
  check(observations, n_bins, n_candidates);
  const std::vector<double> centre = centres(observations, n_bins);
  Table table(observations, n_bins, n_candidates);
  for_each_group(observations,
                 [&](Index g, double mean) { table.add_group(g, mean, centre[observations.bin[g]]); });
  return table.result();
}

}  // namespace pyscale
