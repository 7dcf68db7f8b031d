#include <pyscale/half_sets.hpp>

#include "observations.hpp"

namespace pyscale_python {
namespace {

py::tuple half_sets(const Array<double>& intensity, const Array<double>& variance,
                    const Array<pyscale::Index>& offsets, const Array<std::int32_t>& group_index,
                    std::uint64_t seed, int n_threads) {
  const auto obs = observations(intensity, variance, offsets);
  const auto index = miller_view("group_index", group_index);
  pyscale::HalfSets h;
  {
    const py::gil_scoped_release release;
    h = pyscale::half_sets(obs, index, seed, n_threads);
  }
  return py::make_tuple(to_numpy(std::move(h.intensity[0])), to_numpy(std::move(h.intensity[1])),
                        to_numpy(std::move(h.sigma[0])), to_numpy(std::move(h.sigma[1])),
                        to_numpy(std::move(h.n_obs[0])), to_numpy(std::move(h.n_obs[1])));
}

std::vector<pyscale::HalfSetCorrelation> half_set_correlations(
    const Array<double>& intensity, const Array<double>& variance, const Array<pyscale::Index>& offsets,
    const Array<std::int32_t>& group_index, std::uint64_t seed, int n_splits,
    const Array<pyscale::Index>& shell, pyscale::Index n_shells, int n_threads) {
  const auto obs = observations(intensity, variance, offsets);
  const auto index = miller_view("group_index", group_index);
  const auto shells = view("shell", shell);
  const py::gil_scoped_release release;
  return pyscale::half_set_correlations(obs, index, seed, n_splits, shells, n_shells, n_threads);
}

std::vector<pyscale::HalfSetCorrelation> half_difference_correlations(
    const Array<double>& intensity, const Array<double>& variance, const Array<pyscale::Index>& offsets,
    const Array<std::int32_t>& group_index, std::uint64_t seed, int n_splits,
    const Array<pyscale::Index>& plus, const Array<pyscale::Index>& minus, const Array<pyscale::Index>& shell,
    pyscale::Index n_shells, int n_threads) {
  const auto obs = observations(intensity, variance, offsets);
  const auto index = miller_view("group_index", group_index);
  const auto p = view("plus", plus), m = view("minus", minus), shells = view("shell", shell);
  const py::gil_scoped_release release;
  return pyscale::half_difference_correlations(obs, index, seed, n_splits, p, m, shells, n_shells, n_threads);
}

}  // namespace

void bind_half_sets(py::module_& m) {
  using C = pyscale::HalfSetCorrelation;
  py::class_<C>(m, "HalfSetCorrelation")
      .def_readonly("n_pairs", &C::n_pairs)
      .def_readonly("correlation", &C::correlation)
      .def_readonly("standard_error", &C::standard_error)
      .def_readonly("r_split", &C::r_split);
  m.def("half_sets", &half_sets, "intensity"_a.noconvert(), "variance"_a.noconvert(), "offsets"_a.noconvert(),
        "group_index"_a.noconvert(), "seed"_a, "n_threads"_a = 1,
        "First and second halves of the first split: intensities, sigmas and numbers of observations.");
  m.def("half_set_correlations", &half_set_correlations, "intensity"_a.noconvert(), "variance"_a.noconvert(),
        "offsets"_a.noconvert(), "group_index"_a.noconvert(), "seed"_a, "n_splits"_a, "shell"_a.noconvert(),
        "n_shells"_a, "n_threads"_a = 1,
        "Correlation of random halves per shell, then of all shells together.");
  m.def("half_difference_correlations", &half_difference_correlations, "intensity"_a.noconvert(),
        "variance"_a.noconvert(), "offsets"_a.noconvert(), "group_index"_a.noconvert(), "seed"_a,
        "n_splits"_a, "plus"_a.noconvert(), "minus"_a.noconvert(), "shell"_a.noconvert(), "n_shells"_a,
        "n_threads"_a = 1, "The same of the differences of Friedel mates.");
}

}  // namespace pyscale_python
