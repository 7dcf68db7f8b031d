#include <optional>
#include <pyscale/merging.hpp>
#include <pyscale/scale_errors.hpp>

#include "observations.hpp"

namespace pyscale_python {
namespace {

py::tuple merge(const Array<double>& intensity, const Array<double>& variance,
                const Array<pyscale::Index>& offsets, bool use_internal_variance, int n_threads) {
  const auto obs = observations(intensity, variance, offsets);
  pyscale::MergedReflections m;
  {
    const py::gil_scoped_release release;
    m = pyscale::merge(obs, use_internal_variance, n_threads);
  }
  return py::make_tuple(to_numpy(std::move(m.n_obs)), to_numpy(std::move(m.intensity)),
                        to_numpy(std::move(m.sigma)));
}

py::array_t<double> statistical_variance(const Array<double>& intensity, const Array<double>& variance,
                                         const Array<pyscale::Index>& offsets,
                                         const Array<double>& scale_variance, int n_threads) {
  const auto obs = observations(intensity, variance, offsets);
  const auto q = view("scale_variance", scale_variance);
  std::vector<double> result;
  {
    const py::gil_scoped_release release;
    result = pyscale::statistical_variance(obs, q, n_threads);
  }
  return to_numpy(std::move(result));
}

py::array_t<double> common_scale_error(const Array<double>& intensity, const Array<double>& variance,
                                       const Array<pyscale::Index>& offsets,
                                       const Array<double>& scale_variance,
                                       const std::optional<Array<double>>& correlation, int n_threads) {
  const auto obs = observations(intensity, variance, offsets);
  const auto q = view("scale_variance", scale_variance);
  pyscale::Span<const double> r;
  if (correlation) r = view("correlation", *correlation);
  std::vector<double> result;
  {
    const py::gil_scoped_release release;
    result = pyscale::common_scale_error(obs, q, r, n_threads);
  }
  return to_numpy(std::move(result));
}

pyscale::GroupStatistics group_statistics(const Array<double>& intensity, const Array<double>& variance,
                                          const Array<pyscale::Index>& offsets, int n_threads) {
  const auto obs = observations(intensity, variance, offsets);
  const py::gil_scoped_release release;
  return pyscale::group_statistics(obs, n_threads);
}

std::vector<pyscale::ShellStatistics> shell_statistics(const pyscale::GroupStatistics& groups,
                                                       const Array<pyscale::Index>& shell,
                                                       pyscale::Index n_shells) {
  const auto shells = view("shell", shell);
  const py::gil_scoped_release release;
  return pyscale::shell_statistics(groups, shells, n_shells);
}

std::vector<pyscale::AnomalousStatistics> anomalous_statistics(const pyscale::GroupStatistics& groups,
                                                               const Array<pyscale::Index>& plus,
                                                               const Array<pyscale::Index>& minus,
                                                               const Array<pyscale::Index>& shell,
                                                               pyscale::Index n_shells) {
  const auto p = view("plus", plus), m = view("minus", minus), shells = view("shell", shell);
  const py::gil_scoped_release release;
  return pyscale::anomalous_statistics(groups, p, m, shells, n_shells);
}

/// View of a vector that lives in `owner`.
template <class Owner, class T>
py::array_t<T> array_of(const py::object& owner, const std::vector<T>& (*get)(const Owner&)) {
  const std::vector<T>& v = get(owner.cast<const Owner&>());
  return py::array_t<T>(static_cast<py::ssize_t>(v.size()), v.data(), owner);
}

}  // namespace

void bind_merging(py::module_& m) {
  using G = pyscale::GroupStatistics;
  using S = pyscale::ShellStatistics;
  using A = pyscale::AnomalousStatistics;
  using Values = std::vector<double>;
  auto member = [](auto get) { return [get](const py::object& self) { return array_of<G>(self, +get); }; };
  py::class_<G>(m, "GroupStatistics")
      .def_property_readonly(
          "n_obs", member([](const G& g) -> const std::vector<pyscale::Index>& { return g.merged.n_obs; }))
      .def_property_readonly("intensity",
                             member([](const G& g) -> const Values& { return g.merged.intensity; }))
      .def_property_readonly("sigma", member([](const G& g) -> const Values& { return g.merged.sigma; }))
      .def_property_readonly("intensity_sum",
                             member([](const G& g) -> const Values& { return g.intensity_sum; }))
      .def_property_readonly("i_over_sigma_sum",
                             member([](const G& g) -> const Values& { return g.i_over_sigma_sum; }))
      .def_property_readonly("absolute_deviation",
                             member([](const G& g) -> const Values& { return g.absolute_deviation; }))
      .def_property_readonly("chi_square", member([](const G& g) -> const Values& { return g.chi_square; }))
      .def_property_readonly("mean", member([](const G& g) -> const Values& { return g.mean; }))
      .def_property_readonly("variance_of_mean",
                             member([](const G& g) -> const Values& { return g.variance_of_mean; }));
  py::class_<S>(m, "ShellStatistics")
      .def_readonly("n_obs", &S::n_obs)
      .def_readonly("n_unique", &S::n_unique)
      .def_readonly("mean_intensity", &S::mean_intensity)
      .def_readonly("i_over_sigma", &S::i_over_sigma)
      .def_readonly("unmerged_i_over_sigma", &S::unmerged_i_over_sigma)
      .def_readonly("r_merge", &S::r_merge)
      .def_readonly("r_meas", &S::r_meas)
      .def_readonly("r_pim", &S::r_pim)
      .def_readonly("chi_square", &S::chi_square)
      .def_readonly("cc_half_sigma_tau", &S::cc_half_sigma_tau);
  py::class_<A>(m, "AnomalousStatistics")
      .def_readonly("n_pairs", &A::n_pairs)
      .def_readonly("r_anom", &A::r_anom)
      .def_readonly("signal", &A::signal)
      .def_readonly("difference_over_sigma", &A::difference_over_sigma);
  m.def("merge", &merge, "intensity"_a.noconvert(), "variance"_a.noconvert(), "offsets"_a.noconvert(),
        "use_internal_variance"_a = false, "n_threads"_a = 1,
        "Weighted means of groups: arrays n_obs, intensity and sigma of pyscale::MergedReflections.");
  m.def("statistical_variance", &statistical_variance, "intensity"_a.noconvert(), "variance"_a.noconvert(),
        "offsets"_a.noconvert(), "scale_variance"_a.noconvert(), "n_threads"_a = 1,
        "Variances of observations without the uncertainty of their scales.");
  m.def("common_scale_error", &common_scale_error, "intensity"_a.noconvert(), "variance"_a.noconvert(),
        "offsets"_a.noconvert(), "scale_variance"_a.noconvert(), "correlation"_a.noconvert() = py::none(),
        "n_threads"_a = 1, "Relative uncertainty of merged intensities from that of the scales.");
  m.def("group_statistics", &group_statistics, "intensity"_a.noconvert(), "variance"_a.noconvert(),
        "offsets"_a.noconvert(), "n_threads"_a = 1, "What merging statistics need of each group.");
  m.def("shell_statistics", &shell_statistics, "groups"_a, "shell"_a.noconvert(), "n_shells"_a,
        "Statistics per shell, then of all shells together.");
  m.def("anomalous_statistics", &anomalous_statistics, "groups"_a, "plus"_a.noconvert(),
        "minus"_a.noconvert(), "shell"_a.noconvert(), "n_shells"_a,
        "Statistics of Friedel mates per shell, then of all shells together.");
}

}  // namespace pyscale_python
