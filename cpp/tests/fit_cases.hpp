// A small scaling job with every component, of data sets that share all groups.
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
  std::vector<double> image_z, half_inv_d2, x_px, y_px, given_factor, intensity, weight;
  std::vector<Vec3> s0_crystal, s1_crystal;
  std::vector<Index> offsets;
  std::vector<double> start;  ///< near, not at, the solution

  FitCase(Index n, int lmax, int n_sets = 2) : offsets(random_offsets(n, 9, 21)) {
    const pyscale::SmootherAxis axis = pyscale::make_smoother_axis(0.1, 6, 0.0, 100.0);
    for (int set = 0; set < n_sets; ++set) {
      model.add_data_set();
      model.add_component(set, pyscale::SmoothScale{axis});
      model.add_component(set, pyscale::SmoothDecay{axis});
      model.add_component(set, pyscale::ImageScale{0.0, 40});
      model.add_component(set, pyscale::SmoothGrid{grid(axis)});
      model.add_component(set, pyscale::Absorption{pyscale::RealHarmonics(lmax)});
    }
    const pyscale::DoseDecay dose[2] = {{2, 0.1, 1.0}, {2, 0.2, 0.0}};
    const Index shared = model.add_component(0, dose[0]);
    for (int set = 1; set < n_sets; ++set) model.share_component(set, dose[set % 2], shared);
    add_rows(n, n_sets);
    Random random(23);
    start.resize(static_cast<std::size_t>(model.n_parameters));
    for (double& p : start) p = 0.1 * (random.uniform() - 0.5);
    for (int set = 0; set < n_sets; ++set)
      for (const pyscale::PlacedComponent& placed : model.data_sets[set]) {
        const auto [null_value, n] =
            std::visit([](const auto& c) { return std::pair<double, int>(c.null_value, c.n_parameters()); },
                       placed.component);
        for (int k = 0; k < n && null_value == 1.0; ++k)
          start[placed.first_parameter + k] = 1.0 + 0.2 * random.uniform();
      }
  }

  pyscale::ObservationView observations() const {
    return {data_set, image_z, half_inv_d2, s0_crystal, s1_crystal, x_px, y_px, given_factor};
  }

  std::unique_ptr<pyscale::FitProblem> problem(int n_threads) const {
    auto result = std::make_unique<pyscale::FitProblem>(model, observations(), intensity, offsets, n_threads);
    result->set_weights(weight);
    pyscale::Restraints restraints;
    for (std::size_t k = 0; k < start.size(); ++k)
      restraints.add(static_cast<std::int32_t>(k), 0.01 * k, 1e-3);
    result->set_restraints(std::move(restraints));
    return result;
  }

 private:
  static pyscale::Grid grid(const pyscale::SmootherAxis& time) {
    using pyscale::Coordinate;
    const auto axis = [](double extent) { return pyscale::make_smoother_axis(3 / extent, 5, 0.0, extent); };
    return pyscale::Grid(
        {{Coordinate::x_px, axis(1000)}, {Coordinate::y_px, axis(500)}, {Coordinate::image_z, time}});
  }

  void add_rows(Index n, int n_sets) {
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
      data_set.push_back(static_cast<std::int32_t>(random.below(n_sets)));
      image_z.push_back(100 * random.uniform());
      half_inv_d2.push_back(0.5 * inverse_d2);
      s0_crystal.push_back(direction());
      s1_crystal.push_back(direction());
      x_px.push_back(1000 * random.uniform());
      y_px.push_back(500 * random.uniform());
      given_factor.push_back(0.9 + 0.2 * random.uniform());
      const double g = (1 + 0.3 * std::sin(0.05 * image_z[i])) * std::exp(-0.5 * half_inv_d2[i]);
      intensity.push_back(true_intensity * g * (0.97 + 0.06 * random.uniform()));
      weight.push_back(1 / (1 + intensity[i]));
    }
  }
};

}  // namespace pyscale_tests
