#include <boost/test/unit_test.hpp>
#include <numeric>
#include <pyscale/scaling.hpp>
#include <string>
#include <thread>

#include "scaling_cases.hpp"

using namespace pyscale_tests;
using boost::test_tools::tolerance;
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
}

BOOST_AUTO_TEST_CASE(the_unit_of_intensity_does_not_matter) {
  ScalingCase c(2);
  const ScalingResult before = pyscale::scale(c.reflections);
  for (double& i : c.intensity) i *= 1e3;
  for (double& v : c.variance) v *= 1e6;
  const ScalingResult after = pyscale::scale(c.reflections);
  for (std::size_t i = 0; i < c.intensity.size(); i += 100)
    BOOST_TEST(after.inverse_scale_factor[i] == before.inverse_scale_factor[i], tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(uncertainties_of_scales_are_those_of_their_errors) {
  double square = 0, n = 0;
  for (std::uint64_t seed = 2; seed < 6; ++seed) {
    const ScalingCase c(1, seed);
    ModelOptions model;
    model.scale_interval = 4;  // nodes of 8 degrees do not follow the true scales well enough
    const ScalingResult r = pyscale::scale(c.reflections, model);
    std::vector<double> error;
    for (std::size_t i = 0; i < c.true_g.size(); ++i)
      error.push_back(std::log(r.inverse_scale_factor[i] / c.true_g[i]));
    const double mean = std::accumulate(error.begin(), error.end(), 0.0) / static_cast<double>(error.size());
    for (std::size_t i = 0; i < error.size(); ++i) {
      const double g = r.inverse_scale_factor[i], deviation = (error[i] - mean) * g;
      square += deviation * deviation / r.inverse_scale_factor_variance[i];
    }
    n += static_cast<double>(error.size());
  }
  const double pull = std::sqrt(square / n);
  BOOST_TEST((pull > 0.75 && pull < 1.35));
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
