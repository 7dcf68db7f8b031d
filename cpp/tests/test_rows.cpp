#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>
#include <pyscale/rows.hpp>
#include <random>
#include <stdexcept>

using namespace pyscale;

namespace {

std::vector<double> random_values(std::size_t n, unsigned seed, double low, double high) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> value(low, high);
  std::vector<double> values(n);
  for (double& v : values) v = value(random);
  return values;
}

std::vector<std::int32_t> random_data_sets(std::size_t n, int n_data_sets, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<std::int32_t> number(0, n_data_sets - 1);
  std::vector<std::int32_t> values(n);
  for (auto& v : values) v = number(random);
  return values;
}

// By sorting everything, with linear interpolation.
double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  const double place = q * static_cast<double>(values.size() - 1);
  const auto k = static_cast<std::size_t>(place);
  const double next = k + 1 < values.size() ? values[k + 1] : values[k];
  return values[k] + (next - values[k]) * (place - static_cast<double>(k));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(rows)

BOOST_AUTO_TEST_CASE(rows_of_a_data_set_keep_their_order) {
  const std::vector<std::int32_t> data_set = {2, 0, 2, 3, 0};
  const RowsOfDataSets found = rows_of_data_sets(data_set, 5);
  BOOST_TEST(found.row == (std::vector<Index>{1, 4, 0, 2, 3}), boost::test_tools::per_element());
  BOOST_TEST(found.offsets == (std::vector<Index>{0, 2, 2, 4, 5, 5}), boost::test_tools::per_element());
  BOOST_CHECK_THROW(rows_of_data_sets(data_set, 3), std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(canonical_rank_is_that_of_a_sort_by_all_keys) {
  const std::size_t n = 5000;
  const auto data_set = random_data_sets(n, 7, 1);
  std::vector<double> z = random_values(n, 2, 0, 20), intensity = random_values(n, 3, 0, 4);
  for (auto* values : {&z, &intensity})
    for (double& v : *values) v = std::floor(v);
  std::vector<Index> order(n);
  std::iota(order.begin(), order.end(), Index{0});
  std::sort(order.begin(), order.end(), [&](Index a, Index b) {
    return std::make_tuple(data_set[a], z[a], intensity[a], a) <
           std::make_tuple(data_set[b], z[b], intensity[b], b);
  });
  const std::vector<Index> rank = canonical_rank(data_set, z, intensity, 7, 2);
  for (std::size_t k = 0; k < n; ++k) BOOST_TEST(rank[order[k]] == static_cast<Index>(k));
}

BOOST_AUTO_TEST_CASE(count_variance_factors_are_quantiles_of_each_data_set) {
  const std::size_t n = 4000;
  const auto data_set = random_data_sets(n, 4, 4);
  const auto conversion = random_values(n, 5, -0.1, 2);
  auto intensity = random_values(n, 6, -20, 400);
  const auto variance = random_values(n, 7, 1, 500);
  for (std::size_t i = 0; i < n; ++i)
    if (data_set[i] == 3) intensity[i] = 0.1;
  const auto found = count_variance_factors(intensity, variance, conversion, data_set, 4, 2);
  for (int k = 0; k < 3; ++k) {
    std::vector<double> background, slope;
    for (std::size_t i = 0; i < n; ++i) {
      const double raw = intensity[i] / conversion[i], spread = variance[i] / std::pow(conversion[i], 2);
      if (data_set[i] == k && conversion[i] > 0 && std::abs(raw) < std::sqrt(spread))
        background.push_back(spread);
    }
    const double lowest = background.size() < 50 ? 0 : quantile(background, 0.005);
    for (std::size_t i = 0; i < n; ++i) {
      const double raw = intensity[i] / conversion[i], spread = variance[i] / std::pow(conversion[i], 2);
      if (data_set[i] == k && conversion[i] > 0 && raw > 3 * std::sqrt(spread))
        slope.push_back((spread - lowest) / raw);
    }
    BOOST_TEST(slope.size() >= 50u);
    BOOST_TEST(found[k] == std::max(0.0, quantile(slope, 0.005)), boost::test_tools::tolerance(1e-12));
  }
  BOOST_TEST(found[3] == 0);
}

BOOST_AUTO_TEST_CASE(pair_residuals_leave_no_mean_in_a_group) {
  const std::vector<Index> offsets = {0, 3, 3, 5};
  const std::vector<std::int32_t> data_set = {0, 1, 2, 2, 0};
  const std::vector<double> value = {1, 2, 4, 3, 7}, weight = {1, 2, 1, 3, 1}, x = {0.5, -1, 0};
  const PairsView pairs{offsets, data_set, value, weight};
  // left: 0.5, 3, 4 with mean 10.5 / 4; 3, 6.5 with mean 15.5 / 4
  const std::vector<double> expected = {0.5 - 2.625, 3 - 2.625, 4 - 2.625, 3 - 3.875, 6.5 - 3.875};
  const auto found = pair_residuals(pairs, x, 2);
  BOOST_TEST(found == expected, boost::test_tools::per_element());
  const auto sums = pair_residual_sums(pairs, x, 2);
  BOOST_TEST(sums[0] == expected[0] + expected[4], boost::test_tools::tolerance(1e-14));
  BOOST_TEST(sums[1] == 2 * expected[1], boost::test_tools::tolerance(1e-14));
  BOOST_TEST(sums[2] == expected[2] + 3 * expected[3], boost::test_tools::tolerance(1e-14));
}

BOOST_AUTO_TEST_CASE(sums_do_not_depend_on_the_number_of_threads) {
  const std::size_t n = 300000;
  const auto data_set = random_data_sets(n, 50, 8);
  std::vector<Index> offsets;
  for (Index k = 0; k <= static_cast<Index>(n); k += 30) offsets.push_back(k);
  const auto value = random_values(n, 9, -1, 1), weight = random_values(n, 10, 0.1, 1),
             x = random_values(50, 11, -1, 1);
  const PairsView pairs{offsets, data_set, value, weight};
  BOOST_TEST(pair_residual_sums(pairs, x, 1) == pair_residual_sums(pairs, x, 3),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
