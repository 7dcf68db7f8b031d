// Reflections with a known answer for tests of pyscale::scale.
#pragma once
#include <pyscale/scaling.hpp>

#include "cases.hpp"

namespace pyscale_tests {

/// Data sets of a tetragonal crystal with scales and B's of their own and a scale that varies with rotation;
/// errors are 3 % and that of counting.
struct ScalingCase {
  std::vector<Miller> miller_index;
  std::vector<double> intensity, variance, image_z, true_g;
  std::vector<std::int32_t> data_set;
  pyscale::Reflections reflections;

  explicit ScalingCase(int n_data_sets, std::uint64_t seed = 1) {
    reflections.unit_cell = {60, 60, 40, 90, 90, 90};
    reflections.rotations = pyscale::rotations_of_space_group(96);
    Random random(seed);
    for (int h = 1; h < 12; ++h)
      for (int k = 0; k <= h; ++k)
        for (int l = 1; l < 9; ++l) {
          const double truth = -500.0 * std::log(1.0 - random.uniform());
          for (int i = 0; i < 8; ++i) add({h, k, l}, truth, n_data_sets, random);
        }
    pyscale::RotationGeometry sweep;
    sweep.image_width_deg = 0.5;
    reflections.sweeps.assign(static_cast<std::size_t>(n_data_sets), sweep);
    reflections.miller_index = miller_index;
    reflections.intensity = intensity;
    reflections.variance = variance;
    reflections.image_z = image_z;
    reflections.data_set = data_set;
  }
  ScalingCase(const ScalingCase&) = delete;
  ScalingCase& operator=(const ScalingCase&) = delete;

  /// Standard deviation of ln(found / true).
  double error(const std::vector<double>& g) const {
    double sum = 0, square = 0;
    for (std::size_t i = 0; i < g.size(); ++i) {
      const double x = std::log(g[i] / true_g[i]);
      sum += x;
      square += x * x;
    }
    const auto n = static_cast<double>(g.size());
    return std::sqrt(std::max(square / n - sum * sum / (n * n), 0.0));
  }

 private:
  void add(const Miller& h, double truth, int n_data_sets, Random& random) {
    const Index k = random.below(n_data_sets);
    const double z = 120.0 * random.uniform();
    const double g = std::pow(3.0, static_cast<double>(k)) * (1.0 + 0.2 * std::sin(z / 30.0));
    const double v = 50.0 + g * truth;
    double normal = -6.0;  // a sum of twelve uniform numbers
    for (int i = 0; i < 12; ++i) normal += random.uniform();
    miller_index.push_back(h);
    data_set.push_back(static_cast<std::int32_t>(k));
    image_z.push_back(z);
    intensity.push_back(g * truth + normal * std::sqrt(v + 9e-4 * g * g * truth * truth));
    variance.push_back(v);
    true_g.push_back(g);
  }
};

}  // namespace pyscale_tests
