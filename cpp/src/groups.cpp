#include <pyscale/error.hpp>  // for require_size
#include <pyscale/groups.hpp>
#include <pyscale/parallel.hpp>  // for for_each_chunk

#include <algorithm>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <tuple>

namespace pyscale {
namespace {

constexpr std::size_t least_numbers = std::size_t{1} << 20;

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

// Rows in the order of their ranks, equal ones in that of their numbers.
std::vector<Index> order_by_rank(Span<const Index> rank, Index n) {
  std::vector<Index> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), Index{0});
  if (rank.empty() || std::is_sorted(rank.begin(), rank.end())) return order;
  std::vector<Index> place(static_cast<std::size_t>(n), -1);
  for (Index i = 0; i < n; ++i) {
    if (rank[i] < 0 || rank[i] >= n || place[rank[i]] >= 0) {
      std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return rank[a] < rank[b]; });
      return order;
    }
    place[rank[i]] = i;
  }
  return place;
}

// Numbers for keys, in their order: the box of all indices, twice.
class KeyNumbers {
 public:
  explicit KeyNumbers(const std::vector<AsuKey>& keys) {
    Miller high = keys.front().index;
    low_ = high;
    for (const AsuKey& key : keys)
      for (int k = 0; k < 3; ++k) {
        low_[k] = std::min(low_[k], key.index[k]);
        high[k] = std::max(high[k], key.index[k]);
      }
    size_ = 2;
    for (int k = 0; k < 3; ++k) {
      extent_[k] = Index{high[k]} - low_[k] + 1;
      size_ *= static_cast<double>(extent_[k]);
    }
  }

  double size() const { return size_; }

  Index operator()(const AsuKey& key) const {
    Index number = 0;
    for (int k = 0; k < 3; ++k) number = number * extent_[k] + (Index{key.index[k]} - low_[k]);
    return 2 * number + (key.minus ? 1 : 0);
  }

 private:
  Miller low_;
  std::array<Index, 3> extent_;
  double size_;
};

// Sorts by key rows that are sorted by rank: by counting, unless indices are scattered too widely for that.
std::vector<Index> order_by_key(const std::vector<AsuKey>& keys, std::vector<Index> by_rank) {
  if (keys.empty()) return by_rank;
  const KeyNumbers number(keys);
  if (number.size() > static_cast<double>(std::max<std::size_t>(4 * keys.size(), least_numbers))) {
    std::stable_sort(by_rank.begin(), by_rank.end(), [&](Index a, Index b) {
      return std::tie(keys[a].index, keys[a].minus) < std::tie(keys[b].index, keys[b].minus);
    });
    return by_rank;
  }
  std::vector<Index> next(static_cast<std::size_t>(number.size()) + 1);
  for (const AsuKey& key : keys) ++next[number(key) + 1];
  std::partial_sum(next.begin(), next.end(), next.begin());
  std::vector<Index> order(by_rank.size());
  for (const Index i : by_rank) order[next[number(keys[i])]++] = i;
  return order;
}

struct PlacedRow {
  std::uint64_t place;
  Index row;
};

// Data set and image as one number that never falls where they rise; close images may share it.
std::uint64_t place_number(std::int32_t data_set, double image_z) {
  constexpr std::uint64_t sign = std::uint64_t{1} << 63;
  std::uint64_t bits = 0;
  const double positive_zero = image_z + 0.0;
  std::memcpy(&bits, &positive_zero, sizeof bits);
  bits = (bits & sign) != 0 ? ~bits : bits | sign;
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(data_set)) << 40) | (bits >> 24);
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
  g.is_minus.resize(static_cast<std::size_t>(n));
  g.order = order_by_key(keys, order_by_rank(rank, n));
  find_offsets(keys, g);
  return g;
}

std::vector<Index> canonical_order(Span<const Index> order, Span<const Index> offsets,
                                   Span<const std::int32_t> data_set, Span<const double> image_z,
                                   Span<const double> intensity, int n_threads) {
  const Index n = order.size();
  require_offsets("offsets", offsets, n);
  for (const Index size : {data_set.size(), image_z.size(), intensity.size()})
    require_size("data_set, image_z or intensity", size, n);
  for (const Index row : order)
    if (row < 0 || row >= n) throw std::invalid_argument(cat("row ", row, " of ", n));
  std::vector<Index> result(static_cast<std::size_t>(n));
  const auto before = [&](const PlacedRow& a, const PlacedRow& b) {
    if (a.place != b.place) return a.place < b.place;
    const auto exact = [&](Index i) { return std::make_tuple(data_set[i], image_z[i], intensity[i], i); };
    return exact(a.row) < exact(b.row);
  };
  for_each_chunk(balanced_group_edges(offsets, n / 16384 + 1), n_threads,
                 [&](Index, Index first, Index last) {
                   std::vector<PlacedRow> rows;
                   for (Index g = first; g < last; ++g) {
                     rows.clear();
                     for (Index k = offsets[g]; k < offsets[g + 1]; ++k) {
                       const Index i = order[k];
                       rows.push_back({place_number(data_set[i], image_z[i]), i});
                     }
                     std::sort(rows.begin(), rows.end(), before);
                     Index k = offsets[g];
                     for (const PlacedRow& row : rows) result[k++] = row.row;
                   }
                 });
  return result;
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
