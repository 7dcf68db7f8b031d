#include <boost/test/unit_test.hpp>
#include <stdexcept>

#include "error_cases.hpp"

using namespace pyscale_tests;
using pyscale::ErrorModelTerms;

namespace {

constexpr double nu = 4, kappa = 0.7;

bool same_bits(const ErrorModelTerms& x, const ErrorModelTerms& y) {
  return x.cost == y.cost && x.gradient == y.gradient && x.information == y.information &&
         x.score_variance == y.score_variance;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(error_model)

BOOST_AUTO_TEST_CASE(gradients_by_central_differences) {
  const auto obs = EquivalentsCase(5000, 6).repeated(1);
  for (const std::size_t n_models : {1, 3}) {
    const ModelsCase at_means(n_models, obs.row.size(), 1);
    ModelsCase models = at_means;
    for (double& value : models.values) value *= 1.1;
    const auto residuals = pyscale::group_residuals(view(obs), at_means.view(), 1);
    const auto cost = [&] {
      return pyscale::student_cost(view(obs), residuals.residual, residuals.share, models.view(), nu, kappa,
                                   1);
    };
    const ErrorModelTerms terms = cost();
    for (std::size_t k = 0; k < models.values.size(); ++k) {
      const double value = models.values[k], h = 1e-4 * value;
      models.values[k] = value + h;
      const double up = cost().cost;
      models.values[k] = value - h;
      const double down = cost().cost;
      models.values[k] = value;
      BOOST_TEST(terms.gradient[k] == (up - down) / (2 * h), boost::test_tools::tolerance(1e-5));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_pair_is_one_normal_difference) {
  // Both residuals of two observations are shares of their difference, and their shares sum to one degree of
  // freedom.
  const pyscale::RepeatedObservations pair{{0, 1}, {10, 13}, {4, 5}, {10, 10}, {100, 100}, {0, 2}};
  const std::vector<double> parameters{0.3, 0.01, 0.2};
  const double a2 = std::exp(0.6), v1 = a2 * (4 + 0.2 * 10 + 0.01 * 100),
               v2 = a2 * (5 + 0.2 * 10 + 0.01 * 100);
  const double p1 = v2 / (v1 + v2), z2 = 9 / (v1 + v2), q = z2 / (nu * kappa);
  const double tail = (nu + 1) * std::log(1 + q);
  const double s1 = (1 - p1) * (1 - p1) * (v1 + v2), s2 = p1 * p1 * (v1 + v2);
  const double expected = (1 - p1) * (std::log(s1) + tail) + p1 * (std::log(s2) + tail);
  const auto residuals = pyscale::group_residuals(view(pair), {parameters, {}}, 1);
  const auto terms =
      pyscale::student_cost(view(pair), residuals.residual, residuals.share, {parameters, {}}, nu, kappa, 1);
  BOOST_TEST(terms.cost == expected, boost::test_tools::tolerance(1e-13));
}

BOOST_AUTO_TEST_CASE(residual_variance_is_v_less_that_of_the_mean) {
  const auto obs = EquivalentsCase(2000, 7).repeated(1);
  const std::vector<double> parameters{0.0, 2e-3, 0.5};
  const auto residuals = pyscale::group_residuals(view(obs), {parameters, {}}, 1);
  const auto found = pyscale::residual_variances(view(obs), residuals.share, {parameters, {}}, 1);
  double degrees_of_freedom = 0, worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double v = obs.variance[i] + 0.5 * obs.linear[i] + 2e-3 * obs.quadratic[i];
    worst = std::max(worst, std::abs(found[i] / (v * (1 - residuals.share[i])) - 1));
    degrees_of_freedom += 1 - residuals.share[i];
  }
  BOOST_TEST(worst < 1e-11);
  const double n_groups = static_cast<double>(obs.offsets.size() - 1);
  BOOST_TEST(degrees_of_freedom == static_cast<double>(obs.row.size()) - n_groups,
             boost::test_tools::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(same_bits_for_any_number_of_threads) {
  const EquivalentsCase c(50000, 8);
  const auto obs = c.repeated(1);
  const ModelsCase models(5, obs.row.size(), 2);
  const auto residuals = pyscale::group_residuals(view(obs), models.view(), 1);
  const auto variances = pyscale::residual_variances(view(obs), residuals.share, models.view(), 1);
  const auto terms =
      pyscale::student_cost(view(obs), residuals.residual, residuals.share, models.view(), nu, kappa, 1);
  for (const int n_threads : {2, 3, 8}) {
    BOOST_TEST((c.repeated(n_threads).quadratic == obs.quadratic));
    const auto other = pyscale::group_residuals(view(obs), models.view(), n_threads);
    BOOST_TEST((other.residual == residuals.residual && other.share == residuals.share));
    BOOST_TEST((pyscale::residual_variances(view(obs), other.share, models.view(), n_threads) == variances));
    BOOST_TEST(same_bits(terms, pyscale::student_cost(view(obs), other.residual, other.share, models.view(),
                                                      nu, kappa, n_threads)));
  }
}

BOOST_AUTO_TEST_CASE(nothing_costs_nothing) {
  const pyscale::RepeatedObservations none{{}, {}, {}, {}, {}, {0}};
  const std::vector<double> parameters{0, 0, 0};
  const auto terms = pyscale::student_cost(view(none), {}, {}, {parameters, {}}, nu, kappa, 1);
  BOOST_TEST(terms.cost == 0.0);
  BOOST_TEST((terms.gradient == std::vector<double>(3, 0.0)));
}

BOOST_AUTO_TEST_CASE(misuse_is_refused) {
  const EquivalentsCase c(20, 9);
  const auto& i = c.intensity;
  BOOST_CHECK_THROW(pyscale::repeated_observations(i, i, i, i, i, c.offsets, {}, 1), std::invalid_argument);
  const std::vector<Index> offsets{0, 3};
  BOOST_CHECK_THROW(pyscale::repeated_observations(i, i, i, i, i, offsets, {}, 2), std::invalid_argument);
  const std::vector<double> one(1, 1.0), three(3, 0.0);
  BOOST_CHECK_THROW(pyscale::expected_intensity(i, one, i, c.offsets, {}, 1), std::invalid_argument);
  BOOST_CHECK_THROW(pyscale::error_model_variances(i, i, i, {one, {}}, 1), std::invalid_argument);
  const std::vector<std::int32_t> no_such_model(i.size(), 1);
  BOOST_CHECK_THROW(pyscale::error_model_variances(i, i, i, {three, no_such_model}, 1),
                    std::invalid_argument);
}

BOOST_AUTO_TEST_SUITE_END()
