#include <pyscale/error_model.hpp>
#include <tuple>

#include "views.hpp"

namespace pyscale_python {
namespace {

pyscale::RepeatedView repeated_view(const Array<double>& intensity, const Array<double>& variance,
                                    const Array<double>& linear, const Array<double>& quadratic,
                                    const Array<pyscale::Index>& offsets) {
  return {view("intensity", intensity), view("variance", variance), view("linear", linear),
          view("quadratic", quadratic), view("offsets", offsets)};
}

pyscale::ErrorParameters parameters_view(const Array<double>& parameters, const Array<std::int32_t>& model) {
  return {view("parameters", parameters), view("model", model)};
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

py::array_t<double> error_model_variances(const Array<double>& variance, const Array<double>& expected,
                                          const Array<double>& conversion, const Array<double>& parameters,
                                          const Array<std::int32_t>& model, int n_threads) {
  const auto v = view("variance", variance), e = view("expected", expected),
             k = view("conversion", conversion);
  const auto p = parameters_view(parameters, model);
  std::vector<double> out;
  {
    const py::gil_scoped_release release;
    out = pyscale::error_model_variances(v, e, k, p, n_threads);
  }
  return to_numpy(std::move(out));
}

py::tuple repeated_observations(const Array<double>& intensity, const Array<double>& variance,
                                const Array<double>& g, const Array<double>& expected,
                                const Array<double>& conversion, const Array<pyscale::Index>& offsets,
                                const Array<std::uint8_t>& excluded, pyscale::Index min_multiplicity) {
  const auto i = view("intensity", intensity), v = view("variance", variance), s = view("g", g),
             m = view("expected", expected), k = view("conversion", conversion);
  const auto o = view("offsets", offsets);
  const auto e = view("excluded", excluded);
  pyscale::RepeatedObservations out;
  {
    const py::gil_scoped_release release;
    out = pyscale::repeated_observations(i, v, s, m, k, o, e, min_multiplicity);
  }
  return py::make_tuple(to_numpy(std::move(out.row)), to_numpy(std::move(out.intensity)),
                        to_numpy(std::move(out.variance)), to_numpy(std::move(out.linear)),
                        to_numpy(std::move(out.quadratic)), to_numpy(std::move(out.offsets)));
}

py::tuple group_residuals(const Array<double>& intensity, const Array<double>& variance,
                          const Array<double>& linear, const Array<double>& quadratic,
                          const Array<pyscale::Index>& offsets, const Array<double>& parameters,
                          const Array<std::int32_t>& model, int n_threads) {
  const auto obs = repeated_view(intensity, variance, linear, quadratic, offsets);
  const auto p = parameters_view(parameters, model);
  pyscale::GroupResiduals out;
  {
    const py::gil_scoped_release release;
    out = pyscale::group_residuals(obs, p, n_threads);
  }
  return py::make_tuple(to_numpy(std::move(out.residual)), to_numpy(std::move(out.share)));
}

py::array_t<double> residual_variances(const Array<double>& intensity, const Array<double>& variance,
                                       const Array<double>& linear, const Array<double>& quadratic,
                                       const Array<pyscale::Index>& offsets, const Array<double>& share,
                                       const Array<double>& parameters, const Array<std::int32_t>& model,
                                       int n_threads) {
  const auto obs = repeated_view(intensity, variance, linear, quadratic, offsets);
  const auto p = parameters_view(parameters, model);
  const auto s = view("share", share);
  std::vector<double> out;
  {
    const py::gil_scoped_release release;
    out = pyscale::residual_variances(obs, s, p, n_threads);
  }
  return to_numpy(std::move(out));
}

py::tuple student_cost(const Array<double>& intensity, const Array<double>& variance,
                       const Array<double>& linear, const Array<double>& quadratic,
                       const Array<pyscale::Index>& offsets, const Array<double>& residual,
                       const Array<double>& share, const Array<double>& parameters,
                       const Array<std::int32_t>& model, double nu, double kappa, int n_threads) {
  const auto obs = repeated_view(intensity, variance, linear, quadratic, offsets);
  const auto p = parameters_view(parameters, model);
  const auto r = view("residual", residual), s = view("share", share);
  pyscale::ErrorModelTerms out;
  {
    const py::gil_scoped_release release;
    out = pyscale::student_cost(obs, r, s, p, nu, kappa, n_threads);
  }
  return py::make_tuple(out.cost, to_numpy(std::move(out.gradient)), to_numpy(std::move(out.information)),
                        to_numpy(std::move(out.score_variance)));
}

}  // namespace

void bind_error_model(py::module_& m) {
  m.def("expected_intensity", &expected_intensity, "intensity"_a.noconvert(), "weight"_a.noconvert(),
        "g"_a.noconvert(), "offsets"_a.noconvert(), "excluded"_a.noconvert(), "n_threads"_a = 1,
        "reference"_a.noconvert() = py::none(), "reference_weight"_a.noconvert() = py::none(),
        "Scale factor times weighted group mean, per row.");
  m.def("error_model_variances", &error_model_variances, "variance"_a.noconvert(), "expected"_a.noconvert(),
        "conversion"_a.noconvert(), "parameters"_a.noconvert(), "model"_a.noconvert(), "n_threads"_a = 1,
        "Variances of unscaled intensities under error models.");
  m.def("repeated_observations", &repeated_observations, "intensity"_a.noconvert(), "variance"_a.noconvert(),
        "g"_a.noconvert(), "expected"_a.noconvert(), "conversion"_a.noconvert(), "offsets"_a.noconvert(),
        "excluded"_a.noconvert(), "min_multiplicity"_a = 2,
        "Usable rows of groups with enough of them: the arrays of pyscale::RepeatedObservations.");
  m.def("group_residuals", &group_residuals, "intensity"_a.noconvert(), "variance"_a.noconvert(),
        "linear"_a.noconvert(), "quadratic"_a.noconvert(), "offsets"_a.noconvert(),
        "parameters"_a.noconvert(), "model"_a.noconvert(), "n_threads"_a = 1,
        "Residuals from group means, and the share of each row in its mean.");
  m.def("residual_variances", &residual_variances, "intensity"_a.noconvert(), "variance"_a.noconvert(),
        "linear"_a.noconvert(), "quadratic"_a.noconvert(), "offsets"_a.noconvert(), "share"_a.noconvert(),
        "parameters"_a.noconvert(), "model"_a.noconvert(), "n_threads"_a = 1,
        "Variances of residuals from group means.");
  m.def("student_cost", &student_cost, "intensity"_a.noconvert(), "variance"_a.noconvert(),
        "linear"_a.noconvert(), "quadratic"_a.noconvert(), "offsets"_a.noconvert(), "residual"_a.noconvert(),
        "share"_a.noconvert(), "parameters"_a.noconvert(), "model"_a.noconvert(), "nu"_a, "kappa"_a,
        "n_threads"_a = 1,
        "Robust cost, and by model gradient (3), information (6) and variance of the gradient (6).");
}

}  // namespace pyscale_python
