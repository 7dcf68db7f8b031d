#include <pyscale/groups.hpp>

#include "pybind11.hpp"

namespace pyscale_python {
namespace {

py::dict group_reflections(const Array<std::int32_t>& miller_index, const Array<std::int32_t>& rotations,
                           const Array<pyscale::Index>& rank, int n_threads) {
  if (rotations.ndim() != 3 || rotations.shape(1) != 3 || rotations.shape(2) != 3)
    throw std::invalid_argument("rotations must have shape (m, 3, 3)");
  const auto hkl = miller_view("miller_index", miller_index);
  const auto ranks = view("rank", rank);
  const auto* first = reinterpret_cast<const pyscale::RotationMatrix*>(rotations.data());
  const std::vector<pyscale::RotationMatrix> matrices(first, first + rotations.shape(0));
  pyscale::ReflectionGroups g;
  {
    const py::gil_scoped_release release;
    g = pyscale::group_reflections(hkl, matrices, ranks, n_threads);
  }
  return py::dict("order"_a = to_numpy(std::move(g.order)), "offsets"_a = to_numpy(std::move(g.offsets)),
                  "anomalous_offsets"_a = to_numpy(std::move(g.anomalous_offsets)),
                  "asu_index"_a = to_numpy(std::move(g.asu_index)),
                  "is_minus"_a = to_numpy(std::move(g.is_minus)),
                  "is_centric"_a = to_numpy(std::move(g.is_centric)));
}

py::array_t<pyscale::Index> canonical_order(const Array<pyscale::Index>& order,
                                            const Array<pyscale::Index>& offsets,
                                            const Array<std::int32_t>& data_set, const Array<double>& image_z,
                                            const Array<double>& intensity, int n_threads) {
  const auto o = view("order", order), f = view("offsets", offsets);
  const auto d = view("data_set", data_set);
  const auto z = view("image_z", image_z), i = view("intensity", intensity);
  pyscale::LargeVector<pyscale::Index> result;
  {
    const py::gil_scoped_release release;
    result = pyscale::canonical_order(o, f, d, z, i, n_threads);
  }
  return to_numpy(std::move(result));
}

py::array_t<double> gathered(const Array<double>& values, const Array<pyscale::Index>& rows, int n_threads) {
  const auto v = view("values", values);
  const auto r = view("rows", rows);
  pyscale::LargeVector<double> result;
  {
    const py::gil_scoped_release release;
    result = pyscale::gathered(v, r, n_threads);
  }
  return to_numpy(std::move(result));
}

py::array_t<pyscale::Index> stable_order(const Array<pyscale::Index>& keys, int n_threads) {
  const auto k = view("keys", keys);
  pyscale::LargeVector<pyscale::Index> result;
  {
    const py::gil_scoped_release release;
    result = pyscale::stable_order(k, n_threads);
  }
  return to_numpy(std::move(result));
}

}  // namespace

void bind_groups(py::module_& m) {
  m.def("group_reflections", &group_reflections, "miller_index"_a.noconvert(), "rotations"_a.noconvert(),
        "rank"_a.noconvert(), "n_threads"_a = 1,
        "Group symmetry equivalents: a dict of the arrays of pyscale::ReflectionGroups.");
  m.def("canonical_order", &canonical_order, "order"_a.noconvert(), "offsets"_a.noconvert(),
        "data_set"_a.noconvert(), "image_z"_a.noconvert(), "intensity"_a.noconvert(), "n_threads"_a = 1,
        "Rows of each group by data set, image and intensity.");
  m.def("stable_order", &stable_order, "keys"_a.noconvert(), "n_threads"_a = 1,
        "Rows by keys that are not negative, those of equal keys in their order.");
  m.def("gathered", &gathered, "values"_a.noconvert(), "rows"_a.noconvert(), "n_threads"_a = 1,
        "Values of some rows.");
}

}  // namespace pyscale_python
