// Scaled observations sorted by group, as functions of merging take them.
#pragma once
#include <pyscale/merging.hpp>

#include "pybind11.hpp"

namespace pyscale_python {

inline pyscale::ScaledObservations observations(const Array<double>& intensity, const Array<double>& variance,
                                                const Array<pyscale::Index>& offsets) {
  return {view("intensity", intensity), view("variance", variance), view("offsets", offsets)};
}

}  // namespace pyscale_python
