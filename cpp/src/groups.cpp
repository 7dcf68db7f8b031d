#include <pyscale/error.hpp>  // for require_size
#include <pyscale/groups.hpp>
#include <pyscale/parallel.hpp>  // for for_each_chunk

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <tuple>
#include <utility>

namespace pyscale {
namespace {

constexpr Index rows_per_chunk = 65536;
constexpr Index rows_per_bucket = 256;
constexpr Index most_buckets = 2048;

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

// Rows in the order of their ranks, equal ones in that of their numbers; empty: as they are.
std::vector<Index> order_by_rank(Span<const Index> rank, Index n) {
  if (rank.empty() || std::is_sorted(rank.begin(), rank.end())) return {};
  std::vector<Index> place(static_cast<std::size_t>(n), -1);
  for (Index i = 0; i < n; ++i) {
    if (rank[i] < 0 || rank[i] >= n || place[rank[i]] >= 0) {
      std::vector<Index> order(static_cast<std::size_t>(n));
      std::iota(order.begin(), order.end(), Index{0});
      std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return rank[a] < rank[b]; });
      return order;
    }
    place[rank[i]] = i;
  }
  return place;
}

// Numbers of asymmetric-unit indices and their mates, in the order of both: 2 x index + (1 for I(-)). An
// index is numbered by a linear form that is monotonic in lexicographic order, so that an equivalent's number
// is one scalar product, and that of its mate the negative.
class LinearKeys {
 public:
  LinearKeys(const std::vector<RotationMatrix>& rotations, const std::array<double, 3>& largest, Index n)
      : n_(static_cast<double>(n)) {
    std::array<double, 3> bound{};
    for (const RotationMatrix& r : rotations)
      for (int k = 0; k < 3; ++k) {
        double sum = 0;
        for (int j = 0; j < 3; ++j) sum += std::abs(r[3 * j + k]) * largest[j];
        bound[k] = std::max(bound[k], sum);
      }
    const double second = 2 * bound[2] + 1, first = second * (2 * bound[1] + 1);
    size_ = 2 * first * (bound[0] + 1);
    if (!fits()) return;
    const Index f = static_cast<Index>(first), s = static_cast<Index>(second);
    for (const RotationMatrix& r : rotations)
      forms_.push_back({r[0] * f + r[1] * s + r[2], r[3] * f + r[4] * s + r[5], r[6] * f + r[7] * s + r[8]});
  }

  // Number and row are to have room in 64 bits.
  bool fits() const { return size_ * n_ < 0x1p62; }
  std::uint64_t size() const { return static_cast<std::uint64_t>(size_); }

  std::uint64_t operator()(const Miller& h) const {
    Index high = std::numeric_limits<Index>::min(), low = std::numeric_limits<Index>::max();
    for (const auto& form : forms_) {
      const Index number = form[0] * h[0] + form[1] * h[1] + form[2] * h[2];
      high = std::max(high, number);
      low = std::min(low, number);
    }
    return static_cast<std::uint64_t>(high >= -low ? 2 * high : -2 * low + 1);
  }

 private:
  double n_, size_ = 0;
  std::vector<std::array<Index, 3>> forms_;
};

std::array<double, 3> largest_indices(Span<const Miller> miller_index, const std::vector<Index>& edges,
                                      int n_threads) {
  std::vector<std::array<double, 3>> largest(edges.size());
  for_each_chunk(edges, n_threads, [&](Index chunk, Index begin, Index end) {
    Miller low{}, high{};
    for (Index i = begin; i < end; ++i)
      for (int k = 0; k < 3; ++k) {
        low[k] = std::min(low[k], miller_index[i][k]);
        high[k] = std::max(high[k], miller_index[i][k]);
      }
    for (int k = 0; k < 3; ++k) largest[chunk][k] = std::max<double>(high[k], -static_cast<double>(low[k]));
  });
  std::array<double, 3> all{};
  for (const auto& part : largest)
    for (int k = 0; k < 3; ++k) all[k] = std::max(all[k], part[k]);
  return all;
}

using Numbers = LargeVector<std::uint64_t>;

struct Keys {
  Numbers of_row;
  std::uint64_t size = 0;  // larger than all of them
};

// Keys where indices are too scattered for numbers of a box.
Keys keys_by_sorting(Span<const Miller> miller_index, const std::vector<RotationMatrix>& rotations) {
  std::vector<AsuKey> keys;
  for (const Miller& h : miller_index) keys.push_back(asu_key(h, rotations));
  std::vector<Index> order(keys.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::sort(order.begin(), order.end(), [&](Index a, Index b) { return keys[a].index < keys[b].index; });
  Keys result{Numbers(keys.size()), 0};
  for (std::size_t k = 0; k < order.size(); ++k) {
    if (k > 0 && keys[order[k]].index != keys[order[k - 1]].index) result.size += 2;
    result.of_row[order[k]] = result.size + (keys[order[k]].minus ? 1 : 0);
  }
  result.size += 2;
  return result;
}

Keys make_keys(Span<const Miller> miller_index, const std::vector<RotationMatrix>& rotations, int n_threads) {
  const Index n = miller_index.size();
  const std::vector<Index> edges = fixed_size_edges(n, rows_per_chunk);
  const LinearKeys key(rotations, largest_indices(miller_index, edges, n_threads), n);
  if (!key.fits()) return keys_by_sorting(miller_index, rotations);
  Keys keys{Numbers(static_cast<std::size_t>(n)), key.size()};
  for_each_chunk(edges, n_threads, [&](Index, Index begin, Index end) {
    for (Index i = begin; i < end; ++i) keys.of_row[i] = key(miller_index[i]);
  });
  return keys;
}

// Rows in buckets of neighbouring keys, in each of them in the order in which they came.
struct Buckets {
  Numbers rows;  // lowest bits of the key, then the row
  std::vector<Index> first;
  int shift = 0;  // key >> shift is the bucket
  int row_bits = 0;

  Index row(std::uint64_t packed) const {
    return static_cast<Index>(packed & ((std::uint64_t{1} << row_bits) - 1));
  }
};

Buckets make_buckets(const Keys& keys, Index n, const std::vector<Index>& by_rank, int n_threads) {
  const auto wanted = static_cast<std::uint64_t>(std::min(most_buckets, n / rows_per_bucket + 1));
  Buckets buckets;
  buckets.shift = 1;  // both mates in one bucket
  while ((keys.size >> buckets.shift) >= wanted) ++buckets.shift;
  while ((n >> buckets.row_bits) > 0) ++buckets.row_bits;
  const Index n_buckets = static_cast<Index>(keys.size >> buckets.shift) + 1;
  const std::vector<Index> edges = fixed_size_edges(n, rows_per_chunk);
  std::vector<std::vector<Index>> next(edges.size() - 1);
  const auto row_at = [&](Index k) { return by_rank.empty() ? k : by_rank[k]; };
  for_each_chunk(edges, n_threads, [&](Index chunk, Index begin, Index end) {
    next[chunk].resize(static_cast<std::size_t>(n_buckets));
    for (Index k = begin; k < end; ++k) ++next[chunk][keys.of_row[row_at(k)] >> buckets.shift];
  });
  Index total = 0;
  for (Index b = 0; b < n_buckets; ++b) {
    buckets.first.push_back(total);
    for (auto& of_chunk : next) total += std::exchange(of_chunk[b], total);
  }
  buckets.first.push_back(total);
  buckets.rows.resize(static_cast<std::size_t>(n));
  const std::uint64_t low = (std::uint64_t{1} << buckets.shift) - 1;
  for_each_chunk(edges, n_threads, [&](Index chunk, Index begin, Index end) {
    for (Index k = begin; k < end; ++k) {
      const Index row = row_at(k);
      const std::uint64_t key = keys.of_row[row];
      buckets.rows[next[chunk][key >> buckets.shift]++] =
          (key & low) << buckets.row_bits | static_cast<std::uint64_t>(row);
    }
  });
  return buckets;
}

// Sorts the rows of a bucket by key, equal ones as they came.
class BucketSort {
 public:
  explicit BucketSort(Buckets& buckets) : buckets_(buckets) {}

  Span<const std::uint64_t> operator()(Index bucket) {
    std::uint64_t* const begin = buckets_.rows.data() + buckets_.first[bucket];
    std::uint64_t* const end = buckets_.rows.data() + buckets_.first[bucket + 1];
    const Index n = end - begin;
    const int bits = buckets_.row_bits;
    if (buckets_.shift > 30 || (Index{1} << buckets_.shift) > 4 * n + rows_per_bucket) {
      std::stable_sort(begin, end,
                       [bits](std::uint64_t a, std::uint64_t b) { return a >> bits < b >> bits; });
      return {begin, n};
    }
    next_.assign((std::size_t{1} << buckets_.shift) + 1, 0);
    for (const std::uint64_t* r = begin; r != end; ++r) ++next_[(*r >> bits) + 1];
    std::partial_sum(next_.begin(), next_.end(), next_.begin());
    sorted_.resize(static_cast<std::size_t>(n));
    for (const std::uint64_t* r = begin; r != end; ++r) sorted_[next_[*r >> bits]++] = *r;
    return {sorted_.data(), n};
  }

 private:
  Buckets& buckets_;
  std::vector<Index> next_;
  std::vector<std::uint64_t> sorted_;
};

// First positions of groups, with mates together and apart.
struct Starts {
  std::vector<Index> groups, mates;
};

// Adds a sorted bucket, which begins at an even key, to the groups.
void add_bucket(const Buckets& buckets, Index bucket, Span<const std::uint64_t> rows, ReflectionGroups& g,
                Starts& starts) {
  Index position = buckets.first[bucket];
  std::uint64_t last = std::numeric_limits<std::uint64_t>::max();
  for (const std::uint64_t packed : rows) {
    const std::uint64_t key = packed >> buckets.row_bits;
    if (key >> 1 != last >> 1) starts.groups.push_back(position);
    if (key != last) starts.mates.push_back(position);
    last = key;
    g.order[position] = buckets.row(packed);
    g.is_minus[position++] = static_cast<std::uint8_t>(key & 1);
  }
}

void sort_buckets(Buckets buckets, ReflectionGroups& g, int n_threads) {
  const Index n = buckets.first.back();
  const std::vector<Index> edges = balanced_group_edges(buckets.first, n / rows_per_chunk + 1);
  std::vector<Starts> starts(edges.size());
  for_each_chunk(edges, n_threads, [&](Index chunk, Index begin, Index end) {
    BucketSort sort(buckets);
    Starts mine;
    for (Index b = begin; b < end; ++b) add_bucket(buckets, b, sort(b), g, mine);
    starts[chunk] = std::move(mine);
  });
  for (const Starts& s : starts) {
    g.offsets.insert(g.offsets.end(), s.groups.begin(), s.groups.end());
    g.anomalous_offsets.insert(g.anomalous_offsets.end(), s.mates.begin(), s.mates.end());
  }
  g.offsets.push_back(n);
  g.anomalous_offsets.push_back(n);
}

void require_rows(Span<const Index> rows, Index n) {
  for (const Index row : rows)
    if (row < 0 || row >= n) throw std::invalid_argument(cat("row ", row, " of ", n));
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

}  // namespace

ReflectionGroups group_reflections(Span<const Miller> miller_index,
                                   const std::vector<RotationMatrix>& rotations, Span<const Index> rank,
                                   int n_threads) {
  if (rotations.empty()) throw std::invalid_argument("rotations must hold at least the identity");
  if (!rank.empty()) require_size("rank", rank.size(), miller_index.size());
  const Index n = miller_index.size();
  ReflectionGroups g;
  g.order.resize(static_cast<std::size_t>(n));
  g.is_minus.resize(static_cast<std::size_t>(n));
  sort_buckets(
      make_buckets(make_keys(miller_index, rotations, n_threads), n, order_by_rank(rank, n), n_threads), g,
      n_threads);
  const Index n_groups = static_cast<Index>(g.offsets.size()) - 1;
  g.asu_index.resize(static_cast<std::size_t>(n_groups));
  g.is_centric.resize(static_cast<std::size_t>(n_groups));
  for_each_chunk(fixed_size_edges(n_groups, rows_per_chunk), n_threads, [&](Index, Index begin, Index end) {
    for (Index h = begin; h < end; ++h) {
      const AsuKey key = asu_key(miller_index[g.order[g.offsets[h]]], rotations);
      g.asu_index[h] = key.index;
      g.is_centric[h] = key.centric ? 1 : 0;
    }
  });
  return g;
}

LargeVector<Index> canonical_order(Span<const Index> order, Span<const Index> offsets,
                                   Span<const std::int32_t> data_set, Span<const double> image_z,
                                   Span<const double> intensity, int n_threads) {
  const Index n = order.size();
  require_offsets("offsets", offsets, n);
  for (const Index size : {data_set.size(), image_z.size(), intensity.size()})
    require_size("data_set, image_z or intensity", size, n);
  require_rows(order, n);
  LargeVector<Index> result(static_cast<std::size_t>(n));
  const auto before = [&](const PlacedRow& a, const PlacedRow& b) {
    if (a.place != b.place) return a.place < b.place;
    const auto exact = [&](Index i) { return std::make_tuple(data_set[i], image_z[i], intensity[i], i); };
    return exact(a.row) < exact(b.row);
  };
  const std::vector<Index> edges = balanced_group_edges(offsets, n / 16384 + 1);
  for_each_chunk(edges, n_threads, [&](Index, Index first, Index last) {
    const Index begin = offsets[first], end = offsets[last];
    // All rows of a chunk are gathered before any is sorted: loads that wait for memory then overlap.
    std::vector<PlacedRow> rows(static_cast<std::size_t>(end - begin));
    for (Index k = begin; k < end; ++k) {
      const Index row = order[k];
      rows[k - begin] = {place_number(data_set[row], image_z[row]), row};
    }
    for (Index g = first; g < last; ++g) {
      const auto from = rows.begin() + (offsets[g] - begin), to = rows.begin() + (offsets[g + 1] - begin);
      if (!std::is_sorted(from, to, before)) std::sort(from, to, before);
    }
    for (Index k = begin; k < end; ++k) result[k] = rows[k - begin].row;
  });
  return result;
}

LargeVector<Index> stable_order(Span<const Index> keys, int n_threads) {
  const Index n = keys.size();
  std::uint64_t largest = 0;
  for (const Index key : keys) {
    if (key < 0) throw std::invalid_argument(cat("key ", key, " is negative"));
    largest = std::max(largest, static_cast<std::uint64_t>(key));
  }
  LargeVector<Index> order(static_cast<std::size_t>(n));
  if (static_cast<double>(largest) * static_cast<double>(n) >= 0x1p61) {
    std::iota(order.begin(), order.end(), Index{0});
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return keys[a] < keys[b]; });
    return order;
  }
  Keys numbered{Numbers(static_cast<std::size_t>(n)), largest + 1};
  std::copy(keys.begin(), keys.end(), numbered.of_row.begin());
  Buckets buckets = make_buckets(numbered, n, {}, n_threads);
  const std::vector<Index> edges = balanced_group_edges(buckets.first, n / rows_per_chunk + 1);
  for_each_chunk(edges, n_threads, [&](Index, Index begin, Index end) {
    BucketSort sort(buckets);
    for (Index b = begin; b < end; ++b) {
      Index position = buckets.first[b];
      for (const std::uint64_t packed : sort(b)) order[position++] = buckets.row(packed);
    }
  });
  return order;
}

LargeVector<double> gathered(Span<const double> values, Span<const Index> rows, int n_threads) {
  require_rows(rows, values.size());
  LargeVector<double> result(static_cast<std::size_t>(rows.size()));
  for_each_chunk(fixed_size_edges(rows.size(), rows_per_chunk), n_threads,
                 [&](Index, Index begin, Index end) {
                   for (Index k = begin; k < end; ++k) result[k] = values[rows[k]];
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
