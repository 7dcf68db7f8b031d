#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>
#include <pyscale/connectivity.hpp>
#include <pyscale/random.hpp>
#include <pyscale/selection.hpp>
#include <stdexcept>

#include "cases.hpp"

using namespace pyscale_tests;
using pyscale::Index;
using pyscale::Vec3;

namespace {

/// Random groups of up to `largest` rows; classes and strata by chance, some of them -1.
struct SelectionCase {
  std::vector<Index> offsets;
  std::vector<std::int32_t> class_of_row, stratum_of_group;

  SelectionCase(Index n_rows, int largest, int n_classes, int n_strata, std::uint64_t seed)
      : offsets(random_offsets(n_rows, largest, seed)) {
    pyscale::KeyedRandom random(seed + 1);
    for (Index i = 0; i < offsets.back(); ++i)
      class_of_row.push_back(static_cast<std::int32_t>(random.below(n_classes + 1)) - 1);
    for (std::size_t h = 1; h < offsets.size(); ++h)
      stratum_of_group.push_back(static_cast<std::int32_t>(random.below(n_strata + 1)) - 1);
  }

  std::vector<std::uint8_t> select(Index per_class, Index total, int n_strata, int n_threads = 1,
                                   const std::vector<std::uint8_t>& before = {}) const {
    const std::vector<Index> minima(n_strata, per_class), totals(n_strata, total);
    return pyscale::select_groups(class_of_row, offsets, stratum_of_group, {minima, totals}, before,
                                  n_threads);
  }

  /// Rows of a class in the chosen groups of a stratum, or in all of them.
  Index count(int stratum, int class_number, const std::vector<std::uint8_t>* chosen) const {
    Index n = 0;
    for (std::size_t h = 0; h < stratum_of_group.size(); ++h)
      if (stratum_of_group[h] == stratum && (chosen == nullptr || (*chosen)[h]))
        for (Index i = offsets[h]; i < offsets[h + 1]; ++i) n += class_of_row[i] == class_number;
    return n;
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(selection)

BOOST_AUTO_TEST_CASE(segments_have_equal_areas) {
  // A grid of equal areas: uniform in z and in azimuth.
  std::array<Index, pyscale::n_segments> seen{};
  const int n = 360;
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) {
      const double z = (2 * i + 1.0) / n - 1, phi = 2 * std::acos(-1.0) * (j + 0.5) / n;
      const double r = 3.0 * std::sqrt(1 - z * z);  // any length
      const std::vector<Vec3> v{{r * std::cos(phi), r * std::sin(phi), 3.0 * z}};
      const int expected =
          std::abs(z) > 1.0 / 3 ? (z > 0 ? 0 : 8) + 4 * j / n : 4 + ((4 * (j - n / 8) + 4 * n) / n) % 4;
      const std::int32_t found = pyscale::equal_area_segments(v)[0];
      if (found != expected) BOOST_ERROR("segment " << found << " for " << expected);
      ++seen[found];
    }
  for (const Index count : seen) BOOST_TEST(count == n * n / pyscale::n_segments);
  BOOST_TEST(pyscale::equal_area_segments(std::vector<Vec3>{{0, 0, 0}})[0] == -1);
}

BOOST_AUTO_TEST_CASE(segments_begin_at_their_lower_azimuth) {
  const std::vector<Vec3> directions{{1, 0, 2},  {0, 1, 2},   {-1, 0, 2}, {0, -1, 2}, {1, 1, 0},
                                     {-1, 1, 0}, {-1, -1, 0}, {1, -1, 0}, {0, 0, 1},  {0, 0, -1}};
  const std::vector<std::int32_t> expected{0, 1, 2, 3, 4, 5, 6, 7, 0, 8};
  BOOST_TEST(pyscale::equal_area_segments(directions) == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(minima_are_met_where_the_data_allow) {
  for (std::uint64_t seed = 1; seed < 30; ++seed) {
    const int n_classes = 5, n_strata = 4;
    const SelectionCase c(1400, 6, n_classes, n_strata, seed);
    for (const Index minimum : {1, 7, 30, 1000}) {
      const auto chosen = c.select(minimum, 3 * minimum * n_classes / 2, n_strata);
      for (int s = 0; s < n_strata; ++s) {
        Index total = 0, available = 0;
        for (int k = 0; k < n_classes; ++k) {
          const Index n = c.count(s, k, &chosen), all = c.count(s, k, nullptr);
          BOOST_TEST(n >= std::min(minimum, all));
          total += n;
          available += all;
        }
        BOOST_TEST(total >= std::min(3 * minimum * n_classes / 2, available));
        // Each group is taken for a class below its minimum, or since the total is.
        Index n_chosen = 0;
        for (std::size_t h = 0; h < chosen.size(); ++h) n_chosen += c.stratum_of_group[h] == s && chosen[h];
        BOOST_TEST(n_chosen <= minimum * n_classes + 3 * minimum * n_classes / 2);
      }
      for (std::size_t h = 0; h < chosen.size(); ++h)
        BOOST_TEST((c.stratum_of_group[h] >= 0 || chosen[h] == 0));
    }
  }
}

BOOST_AUTO_TEST_CASE(the_class_with_the_fewest_takes_the_group_that_covers_most) {
  // Classes of the rows of five groups; the first has one class more than the others.
  const std::vector<std::int32_t> classes{0, 1, 2, 0, 0, 0, 1, 1, 2, 2};
  const std::vector<Index> offsets{0, 3, 5, 6, 8, 10};
  const std::vector<std::int32_t> stratum(5, 0);
  const auto select = [&](Index per_class, const std::vector<std::uint8_t>& before) {
    const std::vector<Index> minimum{per_class}, total{0};
    return pyscale::select_groups(classes, offsets, stratum, {minimum, total}, before, 1);
  };
  BOOST_TEST(select(0, {}) == (std::vector<std::uint8_t>(5, 0)), boost::test_tools::per_element());
  BOOST_TEST(select(1, {}) == (std::vector<std::uint8_t>{1, 0, 0, 0, 0}), boost::test_tools::per_element());
  // Class 0 needs one of groups 1 and 2, classes 1 and 2 their only other group.
  const auto two = select(2, {});
  BOOST_TEST(int(two[0] + two[3] + two[4]) == 3);
  BOOST_TEST(int(two[1] + two[2]) == 1);
  // What was chosen before counts, and stays.
  BOOST_TEST(select(2, {0, 1, 0, 1, 1}) == (std::vector<std::uint8_t>{0, 1, 0, 1, 1}),
             boost::test_tools::per_element());
  BOOST_TEST(select(3, {}) == (std::vector<std::uint8_t>{1, 1, 0, 1, 1}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(same_choice_for_any_number_of_threads) {
  const SelectionCase c(20000, 8, 12, 60, 3);
  const auto one = c.select(20, 300, 60);
  for (const int n_threads : {2, 3, 8}) BOOST_TEST((one == c.select(20, 300, 60, n_threads)));
}

BOOST_AUTO_TEST_CASE(sizes_must_agree) {
  const SelectionCase c(30, 3, 2, 2, 1);
  BOOST_CHECK_THROW(c.select(1, 1, 1), std::invalid_argument);
  BOOST_CHECK_THROW(c.select(1, 1, 2, 1, std::vector<std::uint8_t>(3)), std::invalid_argument);
  const std::vector<std::int32_t> data_set(static_cast<std::size_t>(c.offsets.back()), 2),
      shell(c.stratum_of_group.size(), 0);
  const std::vector<std::uint8_t> use(data_set.size(), 1);
  BOOST_CHECK_THROW(pyscale::connectivity(data_set, c.offsets, use, shell, 2, 1), std::invalid_argument);
  BOOST_CHECK_THROW(pyscale::connectivity(data_set, c.offsets, use, shell, 3, 0), std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(parts_and_links_by_hand) {
  // Groups: {0, 0}, {0, 2}, {1, 3}, {3, unused 0}, {1, 3, 4}; data set 5 is alone.
  const std::vector<std::int32_t> data_set{0, 0, 0, 2, 1, 3, 3, 0, 1, 3, 4};
  const std::vector<Index> offsets{0, 2, 4, 6, 8, 11};
  const std::vector<std::uint8_t> use{1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1};
  const auto found =
      pyscale::connectivity(data_set, offsets, use, std::vector<std::int32_t>{0, 0, 1, 0, 1}, 6, 2);
  BOOST_TEST(found.component == (std::vector<std::int32_t>{0, 1, 0, 1, 1, 2}),
             boost::test_tools::per_element());
  BOOST_TEST(found.shared == (std::vector<Index>{1, 0, 0, 2, 1, 0, 0, 2, 0, 1, 0, 0}),
             boost::test_tools::per_element());
  BOOST_TEST(found.linking == (std::vector<Index>{1, 2}), boost::test_tools::per_element());
  const auto fewer =
      pyscale::connectivity(data_set, offsets, use, std::vector<std::int32_t>{0, -1, 0, 0, 0}, 6, 1);
  BOOST_TEST(fewer.component == (std::vector<std::int32_t>{0, 1, 2, 1, 1, 3}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_long_chain_is_one_part) {
  const Index n = 100000;
  std::vector<std::int32_t> data_set;
  std::vector<Index> offsets{0};
  for (Index k = n - 1; k > 0; --k) {
    data_set.push_back(static_cast<std::int32_t>(k));
    data_set.push_back(static_cast<std::int32_t>(k - 1));
    offsets.push_back(offsets.back() + 2);
  }
  const std::vector<std::uint8_t> use(data_set.size(), 1);
  const std::vector<std::int32_t> shell(offsets.size() - 1, 0);
  const auto found = pyscale::connectivity(data_set, offsets, use, shell, n, 1);
  BOOST_TEST(std::accumulate(found.component.begin(), found.component.end(), Index{0}) == 0);
}

BOOST_AUTO_TEST_SUITE_END()
