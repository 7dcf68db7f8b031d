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

py::array_t<std::uint8_t> disputed_pairs(const Array<double>& intensity, const Array<double>& weight,
                                         const Array<double>& g, const Array<pyscale::Index>& offsets,
                                         double zmax, const Array<std::uint8_t>& excluded, int n_threads,
                                         const OptionalArray& reference,
                                         const OptionalArray& reference_weight) {
  const auto i = view("intensity", intensity), w = view("weight", weight), s = view("g", g);
  const auto o = view("offsets", offsets);
  const auto e = view("excluded", excluded);
  const pyscale::ReferenceView r{optional_view("reference", reference),
                                 optional_view("reference_weight", reference_weight)};
  std::vector<std::uint8_t> disputed;
  {
    const py::gil_scoped_release release;
    disputed = pyscale::disputed_pairs(i, w, s, o, zmax, e, n_threads, r);
  }
  return to_numpy(std::move(disputed));
}

py::tuple compare_with_others(const Array<double>& intensity, const Array<double>& weight,
                              const Array<double>& g, const Array<pyscale::Index>& offsets,
                              const Array<std::uint8_t>& merged, int n_threads) {
  const auto i = view("intensity", intensity), w = view("weight", weight), s = view("g", g);
  const auto o = view("offsets", offsets);
  const auto m = view("merged", merged);
  pyscale::Comparison result;
  {
    const py::gil_scoped_release release;
    result = pyscale::compare_with_others(i, w, s, o, m, n_threads);
  }
  return py::make_tuple(to_numpy(std::move(result.mean)), to_numpy(std::move(result.sigma)),
                        to_numpy(std::move(result.z)));
}

py::array_t<double> sum_over_cells(const Array<std::int32_t>& key, const Array<double>& deviation,
                                   const Array<double>& square, const Array<double>& signal,
                                   const Array<std::uint8_t>& rejected, pyscale::Index n_cells) {
  const auto k = view("key", key);
  const auto d = view("deviation", deviation), q = view("square", square), s = view("signal", signal);
  const auto r = view("rejected", rejected);
  std::vector<double> sums;
  {
    const py::gil_scoped_release release;
    sums = pyscale::sum_over_cells(k, d, q, s, r, n_cells);
  }
  return to_numpy(std::move(sums))
      .reshape({static_cast<py::ssize_t>(n_cells), static_cast<py::ssize_t>(pyscale::n_cell_sums)});
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
  m.def("disputed_pairs", &disputed_pairs, "intensity"_a.noconvert(), "weight"_a.noconvert(),
        "g"_a.noconvert(), "offsets"_a.noconvert(), "zmax"_a, "excluded"_a.noconvert(), "n_threads"_a = 1,
        "reference"_a.noconvert() = py::none(), "reference_weight"_a.noconvert() = py::none(),
        "Mark both rows of groups that come down to two which disagree.");
  m.def("compare_with_others", &compare_with_others, "intensity"_a.noconvert(), "weight"_a.noconvert(),
        "g"_a.noconvert(), "offsets"_a.noconvert(), "merged"_a.noconvert(), "n_threads"_a = 1,
        "Mean of the merged others of each row's group, sigma of the difference, and the row's deviation in "
        "sigmas.");
  m.def("sum_over_cells", &sum_over_cells, "key"_a.noconvert(), "deviation"_a.noconvert(),
        "square"_a.noconvert(), "signal"_a.noconvert(), "rejected"_a.noconvert(), "n_cells"_a,
        "Per cell: observations, sums of deviations, squares, deviation x signal, signal squared, and "
        "rejected.");
}

}  // namespace pyscale_python
