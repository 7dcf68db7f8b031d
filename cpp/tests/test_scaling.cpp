#include <boost/test/unit_test.hpp>
#include <pyscale/scaling.hpp>
#include <string>
#include <thread>

#include "scaling_cases.hpp"

using namespace pyscale_tests;
using pyscale::ModelOptions;
using pyscale::ScalingOptions;
using pyscale::ScalingResult;

namespace {

/// Message of the DataError that scaling ends with.
std::string data_error(const pyscale::Reflections& r, const ModelOptions& model = {}) {
  try {
    pyscale::scale(r, model);
  } catch (const pyscale::DataError& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

BOOST_AUTO_TEST_SUITE(scaling)

BOOST_AUTO_TEST_CASE(true_scales_are_found) {
  const ScalingCase c(3);
  const ScalingResult r = pyscale::scale(c.reflections);
  BOOST_TEST(r.converged);
  BOOST_TEST(c.error(r.inverse_scale_factor) < 0.01);
  BOOST_TEST(std::abs(r.chi_squared - 1.0) < 0.1);
  BOOST_TEST(std::abs(r.error_model.b - 0.03) < 0.005);
  // The gauge: g are about 1, whatever the start.
  double sum = 0;
  for (const double g : r.inverse_scale_factor) sum += std::log(g);
  BOOST_TEST(std::abs(sum / static_cast<double>(r.inverse_scale_factor.size())) < 0.2);
}

BOOST_AUTO_TEST_CASE(uncertainties_of_scales_are_those_of_their_errors) {
  const ScalingCase c(1, 2);
  const ScalingResult r = pyscale::scale(c.reflections);
  double square = 0;
  const double offset = [&] {
    double sum = 0;
    for (std::size_t i = 0; i < c.true_g.size(); ++i)
      sum += std::log(r.inverse_scale_factor[i] / c.true_g[i]);
    return sum / static_cast<double>(c.true_g.size());
  }();
  for (std::size_t i = 0; i < c.true_g.size(); ++i) {
    const double g = r.inverse_scale_factor[i], error = std::log(g / c.true_g[i]) - offset;
    square += error * error * g * g / r.inverse_scale_factor_variance[i];
  }
  const double pull = std::sqrt(square / static_cast<double>(c.true_g.size()));
  BOOST_TEST((pull > 0.6 && pull < 1.6));
}

BOOST_AUTO_TEST_CASE(planted_outliers_are_rejected) {
  ScalingCase c(1, 3);
  std::vector<std::size_t> planted;
  for (std::size_t i = 5; i < c.intensity.size(); i += 401) {
    c.intensity[i] += 3000.0 + c.intensity[i];
    planted.push_back(i);
  }
  const ScalingResult r = pyscale::scale(c.reflections);
  for (const std::size_t i : planted) BOOST_TEST(r.outlier[i] == 1);
  const auto n = std::count(r.outlier.begin(), r.outlier.end(), 1);
  BOOST_TEST(static_cast<std::size_t>(n) <= planted.size() + 3);
}

BOOST_AUTO_TEST_CASE(unusable_input_is_named) {
  ScalingCase c(2);
  c.variance[7] = 0;
  BOOST_TEST(contains(data_error(c.reflections), "variance of row 7"));
  c.variance[7] = 1;
  c.data_set[9] = 2;
  BOOST_TEST(contains(data_error(c.reflections), "data_set of row 9"));
  c.data_set[9] = 1;
  c.intensity[3] = std::nan("");
  BOOST_TEST(contains(data_error(c.reflections), "intensity of row 3"));
  c.intensity[3] = 1;
  ModelOptions with_surface;
  with_surface.absorption = true;
  BOOST_TEST(contains(data_error(c.reflections, with_surface), "s1 is missing"));
  std::vector<Index> alone(c.intensity.size());
  for (std::size_t i = 0; i < alone.size(); ++i) alone[i] = static_cast<Index>(i);
  c.reflections.group = alone;
  BOOST_TEST(contains(data_error(c.reflections), "measured more than once"));
  BOOST_CHECK_THROW(pyscale::scale(c.reflections, {},
                                   [] {
                                     ScalingOptions o;
                                     o.max_rounds = 0;
                                     return o;
                                   }()),
                    std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(a_request_from_another_thread_stops_a_job) {
  const ScalingCase c(1);
  pyscale::Cancellation request;
  const pyscale::CancellationScope scope(&request);
  std::thread other([&] { request.cancel(); });
  other.join();
  BOOST_CHECK_THROW(pyscale::scale(c.reflections), pyscale::Cancelled);
}

BOOST_AUTO_TEST_CASE(two_jobs_at_once_are_two_jobs) {
  const ScalingCase a(1, 4), b(2, 5);
  const ScalingResult alone = pyscale::scale(a.reflections);
  ScalingResult beside, other;
  std::thread thread([&] { other = pyscale::scale(b.reflections); });
  beside = pyscale::scale(a.reflections);
  thread.join();
  BOOST_TEST(alone.inverse_scale_factor == beside.inverse_scale_factor);
  BOOST_TEST(other.inverse_scale_factor.size() == b.intensity.size());
}

BOOST_AUTO_TEST_SUITE_END()
