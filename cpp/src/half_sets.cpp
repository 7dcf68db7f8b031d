#include <algorithm>
#include <cmath>
#include <limits>
#include <pyscale/error.hpp>  // for require_size
#include <pyscale/half_sets.hpp>
#include <pyscale/parallel.hpp>  // for for_each_chunk
#include <pyscale/random.hpp>    // for KeyedRandom
#include <stdexcept>

namespace pyscale {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr Index rows_per_chunk = 16384, pairs_per_chunk = 2048, max_chunks = 64;
// Splits are drawn side by side, in blocks of this many lanes.
constexpr int lanes = 4;

std::vector<Index> group_edges(const ScaledObservations& obs) {
  return balanced_group_edges(obs.offsets, std::min(max_chunks, obs.intensity.size() / rows_per_chunk + 1));
}

/// Sums over the first halves of one group, a lane for each split, and over the whole group.
struct SplitSums {
  alignas(64) std::array<double, max_splits> n, i, w, wi;
  double all_n = 0, all_i = 0, all_w = 0, all_wi = 0;
};

/// One block of splits. Sampling without replacement: the chance of the first half is what it still lacks
/// over what is left. Draws have 23 bits, so that a float holds their product with what is left below it.
void draw_block(const ScaledObservations& obs, Index begin, Index end, KeyedRandom& random, int first,
                SplitSums& out) {
  std::array<std::uint32_t, lanes> state;
  std::array<std::int32_t, lanes> lacking, taken;
  const Index n = end - begin;
  for (int s = 0; s < lanes; ++s) {
    const std::uint64_t draw = random.next();
    state[s] = static_cast<std::uint32_t>(draw) | 1u;
    lacking[s] = static_cast<std::int32_t>(n / 2 + (n % 2 == 1 ? static_cast<Index>(draw >> 63) : 0));
  }
  const std::array<std::int32_t, lanes> wanted = lacking;
  std::array<double, lanes> i{}, w{}, wi{};
  for (Index k = begin; k < end; ++k) {
    const float left = static_cast<float>(end - k) * 0x1p-23f;
    const double weight = 1 / obs.variance[k], value = obs.intensity[k], product = weight * value;
    // The sign of the difference is the outcome: without branches, compilers turn this into vector
    // instructions.
    for (int s = 0; s < lanes; ++s) {
      std::uint32_t x = state[s];
      x ^= x << 13;
      x ^= x >> 17;
      x ^= x << 5;
      state[s] = x;
      const auto drawn =
          static_cast<std::int32_t>(static_cast<float>(static_cast<std::int32_t>(x >> 9)) * left);
      taken[s] = static_cast<std::int32_t>(static_cast<std::uint32_t>(drawn - lacking[s]) >> 31);
      lacking[s] -= taken[s];
    }
    for (int s = 0; s < lanes; ++s) {
      const double share = static_cast<double>(taken[s]);
      i[s] += share * value;
      w[s] += share * weight;
      wi[s] += share * product;
    }
  }
  for (int s = 0; s < lanes; ++s) {
    out.n[first + s] = static_cast<double>(wanted[s]);
    out.i[first + s] = i[s];
    out.w[first + s] = w[s];
    out.wi[first + s] = wi[s];
  }
}

/// All splits of a group of two or more observations; `n_splits` is rounded up to whole blocks.
void draw_splits(const ScaledObservations& obs, Index g, std::uint64_t key, int n_splits, SplitSums& out) {
  const Index begin = obs.offsets[g], end = obs.offsets[g + 1];
  KeyedRandom random(key);
  out.all_n = static_cast<double>(end - begin);
  out.all_i = out.all_w = out.all_wi = 0;
  for (Index k = begin; k < end; ++k) {
    const double weight = 1 / obs.variance[k];
    out.all_i += obs.intensity[k];
    out.all_w += weight;
    out.all_wi += weight * obs.intensity[k];
  }
  for (int first = 0; first < n_splits; first += lanes) draw_block(obs, begin, end, random, first, out);
}

/// Values of both halves of a reflection in every split.
struct Halves {
  alignas(64) std::array<double, max_splits> x, y;
};

void weighted_halves(const SplitSums& sums, int n_splits, Halves& out) {
  for (int s = 0; s < n_splits; ++s) {
    out.x[s] = sums.wi[s] / sums.w[s];
    out.y[s] = (sums.all_wi - sums.wi[s]) / (sums.all_w - sums.w[s]);
  }
}

void plain_halves(const SplitSums& sums, int n_splits, Halves& out) {
  for (int s = 0; s < n_splits; ++s) {
    out.x[s] = sums.i[s] / sums.n[s];
    out.y[s] = (sums.all_i - sums.i[s]) / (sums.all_n - sums.n[s]);
  }
}

/// Running second moments of the halves in every split; two of them merge exactly (Chan, Golub & LeVeque
/// 1983).
class SplitMoments {
 public:
  void add(const Halves& halves, int n_splits) {
    n_ += 1;
    const double f = 1 / n_, g = 1 - f;
    for (int s = 0; s < n_splits; ++s) {
      const double dx = halves.x[s] - x_[s], dy = halves.y[s] - y_[s];
      x_[s] += dx * f;
      y_[s] += dy * f;
      xx_[s] += dx * dx * g;
      yy_[s] += dy * dy * g;
      xy_[s] += dx * dy * g;
      absolute_ += std::abs(halves.x[s] - halves.y[s]);
    }
  }

  void merge(const SplitMoments& o, int n_splits) {
    if (o.n_ == 0) return;
    const double n = n_ + o.n_, f = n_ * o.n_ / n, share = o.n_ / n;
    for (int s = 0; s < n_splits; ++s) {
      const double dx = o.x_[s] - x_[s], dy = o.y_[s] - y_[s];
      xx_[s] += o.xx_[s] + dx * dx * f;
      yy_[s] += o.yy_[s] + dy * dy * f;
      xy_[s] += o.xy_[s] + dx * dy * f;
      x_[s] += dx * share;
      y_[s] += dy * share;
    }
    absolute_ += o.absolute_;
    n_ = n;
  }

  double n() const { return n_; }

  double mean(int n_splits) const {
    double sum = 0;
    for (int s = 0; s < n_splits; ++s) sum += 0.5 * (x_[s] + y_[s]);
    return sum / n_splits;
  }

  double correlation(int n_splits) const {
    double sum = 0;
    for (int s = 0; s < n_splits; ++s) {
      if (!(xx_[s] > 0 && yy_[s] > 0)) return nan;
      sum += std::clamp(xy_[s] / (std::sqrt(xx_[s]) * std::sqrt(yy_[s])), -1.0, 1.0);
    }
    return sum / n_splits;
  }

  double r_split(int n_splits) const {
    const double sum = n_ * mean(n_splits) * n_splits;
    return sum > 0 ? std::sqrt(0.5) * absolute_ / sum : nan;
  }

 private:
  double n_ = 0, absolute_ = 0;
  std::array<double, max_splits> x_{}, y_{}, xx_{}, yy_{}, xy_{};
};

/// What the standard error needs of a reflection: means over splits of the halves' mean, of its square, and
/// of the square of half their difference.
struct Squares {
  double mean = 0, mean_square = 0, difference_square = 0;

  /// Influence on the correlation r of pairs with the overall mean m, times the variance of a half.
  double influence(double r, double m) const {
    return (1 - r) * (mean_square - 2 * m * mean + m * m) - (1 + r) * difference_square;
  }

  double variance(double m) const { return mean_square - 2 * m * mean + m * m + difference_square; }
};

Squares squares_of(const Halves& halves, int n_splits) {
  Squares r;
  for (int s = 0; s < n_splits; ++s) {
    const double p = 0.5 * (halves.x[s] + halves.y[s]), q = 0.5 * (halves.x[s] - halves.y[s]);
    r.mean += p;
    r.mean_square += p * p;
    r.difference_square += q * q;
  }
  const double f = 1.0 / n_splits;
  return {r.mean * f, r.mean_square * f, r.difference_square * f};
}

void check(const ScaledObservations& obs, Span<const Miller> group_index, int n_splits,
           Span<const Index> shell, Index n_shells) {
  check_observations(obs);
  require_size("group_index", group_index.size(), obs.offsets.size() - 1);
  if (n_splits < 1 || n_splits > max_splits)
    throw std::invalid_argument(cat("n_splits must be 1 to ", max_splits));
  for (const Index s : shell)
    if (s >= n_shells) throw std::invalid_argument(cat("shell ", s, " of ", n_shells));
}

/// Standard errors of the correlations per shell and, last, of all: moments and correlations are known.
void add_standard_errors(Span<const Index> shell, const std::vector<Squares>& squares,
                         const std::vector<char>& used, const std::vector<double>& mean,
                         std::vector<HalfSetCorrelation>& out) {
  std::vector<double> influence(out.size()), variance(out.size());
  auto add = [&](std::size_t s, const Squares& q) {
    const double v = q.influence(out[s].correlation, mean[s]);
    influence[s] += v * v;
    variance[s] += q.variance(mean[s]);
  };
  for (Index k = 0; k < shell.size(); ++k) {
    if (!used[k]) continue;
    add(static_cast<std::size_t>(shell[k]), squares[k]);
    add(out.size() - 1, squares[k]);
  }
  for (std::size_t s = 0; s < out.size(); ++s) {
    const double n = static_cast<double>(out[s].n_pairs);
    out[s].standard_error = n > 2 ? std::sqrt(influence[s] * n / (n - 1)) / variance[s] : nan;
  }
}

/// Correlations of items whose halves `halves_of(item, sums, halves)` draws, false where there are none.
template <class HalvesOf>
std::vector<HalfSetCorrelation> correlate(const std::vector<Index>& edges, Span<const Index> shell,
                                          Index n_shells, int n_splits, int n_threads, HalvesOf&& halves_of) {
  const std::size_t n_chunks = std::max<std::size_t>(edges.size(), 1) - 1, n = n_shells + 1;
  std::vector<std::vector<SplitMoments>> parts(n_chunks);
  std::vector<Squares> squares(shell.size());
  std::vector<char> used(shell.size());
  for_each_chunk(edges, n_threads, [&](Index chunk, Index begin, Index end) {
    std::vector<SplitMoments>& moments = parts[chunk];
    moments.resize(n_shells);
    SplitSums sums;
    Halves halves;
    for (Index k = begin; k < end; ++k) {
      if (shell[k] < 0 || !halves_of(k, sums, halves)) continue;
      used[k] = 1;
      squares[k] = squares_of(halves, n_splits);
      moments[shell[k]].add(halves, n_splits);
    }
  });
  std::vector<SplitMoments> total(n);
  for (Index s = 0; s < n_shells; ++s) {
    for (const auto& part : parts) total[s].merge(part[s], n_splits);
    total[n_shells].merge(total[s], n_splits);
  }
  std::vector<HalfSetCorrelation> out(n);
  std::vector<double> mean(n);
  for (std::size_t s = 0; s < n; ++s) {
    mean[s] = total[s].mean(n_splits);
    out[s] = {static_cast<Index>(total[s].n()), total[s].correlation(n_splits), nan,
              total[s].r_split(n_splits)};
  }
  add_standard_errors(shell, squares, used, mean, out);
  return out;
}

}  // namespace

HalfSets half_sets(const ScaledObservations& observations, Span<const Miller> group_index, std::uint64_t seed,
                   int n_threads) {
  check(observations, group_index, 1, {}, 0);
  const Index n_groups = observations.offsets.size() - 1;
  HalfSets out;
  for (int k = 0; k < 2; ++k) {
    out.intensity[k].resize(n_groups);
    out.sigma[k].resize(n_groups);
    out.n_obs[k].resize(n_groups);
  }
  for_each_chunk(group_edges(observations), n_threads, [&](Index, Index begin, Index end) {
    SplitSums sums;
    for (Index g = begin; g < end; ++g) {
      if (observations.offsets[g + 1] - observations.offsets[g] < 2) continue;
      draw_splits(observations, g, random_key(seed, group_index[g]), 1, sums);
      const std::array<double, 2> n{sums.n[0], sums.all_n - sums.n[0]}, w{sums.w[0], sums.all_w - sums.w[0]},
          wi{sums.wi[0], sums.all_wi - sums.wi[0]};
      for (int k = 0; k < 2; ++k) {
        out.intensity[k][g] = wi[k] / w[k];
        out.sigma[k][g] = 1 / std::sqrt(w[k]);
        out.n_obs[k][g] = static_cast<Index>(n[k]);
      }
    }
  });
  return out;
}

std::vector<HalfSetCorrelation> half_set_correlations(const ScaledObservations& observations,
                                                      Span<const Miller> group_index, std::uint64_t seed,
                                                      int n_splits, Span<const Index> shell, Index n_shells,
                                                      int n_threads) {
  check(observations, group_index, n_splits, shell, n_shells);
  require_size("shell", shell.size(), observations.offsets.size() - 1);
  auto halves_of = [&](Index g, SplitSums& sums, Halves& halves) {
    if (observations.offsets[g + 1] - observations.offsets[g] < 2) return false;
    draw_splits(observations, g, random_key(seed, group_index[g]), n_splits, sums);
    weighted_halves(sums, n_splits, halves);
    return true;
  };
  return correlate(group_edges(observations), shell, n_shells, n_splits, n_threads, halves_of);
}

std::vector<HalfSetCorrelation> half_difference_correlations(
    const ScaledObservations& observations, Span<const Miller> group_index, std::uint64_t seed, int n_splits,
    Span<const Index> plus, Span<const Index> minus, Span<const Index> shell, Index n_shells, int n_threads) {
  check(observations, group_index, n_splits, shell, n_shells);
  const Index n_groups = observations.offsets.size() - 1;
  require_size("minus", minus.size(), plus.size());
  require_size("shell", shell.size(), plus.size());
  for (const auto& side : {plus, minus})
    for (const Index g : side)
      if (g < 0 || g >= n_groups) throw std::invalid_argument(cat("group ", g, " of ", n_groups));
  auto size = [&](Index g) { return observations.offsets[g + 1] - observations.offsets[g]; };
  auto halves_of = [&](Index k, SplitSums& sums, Halves& halves) {
    if (size(plus[k]) < 2 || size(minus[k]) < 2) return false;
    Halves other;
    draw_splits(observations, plus[k], random_key(seed, group_index[plus[k]]), n_splits, sums);
    plain_halves(sums, n_splits, halves);
    draw_splits(observations, minus[k], random_key(seed, group_index[minus[k]]), n_splits, sums);
    plain_halves(sums, n_splits, other);
    for (int s = 0; s < n_splits; ++s) {
      halves.x[s] -= other.x[s];
      halves.y[s] -= other.y[s];
    }
    return true;
  };
  return correlate(fixed_size_edges(plus.size(), std::max(pairs_per_chunk, plus.size() / max_chunks + 1)),
                   shell, n_shells, n_splits, n_threads, halves_of);
}

}  // namespace pyscale
