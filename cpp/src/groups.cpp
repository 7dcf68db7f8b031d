#include <pyscale/error.hpp>  // for require_size
#include <pyscale/groups.hpp>
#include <pyscale/parallel.hpp>  // for for_each_chunk

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace pyscale {
namespace {

struct AsuKey {
  Miller index;
  bool minus = false;
  bool centric = false;
};

Miller transformed(const Miller& h, const RotationMatrix& r) {
  return {h[0] * r[0] + h[1] * r[3] + h[2] * r[6], h[0] * r[1] + h[1] * r[4] + h[2] * r[7],
          h[0] * r[2] + h[1] * r[5] + h[2] * r[8]};
}

AsuKey asu_key(const Miller& h, const std::vector<RotationMatrix>& rotations) {
  Miller plus = transformed(h, rotations.front());
  Miller minus = {-plus[0], -plus[1], -plus[2]};
  for (const RotationMatrix& r : rotations) {
    const Miller e = transformed(h, r);
    plus = std::max(plus, e);
    minus = std::max(minus, Miller{-e[0], -e[1], -e[2]});
  }
  AsuKey key;
  key.centric = plus == minus;
  key.minus = minus > plus;
  key.index = key.minus ? minus : plus;
  return key;
}

void find_offsets(const std::vector<AsuKey>& keys, ReflectionGroups& g) {
  const Index n = static_cast<Index>(keys.size());
  for (Index k = 0; k < n; ++k) {
    const AsuKey& key = keys[g.order[k]];
    const AsuKey* last = k > 0 ? &keys[g.order[k - 1]] : nullptr;
    const bool new_group = last == nullptr || key.index != last->index;
    if (new_group) {
      g.offsets.push_back(k);
      g.asu_index.push_back(key.index);
      g.is_centric.push_back(key.centric);
    }
    if (new_group || key.minus != last->minus) g.anomalous_offsets.push_back(k);
    g.is_minus[k] = key.minus;
  }
  g.offsets.push_back(n);
  g.anomalous_offsets.push_back(n);
}

}  // namespace

ReflectionGroups group_reflections(Span<const Miller> miller_index,
                                   const std::vector<RotationMatrix>& rotations, Span<const Index> rank,
                                   int n_threads) {
  if (rotations.empty()) throw std::invalid_argument("rotations must hold at least the identity");
  if (!rank.empty()) require_size("rank", rank.size(), miller_index.size());
  const Index n = miller_index.size();
  std::vector<AsuKey> keys(static_cast<std::size_t>(n));
  for_each_chunk(fixed_size_edges(n, 65536), n_threads, [&](Index, Index begin, Index end) {
    for (Index i = begin; i < end; ++i) keys[i] = asu_key(miller_index[i], rotations);
  });
  ReflectionGroups g;
  g.order.resize(static_cast<std::size_t>(n));
  g.is_minus.resize(static_cast<std::size_t>(n));
  std::iota(g.order.begin(), g.order.end(), Index{0});
  std::sort(g.order.begin(), g.order.end(), [&](Index a, Index b) {
    const AsuKey &ka = keys[a], &kb = keys[b];
    if (ka.index != kb.index) return ka.index < kb.index;
    if (ka.minus != kb.minus) return kb.minus;
    if (!rank.empty() && rank[a] != rank[b]) return rank[a] < rank[b];
    return a < b;
  });
  find_offsets(keys, g);
  return g;
}

void ReferenceView::validate(Index n_groups) const {
  require_size("reference weight", weight.size(), intensity.size());
  if (!weight.empty()) require_size("reference", intensity.size(), n_groups);
}

void require_offsets(const char* name, Span<const Index> offsets, Index n_rows) {
  if (offsets.empty() || offsets[0] != 0 || offsets[offsets.size() - 1] != n_rows ||
      !std::is_sorted(offsets.begin(), offsets.end()))
    throw std::invalid_argument(cat(name, " must rise from 0 to the number of rows, ", n_rows));
}

}  // namespace pyscale
