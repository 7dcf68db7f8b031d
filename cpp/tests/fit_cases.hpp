// A small scaling job with every component, of two data sets that share all groups.
#pragma once
#include <memory>
#include <pyscale/levmar.hpp>
#include <pyscale/model.hpp>

#include "cases.hpp"

namespace pyscale_tests {

using pyscale::Vec3;

struct FitCase {
  pyscale::JobModel model;
  std::vector<std::int32_t> data_set;
  std::vector<double> image_z, half_inv_d2, intensity, weight;
  std::vector<Vec3> s0_crystal, s1_crystal;
  std::vector<Index> offsets;
  std::vector<double> start;  ///< near, not at, the solution

  FitCase(Index n, int lmax) : offsets(random_offsets(n, 9, 21)) {
    const pyscale::SmootherAxis axis = pyscale::make_smoother_axis(0.1, 6, 0.0, 100.0);
    for (int set = 0; set < 2; ++set) {
      model.add_data_set();
      model.add_component(set, pyscale::SmoothScale{axis});
      model.add_component(set, pyscale::SmoothDecay{axis});
      model.add_component(set, pyscale::Absorption{pyscale::RealHarmonics(lmax)});
    }
    add_rows(n);
    Random random(23);
    start.resize(static_cast<std::size_t>(model.n_parameters));
    for (double& p : start) p = 0.1 * (random.uniform() - 0.5);
    for (int set = 0; set < 2; ++set)
      for (int k = 0; k < axis.n_nodes; ++k)
        start[model.data_sets[set].front().first_parameter + k] = 1.0 + 0.2 * random.uniform();
  }

  pyscale::ObservationView observations() const {
    return {data_set, image_z, half_inv_d2, s0_crystal, s1_crystal};
  }

  std::unique_ptr<pyscale::FitProblem> problem(int n_threads) const {
    auto result = std::make_unique<pyscale::FitProblem>(model, observations(), intensity, offsets, n_threads);
    result->set_weights(weight);
    result->set_restraints(std::vector<double>(start.size(), 1e-3));
    return result;
  }

 private:
  void add_rows(Index n) {
    Random random(22);
    const auto direction = [&] {
      const double z = 2 * random.uniform() - 1, phi = 6.283185307179586 * random.uniform();
      return Vec3{std::sqrt(1 - z * z) * std::cos(phi), std::sqrt(1 - z * z) * std::sin(phi), z};
    };
    double true_intensity = 0, inverse_d2 = 0;
    for (Index i = 0, group = 0; i < n; ++i) {
      if (i == offsets[group]) {
        true_intensity = 10 + 1000 * random.uniform();
        inverse_d2 = 0.02 + 0.2 * random.uniform();
        ++group;
      }
      data_set.push_back(static_cast<std::int32_t>(random.below(2)));
      image_z.push_back(100 * random.uniform());
      half_inv_d2.push_back(0.5 * inverse_d2);
      s0_crystal.push_back(direction());
      s1_crystal.push_back(direction());
      const double g = (1 + 0.3 * std::sin(0.05 * image_z[i])) * std::exp(-0.5 * half_inv_d2[i]);
      intensity.push_back(true_intensity * g * (0.97 + 0.06 * random.uniform()));
      weight.push_back(1 / (1 + intensity[i]));
    }
  }
};

}  // namespace pyscale_tests
