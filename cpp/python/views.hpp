// Observations held by numpy arrays, seen by the core as spans.
#pragma once
#include <pybind11/stl.h>

#include <optional>
#include <pyscale/model.hpp>

#include "pybind11.hpp"

namespace pyscale_python {

/// Keeps the arrays of an ObservationView alive. Empty arrays mean: none.
struct Observations {
  Array<std::int32_t> data_set;
  Array<double> image_z, half_inv_d2, s0_crystal, s1_crystal, x_px, y_px, given_factor;

  pyscale::ObservationView view() const {
    using pyscale_python::view;
    return {view("data_set", data_set),
            view("image_z", image_z),
            view("half_inv_d2", half_inv_d2),
            vector_view("s0_crystal", s0_crystal),
            vector_view("s1_crystal", s1_crystal),
            view("x_px", x_px),
            view("y_px", y_px),
            view("given_factor", given_factor)};
  }
};

/// An array that may be None. An empty array as default would load numpy with the module.
using OptionalArray = std::optional<Array<double>>;

inline pyscale::Span<const double> optional_view(const char* name, const OptionalArray& array) {
  return array ? view(name, *array) : pyscale::Span<const double>{};
}

}  // namespace pyscale_python
