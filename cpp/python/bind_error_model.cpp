#include <pyscale/error_model.hpp>
#include <tuple>

#include "views.hpp"

namespace pyscale_python {
namespace {

using Terms = std::tuple<double, std::array<double, 2>, std::array<double, 3>, std::array<double, 3>>;

Terms to_tuple(const pyscale::ErrorModelTerms& t) {
  return {t.cost, t.gradient, t.information, t.score_variance};
}

pyscale::RepeatedView repeated_view(const Array<double>& intensity, const Array<double>& variance,
                                    const Array<double>& expected_squared,
                                    const Array<pyscale::Index>& offsets) {
  return {view("intensity", intensity), view("variance", variance),
          view("expected_squared", expected_squared), view("offsets", offsets)};
}

py::array_t<double> expected_intensity(const Array<double>& intensity, const Array<double>& weight,
                                       const Array<double>& g, const Array<pyscale::Index>& offsets,
                                       const Array<std::uint8_t>& excluded, int n_threads,
                                       const OptionalArray& reference,
                                       const OptionalArray& reference_weight) {
  const auto i = view("intensity", intensity), w = view("weight", weight), s = view("g", g);
  const auto o = view("offsets", offsets);
  const auto e = view("excluded", excluded);
  const pyscale::ReferenceView r{optional_view("reference", reference),
                                 optional_view("reference_weight", reference_weight)};
  std::vector<double> expected;
  {
    const py::gil_scoped_release release;
    expected = pyscale::expected_intensity(i, w, s, o, e, n_threads, r);
  }
  return to_numpy(std::move(expected));
}

py::tuple repeated_observations(const Array<double>& intensity, const Array<double>& variance,
                                const Array<double>& g, const Array<double>& expected,
                                const Array<pyscale::Index>& offsets, const Array<std::uint8_t>& excluded,
                                pyscale::Index min_multiplicity) {
  const auto i = view("intensity", intensity), v = view("variance", variance), s = view("g", g),
             m = view("expected", expected);
  const auto o = view("offsets", offsets);
  const auto e = view("excluded", excluded);
  pyscale::RepeatedObservations out;
  {
    const py::gil_scoped_release release;
    out = pyscale::repeated_observations(i, v, s, m, o, e, min_multiplicity);
  }
  return py::make_tuple(to_numpy(std::move(out.row)), to_numpy(std::move(out.intensity)),
                        to_numpy(std::move(out.variance)), to_numpy(std::move(out.expected_squared)),
                        to_numpy(std::move(out.offsets)));
}

Terms restricted_likelihood(const Array<double>& intensity, const Array<double>& variance,
                            const Array<double>& expected_squared, const Array<pyscale::Index>& offsets,
                            double log_a, double b_squared, int n_threads) {
  const auto obs = repeated_view(intensity, variance, expected_squared, offsets);
  const py::gil_scoped_release release;
  return to_tuple(pyscale::restricted_likelihood(obs, log_a, b_squared, n_threads));
}

py::tuple group_residuals(const Array<double>& intensity, const Array<double>& variance,
                          const Array<double>& expected_squared, const Array<pyscale::Index>& offsets,
                          double b_squared, int n_threads) {
  const auto obs = repeated_view(intensity, variance, expected_squared, offsets);
  pyscale::GroupResiduals out;
  {
    const py::gil_scoped_release release;
    out = pyscale::group_residuals(obs, b_squared, n_threads);
  }
  return py::make_tuple(to_numpy(std::move(out.residual)), to_numpy(std::move(out.variance)),
                        to_numpy(std::move(out.expected_squared)), to_numpy(std::move(out.weight)));
}

Terms student_likelihood(const Array<double>& residual, const Array<double>& variance,
                         const Array<double>& expected_squared, const Array<double>& weight, double log_a,
                         double b_squared, double nu, double kappa, int n_threads) {
  const pyscale::ResidualsView residuals{view("residual", residual), view("variance", variance),
                                         view("expected_squared", expected_squared), view("weight", weight)};
  const py::gil_scoped_release release;
  return to_tuple(pyscale::student_likelihood(residuals, log_a, b_squared, nu, kappa, n_threads));
}

}  // namespace

void bind_error_model(py::module_& m) {
  m.def("expected_intensity", &expected_intensity, "intensity"_a.noconvert(), "weight"_a.noconvert(),
        "g"_a.noconvert(), "offsets"_a.noconvert(), "excluded"_a.noconvert(), "n_threads"_a = 1,
        "reference"_a.noconvert() = py::none(), "reference_weight"_a.noconvert() = py::none(),
        "Scale factor times weighted group mean, per row.");
  m.def("repeated_observations", &repeated_observations, "intensity"_a.noconvert(), "variance"_a.noconvert(),
        "g"_a.noconvert(), "expected"_a.noconvert(), "offsets"_a.noconvert(), "excluded"_a.noconvert(),
        "min_multiplicity"_a = 2,
        "Usable rows of groups with enough of them: the arrays of pyscale::RepeatedObservations.");
  m.def("restricted_likelihood", &restricted_likelihood, "intensity"_a.noconvert(), "variance"_a.noconvert(),
        "expected_squared"_a.noconvert(), "offsets"_a.noconvert(), "log_a"_a, "b_squared"_a,
        "n_threads"_a = 1, "Cost, gradient, information and variance of the gradient by (ln a, b^2).");
  m.def("group_residuals", &group_residuals, "intensity"_a.noconvert(), "variance"_a.noconvert(),
        "expected_squared"_a.noconvert(), "offsets"_a.noconvert(), "b_squared"_a, "n_threads"_a = 1,
        "Residuals from group means: the arrays of pyscale::GroupResiduals.");
  m.def("student_likelihood", &student_likelihood, "residual"_a.noconvert(), "variance"_a.noconvert(),
        "expected_squared"_a.noconvert(), "weight"_a.noconvert(), "log_a"_a, "b_squared"_a, "nu"_a, "kappa"_a,
        "n_threads"_a = 1, "Robust cost, gradient, information and variance of the gradient by (ln a, b^2).");
}

}  // namespace pyscale_python
