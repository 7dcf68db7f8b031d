#include <algorithm>
#include <cmath>
#include <limits>
#include <pyscale/crossover.hpp>
#include <pyscale/error.hpp>     // for require_size
#include <pyscale/groups.hpp>    // for require_offsets
#include <pyscale/parallel.hpp>  // for for_each_chunk

namespace pyscale {
namespace {

constexpr Index most_chunks = 256;

/// Share of the profile-fitted intensity.
double profile_share(double summation, double imid) {
  if (imid == 0.0) return 1.0;
  if (imid == 1.0) return 0.0;
  const double ratio = std::max(summation, 0.0) / imid;
  return 1.0 / (1.0 + ratio * ratio * ratio);
}

/// R_meas of one crossover over some groups. The buffer is kept from group to group.
class Score {
 public:
  Score(const IntegratedObservations& obs, double imid) : obs_(obs), imid_(imid) {}

  void add(Index begin, Index end) {
    const Index n = end - begin;
    if (n < 2) return;
    intensity_.resize(static_cast<std::size_t>(n));
    double weight = 0, weighted = 0;
    for (Index i = begin; i < end; ++i) {
      const double w = profile_share(obs_.summation[i], imid_), scale = obs_.scale[i];
      const double value = scale * (w * obs_.profile[i] + (1.0 - w) * obs_.summation[i]);
      const double variance = w * obs_.profile_variance[i] + (1.0 - w) * obs_.summation_variance[i];
      const double precision = 1.0 / (scale * scale * variance);
      intensity_[static_cast<std::size_t>(i - begin)] = value;
      weight += precision;
      weighted += precision * value;
      total_ += value;
    }
    const double mean = weighted / weight;
    double deviation = 0;
    for (const double value : intensity_) deviation += std::abs(value - mean);
    const double number = static_cast<double>(n);
    deviation_ += std::sqrt(number / (number - 1.0)) * deviation;
  }

  double r_meas() const {
    return total_ > 0 ? deviation_ / total_ : std::numeric_limits<double>::quiet_NaN();
  }

 private:
  const IntegratedObservations& obs_;
  double imid_;
  double deviation_ = 0, total_ = 0;
  std::vector<double> intensity_;
};

void check(const IntegratedObservations& obs, Span<const double> imid, Span<const Index> candidate_offsets) {
  const Index n = obs.profile.size();
  require_size("profile_variance", obs.profile_variance.size(), n);
  require_size("summation", obs.summation.size(), n);
  require_size("summation_variance", obs.summation_variance.size(), n);
  require_size("scale", obs.scale.size(), n);
  require_offsets("offsets", obs.offsets, n);
  require_offsets("class_offsets", obs.class_offsets, obs.offsets.size() - 1);
  require_offsets("candidate_offsets", candidate_offsets, imid.size());
  require_size("candidate_offsets", candidate_offsets.size(), obs.class_offsets.size());
}

}  // namespace

std::vector<double> r_meas_of_crossovers(const IntegratedObservations& obs, Span<const double> imid,
                                         Span<const Index> candidate_offsets, int n_threads) {
  check(obs, imid, candidate_offsets);
  std::vector<double> r_meas(static_cast<std::size_t>(imid.size()));
  const Index size = std::max<Index>(1, imid.size() / most_chunks);
  for_each_chunk(fixed_size_edges(imid.size(), size), n_threads, [&](Index, Index begin, Index end) {
    Index of_class = std::upper_bound(candidate_offsets.begin(), candidate_offsets.end(), begin) -
                     candidate_offsets.begin() - 1;
    for (Index c = begin; c < end; ++c) {
      while (candidate_offsets[of_class + 1] <= c) ++of_class;
      Score score(obs, imid[c]);
      for (Index h = obs.class_offsets[of_class]; h < obs.class_offsets[of_class + 1]; ++h)
        score.add(obs.offsets[h], obs.offsets[h + 1]);
      r_meas[static_cast<std::size_t>(c)] = score.r_meas();
    }
  });
  return r_meas;
}

}  // namespace pyscale
