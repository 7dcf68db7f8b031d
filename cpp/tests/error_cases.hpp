// Simulated equivalents for the tests of outliers and error model.
#pragma once
#include <cmath>
#include <pyscale/error_model.hpp>
#include <vector>

#include "cases.hpp"

namespace pyscale_tests {

/// Observations with counting errors in groups of 1 to 8, scale factors between 0.5 and 2.
struct EquivalentsCase {
  EquivalentsCase(Index n, std::uint64_t seed) : offsets(random_offsets(n, 8, seed)) {
    Random random(seed + 1);
    for (std::size_t h = 0; h + 1 < offsets.size(); ++h) {
      const double mean = -1000 * std::log(1 - random.uniform());
      for (Index i = offsets[h]; i < offsets[h + 1]; ++i) {
        const double scale = 0.5 + 1.5 * random.uniform(), v = scale * mean + 25;
        double noise = -6;  // a sum of twelve uniform numbers is normal enough
        for (int k = 0; k < 12; ++k) noise += random.uniform();
        g.push_back(scale);
        variance.push_back(v);
        weight.push_back(1 / v);
        intensity.push_back(scale * mean + std::sqrt(v) * noise);
      }
    }
  }

  pyscale::RepeatedObservations repeated(int n_threads) const {
    const auto expected = pyscale::expected_intensity(intensity, weight, g, offsets, {}, n_threads);
    const std::vector<double> conversion(intensity.size(), 1.0);
    return pyscale::repeated_observations(intensity, variance, g, expected, conversion, offsets, {}, 2);
  }

  std::vector<Index> offsets;
  std::vector<double> intensity, variance, weight, g;
};

inline pyscale::RepeatedView view(const pyscale::RepeatedObservations& obs) {
  return {obs.intensity, obs.variance, obs.linear, obs.quadratic, obs.offsets};
}

/// Parameters ln a, d, c of some models, and which of them each row has.
struct ModelsCase {
  ModelsCase(std::size_t n_models, std::size_t n_rows, std::uint64_t seed) {
    Random random(seed);
    for (std::size_t k = 0; k < n_models; ++k)
      for (const double most : {0.5, 5e-3, 2.0}) values.push_back(most * random.uniform());
    if (n_models < 2) return;
    for (std::size_t i = 0; i < n_rows; ++i)
      model.push_back(static_cast<std::int32_t>(static_cast<double>(n_models) * random.uniform()));
  }

  pyscale::ErrorParameters view() const { return {values, model}; }

  std::vector<double> values;
  std::vector<std::int32_t> model;
};

}  // namespace pyscale_tests
