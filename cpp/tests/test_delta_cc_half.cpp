#include <boost/test/unit_test.hpp>
#include <pyscale/delta_cc_half.hpp>
#include <stdexcept>

#include "error_cases.hpp"

using namespace pyscale_tests;

BOOST_AUTO_TEST_SUITE(delta_cc_half)

// Groups of 1 to 6 observations of unequal candidates, one of which is worse than the others.
struct CandidatesCase {
  static constexpr Index n_bins = 4, n_candidates = 9;

  CandidatesCase() : offsets(random_offsets(3000, 6, 7)) {
    Random random(8);
    for (std::size_t h = 0; h + 1 < offsets.size(); ++h) {
      const double mean = -1000 * std::log(1 - random.uniform());
      bin.push_back(static_cast<std::int32_t>(random.below(n_bins + 1)) - 1);
      for (Index i = offsets[h]; i < offsets[h + 1]; ++i) {
        // The first candidate has the most observations, the last but one only a few, the last none.
        const Index c = random.below(1 + random.below(n_candidates - 1));
        candidate.push_back(static_cast<std::int32_t>(random.below(20) == 0 ? -1 : c));
        const double spread = candidate.back() == 2 ? 600 : 60;
        intensity.push_back(mean + spread * (random.uniform() - 0.5));
      }
    }
  }

  pyscale::CcHalfObservations observations() const { return {intensity, offsets, bin, candidate}; }

  /// CC1/2 by its definition, from the observations of all but one candidate.
  double by_definition(std::int32_t left_out, Index only_bin = -1) const {
    double sum = 0, weight = 0;
    for (Index b = 0; b < n_bins; ++b) {
      if (only_bin >= 0 && b != only_bin) continue;
      std::vector<double> means, errors;
      for (std::size_t h = 0; h + 1 < offsets.size(); ++h) {
        if (bin[h] != b) continue;
        std::vector<double> values;
        for (Index i = offsets[h]; i < offsets[h + 1]; ++i)
          if (left_out < 0 || candidate[i] != left_out) values.push_back(intensity[i]);
        if (values.size() < 2) continue;
        means.push_back(mean(values));
        errors.push_back(sample_variance(values) / static_cast<double>(values.size()));
      }
      if (means.size() < 2) continue;
      const double n = static_cast<double>(means.size()), v = sample_variance(means), e = mean(errors);
      sum += n * (v - e) / (v + e);
      weight += n;
    }
    return sum / weight;
  }

  static double mean(const std::vector<double>& x) {
    double sum = 0;
    for (const double value : x) sum += value;
    return sum / static_cast<double>(x.size());
  }

  static double sample_variance(const std::vector<double>& x) {
    const double m = mean(x);
    double sum = 0;
    for (const double value : x) sum += (value - m) * (value - m);
    return sum / static_cast<double>(x.size() - 1);
  }

  std::vector<Index> offsets;
  std::vector<double> intensity;
  std::vector<std::int32_t> bin, candidate;
};

BOOST_FIXTURE_TEST_CASE(is_what_is_left_without_the_candidate, CandidatesCase) {
  const auto found = pyscale::delta_cc_half(observations(), n_bins, n_candidates);
  BOOST_TEST(std::abs(found.cc_half - by_definition(-1)) < 1e-12);
  for (Index b = 0; b < n_bins; ++b)
    BOOST_TEST(std::abs(found.bin_cc_half[b] - by_definition(-1, b)) < 1e-12);
  for (std::int32_t c = 0; c < n_candidates; ++c) {
    BOOST_TEST(std::abs(found.without[c] - by_definition(c)) < 1e-12);
    BOOST_TEST((c == 2) == (found.cc_half - found.without[c] < -1e-3));
  }
  BOOST_TEST(found.without[n_candidates - 1] == found.cc_half);
  BOOST_TEST(found.n_observations[n_candidates - 1] == 0);
}

BOOST_FIXTURE_TEST_CASE(counts_what_has_equivalents, CandidatesCase) {
  const auto found = pyscale::delta_cc_half(observations(), n_bins, n_candidates);
  std::vector<Index> n_groups(n_bins), n_observations(n_candidates);
  for (std::size_t h = 0; h + 1 < offsets.size(); ++h) {
    if (bin[h] < 0 || offsets[h + 1] - offsets[h] < 2) continue;
    n_groups[bin[h]] += 1;
    for (Index i = offsets[h]; i < offsets[h + 1]; ++i)
      if (candidate[i] >= 0) n_observations[candidate[i]] += 1;
  }
  BOOST_TEST(found.bin_n_groups == n_groups, boost::test_tools::per_element());
  BOOST_TEST(found.n_observations == n_observations, boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(a_large_common_value_costs_no_accuracy, CandidatesCase) {
  const auto small = pyscale::delta_cc_half(observations(), n_bins, n_candidates);
  for (double& value : intensity) value += 1e9;
  const auto large = pyscale::delta_cc_half(observations(), n_bins, n_candidates);
  for (Index c = 0; c < n_candidates; ++c) BOOST_TEST(std::abs(large.without[c] - small.without[c]) < 1e-6);
}

BOOST_AUTO_TEST_CASE(what_nothing_defines_is_nan) {
  const std::vector<double> intensity{10, 12, 30, 33};
  const std::vector<Index> offsets{0, 2, 4};
  const std::vector<std::int32_t> bin{0, 0}, candidate{0, 1, 1, 2};
  const auto found = pyscale::delta_cc_half({intensity, offsets, bin, candidate}, 2, 3);
  BOOST_TEST(found.cc_half == found.bin_cc_half[0]);
  BOOST_TEST(std::isnan(found.bin_cc_half[1]));
  for (const double without : found.without) BOOST_TEST(std::isnan(without));
  BOOST_TEST(std::isnan(pyscale::delta_cc_half({{}, std::vector<Index>{0}, {}, {}}, 0, 0).cc_half));
}

BOOST_AUTO_TEST_CASE(sizes_and_numbers_must_fit) {
  const std::vector<double> three(3, 1.0);
  const std::vector<Index> offsets{0, 3}, short_offsets{0, 2};
  const std::vector<std::int32_t> bin{0}, two_bins{0, 0}, candidate{0, 1, 1}, two{0, 1};
  BOOST_CHECK_THROW(pyscale::delta_cc_half({three, short_offsets, bin, candidate}, 1, 2),
                    std::invalid_argument);
  BOOST_CHECK_THROW(pyscale::delta_cc_half({three, offsets, two_bins, candidate}, 1, 2),
                    std::invalid_argument);
  BOOST_CHECK_THROW(pyscale::delta_cc_half({three, offsets, bin, two}, 1, 2), std::invalid_argument);
  BOOST_CHECK_THROW(pyscale::delta_cc_half({three, offsets, bin, candidate}, 0, 2), std::invalid_argument);
  BOOST_CHECK_THROW(pyscale::delta_cc_half({three, offsets, bin, candidate}, 1, 1), std::invalid_argument);
  BOOST_CHECK_THROW(pyscale::delta_cc_half({three, offsets, bin, candidate}, 1, -1), std::invalid_argument);
}

BOOST_AUTO_TEST_SUITE_END()
