#include <boost/test/unit_test.hpp>
#include <pyscale/outliers.hpp>
#include <stdexcept>

#include "error_cases.hpp"

using namespace pyscale_tests;

BOOST_AUTO_TEST_SUITE(outliers)

// Numbers of dials.scale ('standard', zmax 6).
struct SixEquivalents {
  std::vector<double> intensity{100, 104, 97, 180, 101, 60}, g{1, 1.02, 0.97, 1, 1, 1};
  std::vector<double> weight{1. / 16, 1. / 16, 1. / 16, 1. / 25, 1. / 16, 1. / 16};
  std::vector<Index> offsets{0, 6};
};

BOOST_FIXTURE_TEST_CASE(z_of_each_pass, SixEquivalents) {
  const auto first = pyscale::leave_one_out_z(intensity, weight, g, offsets, {}, 1);
  const std::vector<double> z1{0.6985, 0.1617, 0.6732, 16.4586, 0.4227, 11.7275};
  for (int i = 0; i < 6; ++i) BOOST_TEST(std::abs(first[i] - z1[i]) < 5.1e-5);
  const std::vector<std::uint8_t> without_fourth{0, 0, 0, 1, 0, 0};
  const auto second = pyscale::leave_one_out_z(intensity, weight, g, offsets, without_fourth, 1);
  const std::vector<double> z2{2.0749, 2.6893, 1.9978, 0, 2.3545, 9.1107};
  for (const int i : {0, 1, 2, 4, 5}) BOOST_TEST(std::abs(second[i] - z2[i]) < 5.1e-5);
  BOOST_TEST(std::isnan(second[3]));
}

BOOST_FIXTURE_TEST_CASE(fourth_and_sixth_are_rejected, SixEquivalents) {
  const std::vector<std::uint8_t> expected{0, 0, 0, 1, 0, 1};
  BOOST_TEST(pyscale::find_outliers(intensity, weight, g, offsets, 6.0, {}, 1) == expected,
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(sizes_must_agree) {
  const std::vector<double> three(3, 1.0), two(2, 1.0);
  const std::vector<Index> offsets{0, 3};
  BOOST_CHECK_THROW(pyscale::find_outliers(three, two, three, offsets, 6.0, {}, 1), std::invalid_argument);
  BOOST_CHECK_THROW(pyscale::leave_one_out_z(three, three, two, offsets, {}, 1), std::invalid_argument);
  const std::vector<std::uint8_t> mask(2);
  BOOST_CHECK_THROW(pyscale::leave_one_out_z(three, three, three, offsets, mask, 1), std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(same_bits_for_any_number_of_threads) {
  const EquivalentsCase c(50000, 5);
  const auto z = pyscale::leave_one_out_z(c.intensity, c.weight, c.g, c.offsets, {}, 1);
  const auto flags = pyscale::find_outliers(c.intensity, c.weight, c.g, c.offsets, 2.0, {}, 1);
  for (const int n_threads : {2, 3, 8}) {
    const auto other = pyscale::leave_one_out_z(c.intensity, c.weight, c.g, c.offsets, {}, n_threads);
    bool same = true;
    for (std::size_t i = 0; i < z.size(); ++i)
      same &= z[i] == other[i] || (z[i] != z[i] && other[i] != other[i]);
    BOOST_TEST(same);
    BOOST_TEST((flags == pyscale::find_outliers(c.intensity, c.weight, c.g, c.offsets, 2.0, {}, n_threads)));
  }
}

BOOST_AUTO_TEST_SUITE_END()
