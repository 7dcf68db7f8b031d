#include <boost/test/unit_test.hpp>
#include <cmath>
#include <pyscale/crossover.hpp>
#include <stdexcept>

#include "error_cases.hpp"

using namespace pyscale_tests;

BOOST_AUTO_TEST_SUITE(crossover)

// Two classes of groups with both kinds of intensity, weak and strong, some of them negative.
struct CrossoverCase {
  CrossoverCase() : offsets(random_offsets(400, 6, 3)) {
    const Index n_groups = static_cast<Index>(offsets.size()) - 1;
    class_offsets = {0, n_groups / 3, n_groups / 3, n_groups};
    Random random(4);
    for (Index i = 0; i < offsets.back(); ++i) {
      const double strength = 3000 * random.uniform() * random.uniform();
      profile.push_back(strength + 60 * (random.uniform() - 0.5));
      summation.push_back(strength + 90 * (random.uniform() - 0.6));
      profile_variance.push_back(10 + random.uniform() * strength);
      summation_variance.push_back(20 + random.uniform() * strength);
      scale.push_back(0.3 + random.uniform());
    }
  }

  pyscale::IntegratedObservations observations() const {
    return {profile, profile_variance, summation, summation_variance, scale, offsets, class_offsets};
  }

  /// R_meas by its definition.
  double by_definition(Index of_class, double imid) const {
    double above = 0, below = 0;
    for (Index h = class_offsets[of_class]; h < class_offsets[of_class + 1]; ++h) {
      std::vector<double> value, weight;
      for (Index i = offsets[h]; i < offsets[h + 1]; ++i) {
        double w = 1 / (1 + std::pow(std::max(summation[i], 0.0) / imid, 3));
        if (imid == 0) w = 1;
        if (imid == 1) w = 0;
        value.push_back((w * profile[i] + (1 - w) * summation[i]) * scale[i]);
        weight.push_back(1 /
                         ((w * profile_variance[i] + (1 - w) * summation_variance[i]) * scale[i] * scale[i]));
      }
      const auto n = static_cast<double>(value.size());
      if (n < 2) continue;
      double mean = 0, total = 0;
      for (std::size_t k = 0; k < value.size(); ++k) mean += weight[k] * value[k], total += weight[k];
      for (const double v : value) {
        above += std::sqrt(n / (n - 1)) * std::abs(v - mean / total);
        below += v;
      }
    }
    return above / below;
  }

  std::vector<Index> offsets, class_offsets, candidate_offsets{0, 2, 3, 6};
  std::vector<double> imid{0, 300, 1, 0, 1, 800};
  std::vector<double> profile, profile_variance, summation, summation_variance, scale;
};

BOOST_FIXTURE_TEST_CASE(r_meas_is_that_of_its_definition, CrossoverCase) {
  for (const int n_threads : {1, 3}) {
    const auto found = pyscale::r_meas_of_crossovers(observations(), imid, candidate_offsets, n_threads);
    BOOST_REQUIRE(found.size() == imid.size());
    for (std::size_t c : {0, 1, 3, 4, 5})
      BOOST_TEST(found[c] == by_definition(c < 2 ? 0 : 2, imid[c]), boost::test_tools::tolerance(1e-12));
    BOOST_TEST(std::isnan(found[2]));
  }
}

BOOST_FIXTURE_TEST_CASE(sizes_must_fit, CrossoverCase) {
  const std::vector<Index> short_classes{0, 1};
  pyscale::IntegratedObservations obs = observations();
  obs.class_offsets = short_classes;
  BOOST_CHECK_THROW(pyscale::r_meas_of_crossovers(obs, imid, candidate_offsets, 1), std::invalid_argument);
  BOOST_CHECK_THROW(pyscale::r_meas_of_crossovers(observations(), imid, short_classes, 1),
                    std::invalid_argument);
  scale.pop_back();
  BOOST_CHECK_THROW(pyscale::r_meas_of_crossovers(observations(), imid, candidate_offsets, 1),
                    std::invalid_argument);
}

BOOST_AUTO_TEST_SUITE_END()
