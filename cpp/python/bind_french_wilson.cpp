#include <pyscale/french_wilson.hpp>

#include "pybind11.hpp"

namespace pyscale_python {
namespace {

py::dict french_wilson(const Array<double>& intensity, const Array<double>& sigma,
                       const Array<double>& prior_mean, const Array<std::uint8_t>& is_centric,
                       int n_threads) {
  const auto i = view("intensity", intensity), s = view("sigma", sigma), m = view("prior_mean", prior_mean);
  const auto c = view("is_centric", is_centric);
  pyscale::WilsonPosterior p;
  {
    const py::gil_scoped_release release;
    p = pyscale::french_wilson(i, s, m, c, n_threads);
  }
  return py::dict("intensity"_a = to_numpy(std::move(p.intensity)),
                  "amplitude"_a = to_numpy(std::move(p.amplitude)),
                  "amplitude_sigma"_a = to_numpy(std::move(p.amplitude_sigma)),
                  "log_evidence"_a = to_numpy(std::move(p.log_evidence)));
}

}  // namespace

void bind_french_wilson(py::module_& m) {
  m.def("french_wilson", &french_wilson, "intensity"_a.noconvert(), "sigma"_a.noconvert(),
        "prior_mean"_a.noconvert(), "is_centric"_a.noconvert(), "n_threads"_a = 1,
        "Posterior amplitudes of weak intensities: a dict of the arrays of pyscale::WilsonPosterior.");
}

}  // namespace pyscale_python
