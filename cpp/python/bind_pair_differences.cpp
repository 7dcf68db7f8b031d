#include <pyscale/pair_differences.hpp>

#include "pybind11.hpp"

namespace pyscale_python {
namespace {

py::tuple pair_differences(const Array<double>& intensity, const Array<double>& dose,
                           const Array<std::int32_t>& series, const Array<pyscale::Index>& offsets,
                           double start, double width, pyscale::Index n_bins, pyscale::Index n_parts,
                           int n_threads) {
  const pyscale::DosedObservations obs{view("intensity", intensity), view("dose", dose),
                                       view("series", series), view("offsets", offsets)};
  pyscale::PairDifferences p;
  {
    const py::gil_scoped_release release;
    p = pyscale::pair_differences(obs, start, width, n_bins, n_parts, n_threads);
  }
  auto sums = [](pyscale::PairSums& s) {
    return py::make_tuple(to_numpy(std::move(s.difference)), to_numpy(std::move(s.intensity)),
                          to_numpy(std::move(s.n_pairs)));
  };
  return py::make_tuple(sums(p.by_difference), sums(p.by_dose));
}

}  // namespace

void bind_pair_differences(py::module_& m) {
  m.def("pair_differences", &pair_differences, "intensity"_a.noconvert(), "dose"_a.noconvert(),
        "series"_a.noconvert(), "offsets"_a.noconvert(), "start"_a, "width"_a, "n_bins"_a, "n_parts"_a,
        "n_threads"_a = 1,
        "Sums over pairs of equivalents, by difference in dose (part after part) and by the larger dose: "
        "differences, intensities and numbers.");
}

}  // namespace pyscale_python
