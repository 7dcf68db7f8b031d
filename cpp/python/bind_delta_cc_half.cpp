#include <pyscale/delta_cc_half.hpp>

#include "pybind11.hpp"

namespace pyscale_python {
namespace {

py::tuple delta_cc_half(const Array<double>& intensity, const Array<pyscale::Index>& offsets,
                        const Array<std::int32_t>& bin, const Array<std::int32_t>& candidate,
                        pyscale::Index n_bins, pyscale::Index n_candidates) {
  const pyscale::CcHalfObservations obs{view("intensity", intensity), view("offsets", offsets),
                                        view("bin", bin), view("candidate", candidate)};
  pyscale::DeltaCcHalf r;
  {
    const py::gil_scoped_release release;
    r = pyscale::delta_cc_half(obs, n_bins, n_candidates);
  }
  return py::make_tuple(r.cc_half, to_numpy(std::move(r.bin_cc_half)), to_numpy(std::move(r.bin_n_groups)),
                        to_numpy(std::move(r.without)), to_numpy(std::move(r.n_observations)));
}

}  // namespace

void bind_delta_cc_half(py::module_& m) {
  m.def("delta_cc_half", &delta_cc_half, "intensity"_a.noconvert(), "offsets"_a.noconvert(),
        "bin"_a.noconvert(), "candidate"_a.noconvert(), "n_bins"_a, "n_candidates"_a,
        "CC1/2 of all observations, of each bin and its groups, without each candidate, and the candidates' "
        "observations: members of pyscale::DeltaCcHalf.");
}

}  // namespace pyscale_python
