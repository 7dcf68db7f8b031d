#include <pyscale/error.hpp>     // for require_size
#include <pyscale/groups.hpp>    // for require_offsets
#include <pyscale/parallel.hpp>  // for for_each_chunk
#include <pyscale/random.hpp>    // for splitmix64
#include <pyscale/selection.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <queue>
#include <stdexcept>
#include <utility>

namespace pyscale {
namespace {

struct Rows {
  Span<const std::int32_t> class_of_row;
  Span<const Index> offsets;
};

/// How often a group holds a class.
struct Count {
  Index class_number;
  Index n;
};

/// The groups of one stratum, best first, and the classes in them, numbered from 0.
class Stratum {
 public:
  Stratum(const Rows& rows, const Index* first, const Index* last) {
    for (const Index* group = first; group != last; ++group) add(rows, *group);
    number_classes();
    sort_groups();
  }

  void choose(Index min_per_class, Index min_total, std::vector<std::uint8_t>& chosen) {
    for (std::size_t p = 0; p < groups_.size(); ++p)
      if (chosen[groups_[p].number]) take(p);
    for (std::size_t k = 0; k < size_.size(); ++k) waiting_.push({size_[k], k});
    while (!waiting_.empty()) {
      const auto [size, k] = waiting_.top();
      waiting_.pop();
      if (size != size_[k]) continue;
      if (size >= min_per_class && total_ >= min_total) return;
      std::vector<std::size_t>& holders = holders_[k];
      while (next_[k] < holders.size() && groups_[holders[next_[k]]].taken) ++next_[k];
      if (next_[k] == holders.size()) continue;
      const std::size_t p = holders[next_[k]];
      take(p);
      chosen[groups_[p].number] = 1;
      for (const Count& c : groups_[p].counts) waiting_.push({size_[c.class_number], c.class_number});
    }
  }

 private:
  struct Group {
    Index number = 0;
    std::vector<Count> counts;
    bool taken = false;
  };

  void add(const Rows& rows, Index number) {
    std::vector<Index> classes;
    for (Index i = rows.offsets[number]; i < rows.offsets[number + 1]; ++i)
      if (rows.class_of_row[i] >= 0) classes.push_back(rows.class_of_row[i]);
    if (classes.empty()) return;
    std::sort(classes.begin(), classes.end());
    Group group;
    group.number = number;
    for (const Index c : classes) {
      if (group.counts.empty() || group.counts.back().class_number != c) group.counts.push_back({c, 0});
      ++group.counts.back().n;
    }
    groups_.push_back(std::move(group));
  }

  void number_classes() {
    std::vector<Index> names;
    for (const Group& group : groups_)
      for (const Count& c : group.counts) names.push_back(c.class_number);
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    for (Group& group : groups_)
      for (Count& c : group.counts)
        c.class_number = std::lower_bound(names.begin(), names.end(), c.class_number) - names.begin();
    size_.assign(names.size(), 0);
    next_.assign(names.size(), 0);
    holders_.resize(names.size());
  }

  void sort_groups() {
    std::sort(groups_.begin(), groups_.end(), [](const Group& a, const Group& b) {
      if (a.counts.size() != b.counts.size()) return a.counts.size() > b.counts.size();
      return splitmix64(static_cast<std::uint64_t>(a.number)) <
             splitmix64(static_cast<std::uint64_t>(b.number));
    });
    for (std::size_t p = 0; p < groups_.size(); ++p)
      for (const Count& c : groups_[p].counts) holders_[c.class_number].push_back(p);
  }

  void take(std::size_t p) {
    groups_[p].taken = true;
    for (const Count& c : groups_[p].counts) {
      size_[c.class_number] += c.n;
      total_ += c.n;
    }
  }

  using Waiting = std::pair<Index, std::size_t>;
  std::vector<Group> groups_;
  std::vector<Index> size_;
  std::vector<std::size_t> next_;
  std::vector<std::vector<std::size_t>> holders_;
  std::priority_queue<Waiting, std::vector<Waiting>, std::greater<>> waiting_;
  Index total_ = 0;
};

/// Group numbers sorted by stratum, and the first of each stratum.
struct GroupsByStratum {
  std::vector<Index> groups;
  std::vector<Index> first;
};

GroupsByStratum by_stratum(Span<const std::int32_t> stratum_of_group, Index n_strata) {
  GroupsByStratum sorted;
  sorted.first.assign(static_cast<std::size_t>(n_strata) + 1, 0);
  for (const std::int32_t s : stratum_of_group) {
    if (s >= n_strata) throw std::invalid_argument("stratum_of_group must be below the number of strata");
    if (s >= 0) ++sorted.first[s + 1];
  }
  for (Index s = 0; s < n_strata; ++s) sorted.first[s + 1] += sorted.first[s];
  sorted.groups.resize(static_cast<std::size_t>(sorted.first.back()));
  std::vector<Index> next(sorted.first);
  for (Index h = 0; h < stratum_of_group.size(); ++h)
    if (stratum_of_group[h] >= 0) sorted.groups[next[stratum_of_group[h]]++] = h;
  return sorted;
}

std::int32_t segment(const Vec3& v) {
  const double length = std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
  if (!(length > 0.0)) return -1;
  const double z = 3.0 * v[2];
  // In the band x + y and y - x tell the quarter, since its azimuths begin at 45 degrees.
  const bool band = std::abs(z) <= length;
  const double x = band ? v[0] + v[1] : v[0], y = band ? v[1] - v[0] : v[1];
  std::int32_t quarter = 0;  // each begins at its lower azimuth
  if (x <= 0.0 && y > 0.0) quarter = 1;
  if (x < 0.0 && y <= 0.0) quarter = 2;
  if (x >= 0.0 && y < 0.0) quarter = 3;
  return quarter + (band ? 4 : z > 0.0 ? 0 : 8);
}

}  // namespace

std::vector<std::int32_t> equal_area_segments(Span<const Vec3> direction) {
  std::vector<std::int32_t> segments;
  segments.reserve(static_cast<std::size_t>(direction.size()));
  for (const Vec3& v : direction) segments.push_back(segment(v));
  return segments;
}

std::vector<std::uint8_t> select_groups(Span<const std::int32_t> class_of_row, Span<const Index> offsets,
                                        Span<const std::int32_t> stratum_of_group,
                                        const SelectionMinima& minima, Span<const std::uint8_t> chosen_before,
                                        int n_threads) {
  require_offsets("offsets", offsets, class_of_row.size());
  require_size("stratum_of_group", stratum_of_group.size(), offsets.size() - 1);
  require_size("minima.total", minima.total.size(), minima.per_class.size());
  if (!chosen_before.empty()) require_size("chosen_before", chosen_before.size(), stratum_of_group.size());
  std::vector<std::uint8_t> chosen(static_cast<std::size_t>(stratum_of_group.size()), 0);
  std::copy(chosen_before.begin(), chosen_before.end(), chosen.begin());
  const GroupsByStratum sorted = by_stratum(stratum_of_group, minima.per_class.size());
  for_each_chunk(fixed_size_edges(minima.per_class.size(), 8), n_threads, [&](Index, Index begin, Index end) {
    for (Index s = begin; s < end; ++s) {
      Stratum stratum({class_of_row, offsets}, sorted.groups.data() + sorted.first[s],
                      sorted.groups.data() + sorted.first[s + 1]);
      stratum.choose(minima.per_class[s], minima.total[s], chosen);
    }
  });
  return chosen;
}

}  // namespace pyscale
