#include <pyscale/crossover.hpp>

#include "pybind11.hpp"

namespace pyscale_python {
namespace {

py::array_t<double> r_meas_of_crossovers(const Array<double>& profile, const Array<double>& profile_variance,
                                         const Array<double>& summation,
                                         const Array<double>& summation_variance, const Array<double>& scale,
                                         const Array<pyscale::Index>& offsets,
                                         const Array<pyscale::Index>& class_offsets,
                                         const Array<double>& imid,
                                         const Array<pyscale::Index>& candidate_offsets, int n_threads) {
  const pyscale::IntegratedObservations obs{view("profile", profile),
                                            view("profile_variance", profile_variance),
                                            view("summation", summation),
                                            view("summation_variance", summation_variance),
                                            view("scale", scale),
                                            view("offsets", offsets),
                                            view("class_offsets", class_offsets)};
  const auto candidates = view("imid", imid);
  const auto first = view("candidate_offsets", candidate_offsets);
  std::vector<double> r_meas;
  {
    const py::gil_scoped_release release;
    r_meas = pyscale::r_meas_of_crossovers(obs, candidates, first, n_threads);
  }
  return to_numpy(std::move(r_meas));
}

}  // namespace

void bind_crossover(py::module_& m) {
  m.def("r_meas_of_crossovers", &r_meas_of_crossovers, "profile"_a.noconvert(),
        "profile_variance"_a.noconvert(), "summation"_a.noconvert(), "summation_variance"_a.noconvert(),
        "scale"_a.noconvert(), "offsets"_a.noconvert(), "class_offsets"_a.noconvert(), "imid"_a.noconvert(),
        "candidate_offsets"_a.noconvert(), "n_threads"_a = 1,
        "R_meas of each crossover between profile-fitted and summed intensities, by classes of groups.");
}

}  // namespace pyscale_python
