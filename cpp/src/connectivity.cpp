#include <pyscale/connectivity.hpp>
#include <pyscale/error.hpp>   // for require_size
#include <pyscale/groups.hpp>  // for require_offsets

#include <numeric>
#include <stdexcept>

namespace pyscale {
namespace {

/// Disjoint sets with path halving; the lowest member stands for its set.
class DisjointSets {
 public:
  explicit DisjointSets(Index n) : parent_(static_cast<std::size_t>(n)) {
    std::iota(parent_.begin(), parent_.end(), Index{0});
  }

  Index find(Index i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }

  void join(Index a, Index b) {
    a = find(a);
    b = find(b);
    if (a < b)
      parent_[b] = a;
    else
      parent_[a] = b;
  }

 private:
  std::vector<Index> parent_;
};

void require_range(const char* name, Span<const std::int32_t> values, Index lowest, Index end) {
  for (const std::int32_t v : values)
    if (v < lowest || v >= end) throw std::invalid_argument(cat(name, " is out of range"));
}

}  // namespace

Connectivity connectivity(Span<const std::int32_t> data_set, Span<const Index> offsets,
                          Span<const std::uint8_t> use, Span<const std::int32_t> shell_of_group,
                          Index n_data_sets, Index n_shells) {
  require_offsets("offsets", offsets, data_set.size());
  require_size("use", use.size(), data_set.size());
  require_size("shell_of_group", shell_of_group.size(), offsets.size() - 1);
  require_range("data_set", data_set, 0, n_data_sets);
  require_range("shell_of_group", shell_of_group, -1, n_shells);
  Connectivity found;
  found.shared.assign(static_cast<std::size_t>(n_data_sets * n_shells), 0);
  found.linking.assign(static_cast<std::size_t>(n_shells), 0);
  DisjointSets sets(n_data_sets);
  std::vector<Index> last_group(static_cast<std::size_t>(n_data_sets), -1);
  std::vector<Index> members;
  for (Index h = 0; h < shell_of_group.size(); ++h) {
    if (shell_of_group[h] < 0) continue;
    members.clear();
    for (Index i = offsets[h]; i < offsets[h + 1]; ++i) {
      const Index d = data_set[i];
      if (!use[i] || last_group[d] == h) continue;
      last_group[d] = h;
      members.push_back(d);
    }
    if (members.size() < 2) continue;
    ++found.linking[shell_of_group[h]];
    for (const Index d : members) {
      ++found.shared[d * n_shells + shell_of_group[h]];
      sets.join(members.front(), d);
    }
  }
  found.component.resize(static_cast<std::size_t>(n_data_sets));
  std::int32_t n_components = 0;
  for (Index d = 0; d < n_data_sets; ++d) {
    const Index first = sets.find(d);
    found.component[d] = first == d ? n_components++ : found.component[first];
  }
  return found;
}

}  // namespace pyscale
