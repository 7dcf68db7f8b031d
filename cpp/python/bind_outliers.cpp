#include <pyscale/outliers.hpp>

#include "views.hpp"

namespace pyscale_python {
namespace {

py::array_t<double> leave_one_out_z(const Array<double>& intensity, const Array<double>& weight,
                                    const Array<double>& g, const Array<pyscale::Index>& offsets,
                                    const Array<std::uint8_t>& excluded, int n_threads) {
  const auto i = view("intensity", intensity), w = view("weight", weight), s = view("g", g);
  const auto o = view("offsets", offsets);
  const auto e = view("excluded", excluded);
  std::vector<double> z;
  {
    const py::gil_scoped_release release;
    z = pyscale::leave_one_out_z(i, w, s, o, e, n_threads);
  }
  return to_numpy(std::move(z));
}

py::array_t<std::uint8_t> find_outliers(const Array<double>& intensity, const Array<double>& weight,
                                        const Array<double>& g, const Array<pyscale::Index>& offsets,
                                        double zmax, const Array<std::uint8_t>& excluded, int n_threads,
                                        const OptionalArray& reference, const OptionalArray& reference_weight,
                                        bool at_once) {
  const auto i = view("intensity", intensity), w = view("weight", weight), s = view("g", g);
  const auto o = view("offsets", offsets);
  const auto e = view("excluded", excluded);
  const pyscale::ReferenceView r{optional_view("reference", reference),
                                 optional_view("reference_weight", reference_weight)};
  std::vector<std::uint8_t> outlier;
  {
    const py::gil_scoped_release release;
    const auto find = at_once ? &pyscale::find_outliers_at_once : &pyscale::find_outliers;
    outlier = find(i, w, s, o, zmax, e, n_threads, r);
  }
  return to_numpy(std::move(outlier));
}

}  // namespace

void bind_outliers(py::module_& m) {
  m.def("leave_one_out_z", &leave_one_out_z, "intensity"_a.noconvert(), "weight"_a.noconvert(),
        "g"_a.noconvert(), "offsets"_a.noconvert(), "excluded"_a.noconvert(), "n_threads"_a = 1,
        "Deviation of each row from the mean of the others in its group, in standard deviations; NaN if "
        "untested.");
  m.def(
      "find_outliers", &find_outliers, "intensity"_a.noconvert(), "weight"_a.noconvert(), "g"_a.noconvert(),
      "offsets"_a.noconvert(), "zmax"_a, "excluded"_a.noconvert(), "n_threads"_a = 1,
      "reference"_a.noconvert() = py::none(), "reference_weight"_a.noconvert() = py::none(),
      "at_once"_a = false,
      "Flag outliers by the leave-one-out test, one at a time per group, or all at once by the mean of all.");
}

}  // namespace pyscale_python
