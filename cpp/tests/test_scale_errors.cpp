#include <boost/test/unit_test.hpp>
#include <cmath>
#include <pyscale/error.hpp>
#include <pyscale/scale_errors.hpp>
#include <stdexcept>
#include <vector>

using pyscale::Index;

BOOST_AUTO_TEST_SUITE(scale_errors)

struct TwoGroups {
  std::vector<double> intensity{98, 103, 99, 5}, q{1e-3, 2e-3, 0, 1e-4}, statistical{4, 9, 16, 1};
  std::vector<Index> offsets{0, 3, 4};

  double mean() const {
    double sum_w = 0, sum = 0;
    for (int i = 0; i < 3; ++i) sum_w += 1 / statistical[i], sum += intensity[i] / statistical[i];
    return sum / sum_w;
  }
};

BOOST_FIXTURE_TEST_CASE(what_was_added_is_taken_out, TwoGroups) {
  std::vector<double> stored = statistical;
  for (int i = 0; i < 3; ++i) stored[i] += mean() * mean() * q[i];
  stored[3] += 25 * q[3];
  const auto found = pyscale::statistical_variance({intensity, stored, offsets}, q, 2);
  for (int i = 0; i < 4; ++i) BOOST_TEST(std::abs(found[i] / statistical[i] - 1) < 1e-8);
}

BOOST_FIXTURE_TEST_CASE(a_tenth_remains, TwoGroups) {
  const std::vector<double> large(4, 10.0);
  const auto found = pyscale::statistical_variance({intensity, statistical, offsets}, large, 1);
  for (int i = 0; i < 4; ++i) BOOST_TEST(std::abs(found[i] - 0.1 * statistical[i]) < 1e-12);
}

BOOST_FIXTURE_TEST_CASE(common_errors_do_not_average_out, TwoGroups) {
  const std::vector<double> same(4, 4e-4);
  const auto equal = pyscale::common_scale_error({intensity, statistical, offsets}, same, {}, 1);
  for (const double e : equal) BOOST_TEST(std::abs(e - 0.02) < 1e-15);
  const auto found = pyscale::common_scale_error({intensity, statistical, offsets}, q, {}, 1);
  const double w = 1. / 4 + 1. / 9 + 1. / 16, sum = std::sqrt(1e-3) / 4 + std::sqrt(2e-3) / 9;
  BOOST_TEST(std::abs(found[0] - sum / w) < 1e-15);
}

BOOST_FIXTURE_TEST_CASE(of_correlated_errors_a_part_averages_out, TwoGroups) {
  const std::vector<double> correlation(4, 0.25);
  const auto found = pyscale::common_scale_error({intensity, statistical, offsets}, q, correlation, 1);
  const double w = 1. / 4 + 1. / 9 + 1. / 16, a = std::sqrt(1e-3) / 4, b = std::sqrt(2e-3) / 9;
  BOOST_TEST(std::abs(found[0] - std::sqrt(a * a + b * b + 2 * 0.25 * a * b) / w) < 1e-15);
  BOOST_TEST(std::abs(found[1] - 0.01) < 1e-15);
}

BOOST_FIXTURE_TEST_CASE(wrong_input, TwoGroups) {
  const std::vector<double> negative{0, 0, -1, 0}, three{0, 0, 0};
  BOOST_CHECK_THROW(pyscale::common_scale_error({intensity, statistical, offsets}, negative, {}, 1),
                    pyscale::DataError);
  BOOST_CHECK_THROW(pyscale::statistical_variance({intensity, statistical, offsets}, three, 1),
                    std::invalid_argument);
}

BOOST_AUTO_TEST_SUITE_END()
