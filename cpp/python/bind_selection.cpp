#include <pyscale/connectivity.hpp>
#include <pyscale/selection.hpp>

#include "pybind11.hpp"

namespace pyscale_python {
namespace {

py::array_t<std::int32_t> equal_area_segments(const Array<double>& direction) {
  const auto directions = vector_view("direction", direction);
  std::vector<std::int32_t> segments;
  {
    const py::gil_scoped_release release;
    segments = pyscale::equal_area_segments(directions);
  }
  return to_numpy(std::move(segments));
}

py::array_t<std::uint8_t> select_groups(const Array<std::int32_t>& class_of_row,
                                        const Array<pyscale::Index>& offsets,
                                        const Array<std::int32_t>& stratum_of_group,
                                        const Array<pyscale::Index>& min_per_class,
                                        const Array<pyscale::Index>& min_total,
                                        const Array<std::uint8_t>& chosen_before, int n_threads) {
  const auto classes = view("class_of_row", class_of_row);
  const auto first_rows = view("offsets", offsets);
  const auto strata = view("stratum_of_group", stratum_of_group);
  const auto before = view("chosen_before", chosen_before);
  const pyscale::SelectionMinima minima{view("min_per_class", min_per_class), view("min_total", min_total)};
  std::vector<std::uint8_t> chosen;
  {
    const py::gil_scoped_release release;
    chosen = pyscale::select_groups(classes, first_rows, strata, minima, before, n_threads);
  }
  return to_numpy(std::move(chosen));
}

py::dict connectivity(const Array<std::int32_t>& data_set, const Array<pyscale::Index>& offsets,
                      const Array<std::uint8_t>& use, const Array<std::int32_t>& shell_of_group,
                      pyscale::Index n_data_sets, pyscale::Index n_shells) {
  const auto data_sets = view("data_set", data_set);
  const auto first_rows = view("offsets", offsets);
  const auto used = view("use", use);
  const auto shells = view("shell_of_group", shell_of_group);
  pyscale::Connectivity found;
  {
    const py::gil_scoped_release release;
    found = pyscale::connectivity(data_sets, first_rows, used, shells, n_data_sets, n_shells);
  }
  return py::dict("component"_a = to_numpy(std::move(found.component)),
                  "shared"_a = to_numpy(std::move(found.shared)).reshape({n_data_sets, n_shells}),
                  "linking"_a = to_numpy(std::move(found.linking)));
}

}  // namespace

void bind_selection(py::module_& m) {
  m.attr("N_SEGMENTS") = pyscale::n_segments;
  m.def("equal_area_segments", &equal_area_segments, "direction"_a.noconvert(),
        "Segment of equal solid angle, 0 to 11, of each direction (n, 3); -1 for a zero vector.");
  m.def("select_groups", &select_groups, "class_of_row"_a.noconvert(), "offsets"_a.noconvert(),
        "stratum_of_group"_a.noconvert(), "min_per_class"_a.noconvert(), "min_total"_a.noconvert(),
        "chosen_before"_a.noconvert(), "n_threads"_a = 1,
        "Whole groups that cover classes evenly in each stratum: (n_groups,) uint8, see "
        "pyscale::select_groups.");
  m.def("connectivity", &connectivity, "data_set"_a.noconvert(), "offsets"_a.noconvert(), "use"_a.noconvert(),
        "shell_of_group"_a.noconvert(), "n_data_sets"_a, "n_shells"_a,
        "Connected data sets and the groups that link them: a dict of the arrays of pyscale::Connectivity.");
}

}  // namespace pyscale_python
