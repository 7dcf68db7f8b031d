// Observations held by numpy arrays, seen by the core as spans.
#pragma once
#include <pyscale/model.hpp>

#include "pybind11.hpp"

namespace pyscale_python {

/// Keeps the arrays of an ObservationView alive. Directions of shape (0, 3) mean: none.
struct Observations {
  Observations(Array<std::int32_t> data_set_, Array<double> image_z_, Array<double> half_inv_d2_,
               Array<double> s0_crystal_, Array<double> s1_crystal_)
      : data_set(std::move(data_set_)),
        image_z(std::move(image_z_)),
        half_inv_d2(std::move(half_inv_d2_)),
        s0_crystal(std::move(s0_crystal_)),
        s1_crystal(std::move(s1_crystal_)) {
    view();
  }

  pyscale::ObservationView view() const {
    return {pyscale_python::view("data_set", data_set), pyscale_python::view("image_z", image_z),
            pyscale_python::view("half_inv_d2", half_inv_d2), vector_view("s0_crystal", s0_crystal),
            vector_view("s1_crystal", s1_crystal)};
  }

  Array<std::int32_t> data_set;
  Array<double> image_z, half_inv_d2, s0_crystal, s1_crystal;
};

}  // namespace pyscale_python
