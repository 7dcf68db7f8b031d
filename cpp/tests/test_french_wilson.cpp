#include <boost/test/unit_test.hpp>
#include <cmath>
#include <pyscale/error.hpp>
#include <pyscale/french_wilson.hpp>
#include <stdexcept>
#include <vector>

BOOST_AUTO_TEST_SUITE(french_wilson)

namespace {

/// <x^k> of x^(nu-1) exp(-(x-h)^2/2) by a midpoint sum in y = x^1/2: no shortcut of the code under test.
double moment(bool centric, double h, double k) {
  double sum = 0, norm = 0;
  const double step = 1e-4, top = std::sqrt(std::max(h, 0.0) + 40);
  for (double y = step / 2; y < top; y += step) {
    const double x = y * y, shift = h < 0 ? h * h / 2 : 0;
    const double f = (centric ? 1 : y) * std::exp(shift - (x - h) * (x - h) / 2);
    sum += f * std::pow(x, k);
    norm += f;
  }
  return sum / norm;
}

}  // namespace

BOOST_AUTO_TEST_CASE(moments) {
  for (const bool centric : {false, true})
    for (const double h : {-40.0, -12.5, -11.5, -3.0, 0.0, 2.0, 11.5, 12.5, 40.0}) {
      const double sigma = 3, prior = 5, u = sigma / prior / (centric ? 2 : 1);
      const std::vector<double> i{sigma * (h + u)}, s{sigma}, m{prior};
      const std::vector<std::uint8_t> c{static_cast<std::uint8_t>(centric)};
      const auto found = pyscale::french_wilson(i, s, m, c, 1);
      const double f = std::sqrt(sigma) * moment(centric, h, 0.5), j = sigma * moment(centric, h, 1);
      BOOST_TEST(std::abs(found.amplitude[0] / f - 1) < 1e-6);
      BOOST_TEST(std::abs(found.intensity[0] / j - 1) < 1e-6);
      BOOST_TEST(std::abs(found.amplitude_sigma[0] / std::sqrt(j - f * f) - 1) < 1e-4);
    }
}

BOOST_AUTO_TEST_CASE(wrong_input) {
  const std::vector<double> one{1}, two{1, 1}, zero{0};
  const std::vector<std::uint8_t> flag{0};
  BOOST_CHECK_THROW(pyscale::french_wilson(one, two, one, flag, 1), std::invalid_argument);
  BOOST_CHECK_THROW(pyscale::french_wilson(one, zero, one, flag, 1), pyscale::DataError);
  BOOST_CHECK_THROW(pyscale::french_wilson(one, one, zero, flag, 1), pyscale::DataError);
}

BOOST_AUTO_TEST_SUITE_END()
