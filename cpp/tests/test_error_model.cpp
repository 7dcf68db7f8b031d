#include <boost/test/unit_test.hpp>
#include <functional>
#include <stdexcept>
#include <utility>

#include "error_cases.hpp"

using namespace pyscale_tests;
using pyscale::ErrorModelTerms;

namespace {

using Cost = std::function<ErrorModelTerms(double log_a, double b_squared)>;

void check_gradient(const Cost& cost) {
  for (const auto& [log_a, b_squared] : {std::pair{0.0, 4e-4}, {0.4, 2.5e-3}, {-0.5, 0.09}}) {
    const ErrorModelTerms at = cost(log_a, b_squared);
    const double ha = 1e-5, hb = 1e-4 * b_squared;
    const double da = (cost(log_a + ha, b_squared).cost - cost(log_a - ha, b_squared).cost) / (2 * ha);
    const double db = (cost(log_a, b_squared + hb).cost - cost(log_a, b_squared - hb).cost) / (2 * hb);
    BOOST_TEST(at.gradient[0] == da, boost::test_tools::tolerance(1e-6));
    BOOST_TEST(at.gradient[1] == db, boost::test_tools::tolerance(1e-6));
  }
}

bool same_bits(const ErrorModelTerms& x, const ErrorModelTerms& y) {
  return x.cost == y.cost && x.gradient == y.gradient && x.information == y.information &&
         x.score_variance == y.score_variance;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(error_model)

BOOST_AUTO_TEST_CASE(gradients_by_central_differences) {
  const auto obs = EquivalentsCase(5000, 6).repeated(1);
  check_gradient([&](double a, double b) { return pyscale::restricted_likelihood(view(obs), a, b, 1); });
  const auto residuals = pyscale::group_residuals(view(obs), 1e-3, 1);
  check_gradient(
      [&](double a, double b) { return pyscale::student_likelihood(view(residuals), a, b, 4, 0.7, 1); });
}

BOOST_AUTO_TEST_CASE(a_pair_is_one_normal_difference) {
  // The restricted likelihood of two observations is that of their difference, up to a constant:
  // ln v1 + ln v2 + ln(1/v1 + 1/v2) = ln(v1 + v2).
  const pyscale::RepeatedObservations pair{{0, 1}, {10, 13}, {4, 5}, {100, 100}, {0, 2}};
  const double a2 = std::exp(0.6), v1 = a2 * (4 + 0.01 * 100), v2 = a2 * (5 + 0.01 * 100);
  const double expected = std::log(v1 + v2) + 9 / (v1 + v2);
  BOOST_TEST(pyscale::restricted_likelihood(view(pair), 0.3, 0.01, 1).cost == expected,
             boost::test_tools::tolerance(1e-13));
}

BOOST_AUTO_TEST_CASE(residual_variance_is_v_less_that_of_the_mean) {
  const auto obs = EquivalentsCase(2000, 7).repeated(1);
  const double b_squared = 2e-3;
  const auto residuals = pyscale::group_residuals(view(obs), b_squared, 1);
  double degrees_of_freedom = 0, worst = 0;
  for (std::size_t h = 0; h + 1 < obs.offsets.size(); ++h) {
    double weight_sum = 0;
    for (Index i = obs.offsets[h]; i < obs.offsets[h + 1]; ++i)
      weight_sum += 1 / (obs.variance[i] + b_squared * obs.expected_squared[i]);
    for (Index i = obs.offsets[h]; i < obs.offsets[h + 1]; ++i) {
      const double v = obs.variance[i] + b_squared * obs.expected_squared[i];
      const double found = residuals.variance[i] + b_squared * residuals.expected_squared[i];
      worst = std::max(worst, std::abs(found / (v - 1 / weight_sum) - 1));
      degrees_of_freedom += residuals.weight[i];
    }
  }
  BOOST_TEST(worst < 1e-11);
  const double n_groups = static_cast<double>(obs.offsets.size() - 1);
  BOOST_TEST(degrees_of_freedom == static_cast<double>(obs.row.size()) - n_groups,
             boost::test_tools::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(same_bits_for_any_number_of_threads) {
  const EquivalentsCase c(50000, 8);
  const auto obs = c.repeated(1);
  const auto terms = pyscale::restricted_likelihood(view(obs), 0.2, 1e-3, 1);
  const auto residuals = pyscale::group_residuals(view(obs), 1e-3, 1);
  const auto robust = pyscale::student_likelihood(view(residuals), 0.2, 1e-3, 4, 0.7, 1);
  for (const int n_threads : {2, 3, 8}) {
    BOOST_TEST((c.repeated(n_threads).expected_squared == obs.expected_squared));
    BOOST_TEST(same_bits(terms, pyscale::restricted_likelihood(view(obs), 0.2, 1e-3, n_threads)));
    const auto other = pyscale::group_residuals(view(obs), 1e-3, n_threads);
    BOOST_TEST((other.residual == residuals.residual && other.variance == residuals.variance));
    BOOST_TEST(same_bits(robust, pyscale::student_likelihood(view(other), 0.2, 1e-3, 4, 0.7, n_threads)));
  }
}

BOOST_AUTO_TEST_CASE(nothing_costs_nothing) {
  const pyscale::RepeatedObservations none{{}, {}, {}, {}, {0}};
  BOOST_TEST(pyscale::restricted_likelihood(view(none), 0, 0, 1).cost == 0.0);
  BOOST_TEST(pyscale::student_likelihood({}, 0, 0, 4, 0.7, 1).cost == 0.0);
}

BOOST_AUTO_TEST_CASE(misuse_is_refused) {
  const EquivalentsCase c(20, 9);
  const auto& i = c.intensity;
  BOOST_CHECK_THROW(pyscale::repeated_observations(i, i, i, i, c.offsets, {}, 1), std::invalid_argument);
  const std::vector<Index> offsets{0, 3};
  BOOST_CHECK_THROW(pyscale::repeated_observations(i, i, i, i, offsets, {}, 2), std::invalid_argument);
  const std::vector<double> one(1, 1.0);
  BOOST_CHECK_THROW(pyscale::expected_intensity(i, one, i, c.offsets, {}, 1), std::invalid_argument);
}

BOOST_AUTO_TEST_SUITE_END()
