#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>
#include <numeric>
#include <pyscale/groups.hpp>
#include <set>
#include <stdexcept>

#include "cases.hpp"

using namespace pyscale;
using namespace pyscale_tests;

namespace {

Miller transformed(const Miller& h, const RotationMatrix& r) {
  Miller e{};
  for (int column = 0; column < 3; ++column)
    for (int row = 0; row < 3; ++row) e[column] += h[row] * r[3 * row + column];
  return e;
}

/// The whole orbit of h: first under the rotations, then with Friedel's law. An oracle that shares no
/// shortcut with the code under test.
std::pair<std::set<Miller>, std::set<Miller>> orbits(const Miller& h,
                                                     const std::vector<RotationMatrix>& rotations) {
  std::set<Miller> plus, all;
  for (const RotationMatrix& r : rotations) plus.insert(transformed(h, r));
  for (const Miller& e : plus) {
    all.insert(e);
    all.insert({-e[0], -e[1], -e[2]});
  }
  return {plus, all};
}

std::vector<std::vector<RotationMatrix>> example_groups() {
  return {rotations_p1(), rotations_p222(), rotations_p3()};
}

/// What does not depend on row numbers: for each group its index and the sorted ranks in their order.
std::map<Miller, std::vector<Index>> ranks_by_group(const ReflectionGroups& g,
                                                    const std::vector<Index>& rank) {
  std::map<Miller, std::vector<Index>> result;
  for (std::size_t k = 0; k < g.asu_index.size(); ++k)
    for (Index i = g.offsets[k]; i < g.offsets[k + 1]; ++i)
      result[g.asu_index[k]].push_back(rank[g.order[i]]);
  return result;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(groups)

BOOST_AUTO_TEST_CASE(order_is_a_permutation_and_offsets_partition_it) {
  const std::vector<Miller> hkl = random_miller_indices(3000, 6, 1);
  for (const auto& rotations : example_groups()) {
    const ReflectionGroups g = group_reflections(hkl, rotations, {}, 2);
    std::vector<Index> sorted(g.order.begin(), g.order.end()), all(hkl.size());
    std::sort(sorted.begin(), sorted.end());
    std::iota(all.begin(), all.end(), Index{0});
    BOOST_TEST(sorted == all, boost::test_tools::per_element());
    BOOST_TEST(g.offsets.size() == g.asu_index.size() + 1);
    BOOST_TEST(g.is_centric.size() == g.asu_index.size());
    for (const auto& offsets : {g.offsets, g.anomalous_offsets}) {
      BOOST_TEST(offsets.front() == 0);
      BOOST_TEST(offsets.back() == static_cast<Index>(hkl.size()));
      const auto not_increasing =
          std::adjacent_find(offsets.begin(), offsets.end(), std::greater_equal<Index>());
      BOOST_TEST((not_increasing == offsets.end()));
    }
    BOOST_TEST(std::includes(g.anomalous_offsets.begin(), g.anomalous_offsets.end(), g.offsets.begin(),
                             g.offsets.end()));
  }
}

BOOST_AUTO_TEST_CASE(groups_are_the_orbits_under_rotations_and_inversion) {
  const std::vector<Miller> hkl = random_miller_indices(2000, 5, 2);
  for (const auto& rotations : example_groups()) {
    const ReflectionGroups g = group_reflections(hkl, rotations, {}, 1);
    std::set<Miller> seen;
    for (std::size_t k = 0; k < g.asu_index.size(); ++k) {
      const auto [plus, all] = orbits(g.asu_index[k], rotations);
      BOOST_TEST((g.asu_index[k] == *all.rbegin()));
      BOOST_TEST(static_cast<bool>(g.is_centric[k]) == (plus == all));
      BOOST_TEST(seen.insert(g.asu_index[k]).second);
      for (Index i = g.offsets[k]; i < g.offsets[k + 1]; ++i) {
        const Miller& h = hkl[g.order[i]];
        BOOST_TEST(all.count(h) == 1U);
        BOOST_TEST(static_cast<bool>(g.is_minus[i]) == (plus.count(h) == 0));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(friedel_mates_come_after_their_plus_and_are_split_by_the_anomalous_offsets) {
  const std::vector<Miller> hkl{{-1, -2, -3}, {1, 2, 3}, {-1, 2, 3}, {1, 2, 0}, {1, -2, -3}};
  const ReflectionGroups g = group_reflections(hkl, rotations_p222(), {}, 1);
  const std::vector<Index> order{3, 1, 4, 0, 2}, offsets{0, 1, 5}, anomalous{0, 1, 3, 5};
  const std::vector<std::uint8_t> is_minus{0, 0, 0, 1, 1}, is_centric{1, 0};
  BOOST_TEST(g.order == order, boost::test_tools::per_element());
  BOOST_TEST(g.offsets == offsets, boost::test_tools::per_element());
  BOOST_TEST(g.anomalous_offsets == anomalous, boost::test_tools::per_element());
  BOOST_TEST(g.is_minus == is_minus, boost::test_tools::per_element());
  BOOST_TEST(g.is_centric == is_centric, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(rank_makes_the_order_independent_of_the_input_rows) {
  const Index n = 2000;
  const std::vector<Miller> hkl = random_miller_indices(n, 4, 3);
  std::vector<Index> rank(static_cast<std::size_t>(n));
  std::iota(rank.begin(), rank.end(), Index{0});
  std::vector<Miller> permuted_hkl = hkl;
  std::vector<Index> permuted_rank = rank;
  Random random(4);
  for (Index i = n - 1; i > 0; --i) {
    const Index j = random.below(i + 1);
    std::swap(permuted_hkl[i], permuted_hkl[j]);
    std::swap(permuted_rank[i], permuted_rank[j]);
  }
  for (const auto& rotations : example_groups()) {
    const ReflectionGroups a = group_reflections(hkl, rotations, rank, 1);
    const ReflectionGroups b = group_reflections(permuted_hkl, rotations, permuted_rank, 3);
    BOOST_TEST((ranks_by_group(a, rank) == ranks_by_group(b, permuted_rank)));
    BOOST_TEST(a.anomalous_offsets == b.anomalous_offsets, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(the_order_is_that_of_a_sort_by_index_mate_rank_and_row) {
  for (const int largest : {4, 100000}) {  // sorted by counting, and otherwise
    const std::vector<Miller> hkl = random_miller_indices(4000, largest, 7);
    std::vector<Index> permutation(hkl.size()), tied(hkl.size());
    std::iota(permutation.begin(), permutation.end(), Index{0});
    std::reverse(permutation.begin(), permutation.end());
    for (std::size_t i = 0; i < tied.size(); ++i) tied[i] = static_cast<Index>(i * 7 % 5);
    for (const std::vector<Index>& rank : {std::vector<Index>(), permutation, tied}) {
      const ReflectionGroups g = group_reflections(hkl, rotations_p222(), rank, 2);
      std::vector<std::size_t> group(hkl.size());
      for (std::size_t h = 0; h + 1 < g.offsets.size(); ++h)
        for (Index k = g.offsets[h]; k < g.offsets[h + 1]; ++k) group[k] = h;
      BOOST_TEST(std::is_sorted(g.asu_index.begin(), g.asu_index.end()));
      for (std::size_t k = 1; k < hkl.size(); ++k) {
        const Index a = g.order[k - 1], b = g.order[k];
        const auto key = [&](std::size_t place, Index row) {
          return std::make_tuple(group[place], g.is_minus[place], rank.empty() ? 0 : rank[row], row);
        };
        if (!(key(k - 1, a) < key(k, b))) BOOST_ERROR("rows are out of order at " << k);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(no_reflections_make_no_groups) {
  const ReflectionGroups g = group_reflections(std::vector<Miller>{}, rotations_p222(), {}, 2);
  BOOST_TEST(g.order.empty());
  BOOST_TEST(g.asu_index.empty());
  BOOST_TEST(g.offsets == std::vector<Index>{0}, boost::test_tools::per_element());
  BOOST_TEST(g.anomalous_offsets == std::vector<Index>{0}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(misuse_throws) {
  const std::vector<Miller> hkl{{1, 2, 3}, {1, 2, 4}};
  const std::vector<Index> short_rank{1};
  BOOST_CHECK_THROW(group_reflections(hkl, {}, {}, 1), std::invalid_argument);
  BOOST_CHECK_THROW(group_reflections(hkl, rotations_p1(), short_rank, 1), std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(indices_too_scattered_for_a_box_are_grouped_alike) {
  // The last index alone makes the box of all of them too large for numbers.
  std::vector<Miller> hkl = random_miller_indices(3000, 5, 8);
  const ReflectionGroups near = group_reflections(hkl, rotations_p222(), {}, 2);
  hkl.push_back({1 << 30, 1 << 30, -(1 << 30)});
  const ReflectionGroups far = group_reflections(hkl, rotations_p222(), {}, 2);
  BOOST_TEST(std::equal(near.order.begin(), near.order.end(), far.order.begin()));
  BOOST_TEST(std::equal(near.is_minus.begin(), near.is_minus.end(), far.is_minus.begin()));
  BOOST_TEST(std::equal(near.offsets.begin(), near.offsets.end(), far.offsets.begin()));
  BOOST_TEST(far.order.back() == 3000);
  BOOST_TEST((far.asu_index.back() == Miller{1 << 30, 1 << 30, 1 << 30}));
}

BOOST_AUTO_TEST_CASE(stable_order_is_a_stable_sort) {
  for (const Index largest : {Index{3}, Index{100000}, Index{1} << 62}) {
    Random random(9);
    std::vector<Index> keys(20000), expected(keys.size());
    for (Index& key : keys) key = random.below(largest);
    std::iota(expected.begin(), expected.end(), Index{0});
    std::stable_sort(expected.begin(), expected.end(), [&](Index a, Index b) { return keys[a] < keys[b]; });
    for (const int n_threads : {1, 3})
      BOOST_TEST(pyscale::stable_order(keys, n_threads) == expected, boost::test_tools::per_element());
  }
  BOOST_TEST(pyscale::stable_order(std::vector<Index>{}, 1).empty());
  BOOST_CHECK_THROW(pyscale::stable_order(std::vector<Index>{1, -1}, 1), std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(gathered_values_are_those_of_the_rows) {
  const std::vector<double> values{1.5, 2.5, 3.5}, expected{3.5, 1.5, 3.5};
  BOOST_TEST(pyscale::gathered(values, std::vector<Index>{2, 0, 2}, 2) == expected,
             boost::test_tools::per_element());
  BOOST_CHECK_THROW(pyscale::gathered(values, std::vector<Index>{3}, 1), std::invalid_argument);
  BOOST_CHECK_THROW(pyscale::gathered(values, std::vector<Index>{-1}, 1), std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(canonical_order_within_groups) {
  const std::vector<Index> order{4, 0, 2, 3, 1, 5}, offsets{0, 4, 6};
  const std::vector<std::int32_t> data_set{1, 0, 0, 0, 0, 0};
  const double nearly = std::nextafter(7.5, 8.0);
  const std::vector<double> image_z{-2.0, 3.0, nearly, 7.5, -7.5, 3.0}, intensity{1, 5, 1, 2, 9, 4};
  const auto found = pyscale::canonical_order(order, offsets, data_set, image_z, intensity, 1);
  const std::vector<Index> expected{4, 3, 2, 0, 5, 1};
  BOOST_TEST(found == expected, boost::test_tools::per_element());
  const std::vector<Index> wrong{0, 4, 5};
  BOOST_CHECK_THROW(pyscale::canonical_order(order, wrong, data_set, image_z, intensity, 1),
                    std::invalid_argument);
}

BOOST_AUTO_TEST_SUITE_END()
