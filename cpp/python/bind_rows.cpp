#include <pyscale/rows.hpp>

#include "pybind11.hpp"

namespace pyscale_python {
namespace {

py::array_t<pyscale::Index> canonical_rank(const Array<std::int32_t>& data_set, const Array<double>& image_z,
                                           const Array<double>& intensity, pyscale::Index n_data_sets,
                                           int n_threads) {
  const auto d = view("data_set", data_set);
  const auto z = view("image_z", image_z), i = view("intensity", intensity);
  std::vector<pyscale::Index> rank;
  {
    const py::gil_scoped_release release;
    rank = pyscale::canonical_rank(d, z, i, n_data_sets, n_threads);
  }
  return to_numpy(std::move(rank));
}

py::array_t<double> count_variance_factors(const Array<double>& intensity, const Array<double>& variance,
                                           const Array<double>& conversion,
                                           const Array<std::int32_t>& data_set, pyscale::Index n_data_sets,
                                           int n_threads) {
  const auto i = view("intensity", intensity), v = view("variance", variance),
             c = view("conversion", conversion);
  const auto d = view("data_set", data_set);
  std::vector<double> factors;
  {
    const py::gil_scoped_release release;
    factors = pyscale::count_variance_factors(i, v, c, d, n_data_sets, n_threads);
  }
  return to_numpy(std::move(factors));
}

template <std::vector<double> (*Function)(const pyscale::PairsView&, pyscale::Span<const double>, int)>
py::array_t<double> of_pairs(const Array<pyscale::Index>& offsets, const Array<std::int32_t>& data_set,
                             const Array<double>& value, const Array<double>& weight, const Array<double>& x,
                             int n_threads) {
  const pyscale::PairsView pairs{view("offsets", offsets), view("data_set", data_set), view("value", value),
                                 view("weight", weight)};
  const auto known = view("x", x);
  std::vector<double> result;
  {
    const py::gil_scoped_release release;
    result = Function(pairs, known, n_threads);
  }
  return to_numpy(std::move(result));
}

}  // namespace

void bind_rows(py::module_& m) {
  m.def("canonical_rank", &canonical_rank, "data_set"_a.noconvert(), "image_z"_a.noconvert(),
        "intensity"_a.noconvert(), "n_data_sets"_a, "n_threads"_a = 1,
        "Rank of each row by data set, image, intensity and row number.");
  m.def("count_variance_factors", &count_variance_factors, "intensity"_a.noconvert(),
        "variance"_a.noconvert(), "conversion"_a.noconvert(), "data_set"_a.noconvert(), "n_data_sets"_a,
        "n_threads"_a = 1, "Factor of LP/QE in the variance per unit of intensity, by data set.");
  m.def("pair_residuals", &of_pairs<pyscale::pair_residuals>, "offsets"_a.noconvert(),
        "data_set"_a.noconvert(), "value"_a.noconvert(), "weight"_a.noconvert(), "x"_a.noconvert(),
        "n_threads"_a = 1, "What is left of value - x after the weighted mean of each group.");
  m.def("pair_residual_sums", &of_pairs<pyscale::pair_residual_sums>, "offsets"_a.noconvert(),
        "data_set"_a.noconvert(), "value"_a.noconvert(), "weight"_a.noconvert(), "x"_a.noconvert(),
        "n_threads"_a = 1, "Weighted sums of pair_residuals by data set.");
}

}  // namespace pyscale_python
