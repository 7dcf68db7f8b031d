#include <pybind11/functional.h>

#include <pyscale/covariance.hpp>
#include <pyscale/levmar.hpp>

#include "views.hpp"

namespace pyscale_python {
namespace {

using pyscale::FitProblem;
using pyscale::Index;
using pyscale::NormalOperator;
using Gil = py::gil_scoped_release;

py::array_t<double> square(std::vector<double>&& values) {
  const auto n = static_cast<py::ssize_t>(std::llround(std::sqrt(static_cast<double>(values.size()))));
  return to_numpy(std::move(values)).reshape({n, n});
}

py::array_t<double> rows(std::vector<double>&& values, Index n_rows) {
  const auto n = static_cast<py::ssize_t>(n_rows);
  const py::ssize_t columns = n > 0 ? static_cast<py::ssize_t>(values.size()) / n : 0;
  return to_numpy(std::move(values)).reshape({n, columns});
}

std::unique_ptr<FitProblem> make_problem(const pyscale::JobModel& model, const Observations& observations,
                                         const Array<double>& intensity, const Array<Index>& offsets,
                                         int n_threads) {
  const auto i = view("intensity", intensity);
  const auto o = view("offsets", offsets);
  const Gil release;
  return std::make_unique<FitProblem>(model, observations.view(), i, o, n_threads);
}

void set_restraints(FitProblem& problem, const Array<Index>& row_offsets, const Array<std::int32_t>& column,
                    const Array<double>& value, const Array<double>& target, const Array<double>& weight) {
  const auto copy = [](const auto& a) { return std::vector(a.data(), a.data() + a.size()); };
  problem.set_restraints({copy(row_offsets), copy(column), copy(value), copy(target), copy(weight)});
}

py::array inverse_scale_factors(const FitProblem& problem, const Array<double>& parameters) {
  const auto p = view("parameters", parameters);
  std::vector<double> g;
  {
    const Gil release;
    g = problem.inverse_scale_factors(p);
  }
  return to_numpy(std::move(g));
}

py::tuple cost_and_half_gradient(const FitProblem& problem, const Array<double>& parameters) {
  const auto p = view("parameters", parameters);
  std::vector<double> half_gradient;
  double cost = 0.0;
  {
    const Gil release;
    cost = problem.cost_and_half_gradient(p, half_gradient);
  }
  return py::make_tuple(cost, to_numpy(std::move(half_gradient)));
}

py::tuple normal_equations(const FitProblem& problem, const Array<double>& parameters) {
  const auto p = view("parameters", parameters);
  pyscale::NormalEquations e;
  {
    const Gil release;
    problem.evaluate(p, e);
  }
  return py::make_tuple(e.cost, to_numpy(std::move(e.half_gradient)), square(std::move(e.matrix)));
}

py::dict jacobian(const FitProblem& problem, const Array<double>& parameters) {
  const auto p = view("parameters", parameters);
  pyscale::SparseJacobian j;
  {
    const Gil release;
    j = problem.jacobian(p);
  }
  return py::dict("residual"_a = to_numpy(std::move(j.residual)),
                  "row_offsets"_a = to_numpy(std::move(j.row_offsets)),
                  "column"_a = to_numpy(std::move(j.column)), "value"_a = to_numpy(std::move(j.value)));
}

py::dict gauge_sums(const FitProblem& problem, const Array<double>& parameters,
                    const Array<std::int32_t>& label, Index n_labels) {
  const auto p = view("parameters", parameters);
  const auto l = view("label", label);
  FitProblem::GaugeSums s;
  {
    const Gil release;
    s = problem.gauge_sums(p, l, n_labels);
  }
  return py::dict("weight"_a = to_numpy(std::move(s.weight)), "x"_a = to_numpy(std::move(s.x)),
                  "ln_g"_a = to_numpy(std::move(s.ln_g)), "x_ln_g"_a = to_numpy(std::move(s.x_ln_g)),
                  "x_squared"_a = to_numpy(std::move(s.x_squared)),
                  "x_information"_a = to_numpy(std::move(s.x_information)),
                  "mean"_a = rows(std::move(s.mean), n_labels),
                  "first"_a = rows(std::move(s.first), n_labels));
}

using Correlations = std::vector<double> (FitProblem::*)(const pyscale::ScaleCorrelationInput&,
                                                         pyscale::Span<const double>) const;

template <Correlations correlations>
py::array scale_correlations(const FitProblem& problem, const Array<double>& parameters,
                             const Array<double>& covariance, const Array<double>& weight,
                             const Array<double>& scale_variance, const Array<Index>& offsets,
                             const Array<Index>& anomalous_offsets) {
  const pyscale::ScaleCorrelationInput input{view("parameters", parameters), view("weight", weight),
                                             view("scale_variance", scale_variance), view("offsets", offsets),
                                             view("anomalous_offsets", anomalous_offsets)};
  const pyscale::Span<const double> c{covariance.data(), covariance.size()};
  std::vector<double> result;
  {
    const Gil release;
    result = (problem.*correlations)(input, c);
  }
  return rows(std::move(result), weight.size());
}

/// Wraps a Python callable so that the interpreter's lock is held only while it runs, and Ctrl-C is seen.
pyscale::IterationCallback with_gil(const py::object& callback) {
  return [&callback](const pyscale::IterationSummary& it) {
    const py::gil_scoped_acquire acquire;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    return callback.is_none() || callback(it).cast<bool>();
  };
}

py::dict summary_dict(pyscale::LevMarSummary&& s) {
  return py::dict("termination"_a = pyscale::to_string(s.termination), "message"_a = s.message,
                  "initial_cost"_a = s.initial_cost, "final_cost"_a = s.final_cost,
                  "n_iterations"_a = s.iterations.size(), "parameters"_a = to_numpy(std::move(s.parameters)),
                  "half_gradient"_a = to_numpy(std::move(s.equations.half_gradient)),
                  "matrix"_a = square(std::move(s.equations.matrix)));
}

std::vector<double> to_vector(pyscale::Span<const double> values) { return {values.begin(), values.end()}; }

py::dict minimise(const FitProblem& problem, const Array<double>& start, int max_iterations,
                  double cost_tolerance, double initial_damping, const py::object& on_iteration,
                  int n_threads, bool gauss_newton, bool keep_matrix, const OptionalArray& largest_step) {
  const auto p = view("start", start);
  pyscale::LevMarOptions options{max_iterations, cost_tolerance, initial_damping, n_threads};
  options.gauss_newton = gauss_newton;
  options.keep_matrix = keep_matrix;
  options.largest_step = to_vector(optional_view("largest_step", largest_step));
  pyscale::LevMarSummary s;
  {
    const Gil release;
    s = pyscale::minimise(problem, p, options, with_gil(on_iteration));
  }
  return summary_dict(std::move(s));
}

pyscale::CoarseModes coarse_modes(const Array<std::int32_t>& mode, const Array<double>& value,
                                  Index n_modes) {
  return {n_modes, std::vector(mode.data(), mode.data() + mode.size()),
          std::vector(value.data(), value.data() + value.size())};
}

py::dict minimise_iteratively(const FitProblem& problem, const Array<double>& start,
                              const pyscale::CoarseModes& modes, int max_iterations, double cost_tolerance,
                              double initial_damping, const py::object& on_iteration, int n_threads,
                              double solver_tolerance, bool gauss_newton, const OptionalArray& largest_step) {
  const auto p = view("start", start);
  pyscale::LevMarOptions options{max_iterations, cost_tolerance,   initial_damping,
                                 n_threads,      solver_tolerance, gauss_newton};
  options.largest_step = to_vector(optional_view("largest_step", largest_step));
  pyscale::LevMarSummary s;
  {
    const Gil release;
    s = pyscale::minimise_iteratively(problem, p, modes, options, with_gil(on_iteration));
  }
  return summary_dict(std::move(s));
}

std::unique_ptr<NormalOperator> linearise(const FitProblem& problem, const Array<double>& parameters) {
  const auto p = view("parameters", parameters);
  const Gil release;
  return std::make_unique<NormalOperator>(problem, p);
}

/// Columns of a two-dimensional array; 1 for a vector.
Index n_columns(const Array<double>& x) { return x.ndim() == 2 ? x.shape(1) : 1; }

py::array_t<double> product(const NormalOperator& n, const Array<double>& x) {
  const pyscale::Span<const double> values{x.data(), x.size()};
  const Index columns = n_columns(x);
  std::vector<double> result;
  {
    const Gil release;
    result = n.product(values, columns);
  }
  return to_numpy(std::move(result)).reshape({n.n_parameters(), columns});
}

py::dict solve(const NormalOperator& n, const Array<double>& b, const pyscale::CoarseModes& modes,
               double damping, double tolerance, int max_iterations) {
  const pyscale::Span<const double> values{b.data(), b.size()};
  const Index columns = n_columns(b);
  pyscale::LinearSolution s;
  {
    const Gil release;
    s = n.solve(values, columns, modes, {damping, tolerance, max_iterations});
  }
  return py::dict("x"_a = to_numpy(std::move(s.x)).reshape({n.n_parameters(), columns}),
                  "n_iterations"_a = s.n_iterations, "residual"_a = s.residual, "converged"_a = s.converged);
}

py::array_t<double> diagonal_blocks(const NormalOperator& n) {
  {
    const Gil release;
    n.diagonal_blocks();
  }
  return to_numpy(std::vector<double>(n.diagonal_blocks()));
}

py::array_t<double> coarse_matrix(const NormalOperator& n, const pyscale::CoarseModes& modes) {
  std::vector<double> result;
  {
    const Gil release;
    result = n.coarse_matrix(modes);
  }
  return square(std::move(result));
}

Index n_rows(const Array<double>& matrix) { return matrix.ndim() == 2 ? matrix.shape(0) : 0; }

py::dict gauge_covariance(const Array<double>& matrix, const Array<double>& direction,
                          const Array<double>& functional, int n_threads) {
  const pyscale::Span<const double> n{matrix.data(), matrix.size()};
  const Index p = n_rows(matrix);
  pyscale::Gauge gauge;
  gauge.n_directions = n_rows(direction);
  gauge.direction.assign(direction.data(), direction.data() + direction.size());
  gauge.functional.assign(functional.data(), functional.data() + functional.size());
  pyscale::CovarianceResult c;
  {
    const Gil release;
    c = pyscale::gauge_covariance(n, p, gauge, n_threads);
  }
  return py::dict("covariance"_a = square(std::move(c.covariance)),
                  "undetermined"_a = rows(std::move(c.undetermined), c.n_undetermined),
                  "condition"_a = c.condition);
}

py::array_t<double> inverse(const Array<double>& matrix, int n_threads) {
  const pyscale::Span<const double> n{matrix.data(), matrix.size()};
  const Index p = n_rows(matrix);
  std::vector<double> values;
  {
    const Gil release;
    values = pyscale::inverse(n, p, n_threads);
  }
  return square(std::move(values));
}

}  // namespace

void bind_fit(py::module_& m) {
  m.def("simd_name", &pyscale::simd_name, "Instruction set of the hot pass on this machine.");
  py::class_<pyscale::IterationSummary>(m, "IterationSummary", "One trial step of the minimiser.")
      .def_readonly("index", &pyscale::IterationSummary::index)
      .def_readonly("cost", &pyscale::IterationSummary::cost)
      .def_readonly("decrease", &pyscale::IterationSummary::decrease)
      .def_readonly("predicted_decrease", &pyscale::IterationSummary::predicted_decrease)
      .def_readonly("damping", &pyscale::IterationSummary::damping)
      .def_readonly("accepted", &pyscale::IterationSummary::accepted);
  py::class_<FitProblem>(m, "FitProblem", "The scaling target over observations sorted by group.")
      .def(py::init(&make_problem), "model"_a, "observations"_a, "intensity"_a.noconvert(),
           "offsets"_a.noconvert(), "n_threads"_a = 1)
      .def(
          "set_weights",
          [](FitProblem& f, const Array<double>& w) {
            const auto weight = view("weight", w);
            const Gil release;
            f.set_weights(weight);
          },
          "weight"_a.noconvert(), "Statistical weights 1/sigma'^2, (n,); 0 leaves an observation out.")
      .def(
          "set_intensity",
          [](FitProblem& f, const Array<double>& i) {
            const auto intensity = view("intensity", i);
            const Gil release;
            f.set_intensity(intensity);
          },
          "intensity"_a.noconvert(), "Other intensities of the same observations, (n,).")
      .def("set_restraints", &set_restraints, "row_offsets"_a.noconvert(), "column"_a.noconvert(),
           "value"_a.noconvert(), "target"_a.noconvert(), "weight"_a.noconvert(),
           "Restraints sum_k weight_k (sum_j value_kj p_j - target_k)^2, compressed by rows.")
      .def(
          "set_reference",
          [](FitProblem& f, const Array<double>& i, const Array<double>& w) {
            f.set_reference(view("intensity", i), view("weight", w));
          },
          "intensity"_a.noconvert(), "weight"_a.noconvert(),
          "Intensities known beforehand and their weights 1/variance, 0: none; two (n_groups,) float64.")
      .def(
          "set_held", [](FitProblem& f, const Array<std::uint8_t>& h) { f.set_held(view("held", h)); },
          "held"_a.noconvert(), "Parameters that stay as they are, (p,) uint8.")
      .def_property_readonly("n_parameters", &FitProblem::n_parameters)
      .def_property_readonly("n_observations", &FitProblem::n_observations)
      .def_property_readonly("n_groups", &FitProblem::n_groups)
      .def(
          "cost",
          [](const FitProblem& f, const Array<double>& p) {
            const auto parameters = view("parameters", p);
            const Gil release;
            return f.cost(parameters);
          },
          "parameters"_a.noconvert(), "Phi = sum w r^2 + restraints.")
      .def("inverse_scale_factors", &inverse_scale_factors, "parameters"_a.noconvert(),
           "g of all observations (n,), from basis values of single precision.")
      .def("cost_and_half_gradient", &cost_and_half_gradient, "parameters"_a.noconvert())
      .def("normal_equations", &normal_equations, "parameters"_a.noconvert(),
           "Phi, half its gradient (p,), and J^T W J with restraints (p, p).")
      .def("jacobian", &jacobian, "parameters"_a.noconvert(),
           "Residuals and the sparse Jacobian, compressed by rows.")
      .def("gauge_sums", &gauge_sums, "parameters"_a.noconvert(), "label"_a.noconvert(), "n_labels"_a)
      .def("scale_correlations", &scale_correlations<&FitProblem::scale_correlations>,
           "parameters"_a.noconvert(), "covariance"_a.noconvert(), "weight"_a.noconvert(),
           "scale_variance"_a.noconvert(), "offsets"_a.noconvert(), "anomalous_offsets"_a.noconvert(),
           "Mean correlations of the errors of the scales of equivalents, (n, 2): mates apart, together.")
      .def("local_scale_correlations", &scale_correlations<&FitProblem::local_scale_correlations>,
           "parameters"_a.noconvert(), "covariance"_a.noconvert(), "weight"_a.noconvert(),
           "scale_variance"_a.noconvert(), "offsets"_a.noconvert(), "anomalous_offsets"_a.noconvert(),
           "Upper bounds of them from the covariances inside each data set, (n, 2).");
  m.def("minimise", &minimise, "problem"_a, "start"_a.noconvert(), "max_iterations"_a = 50,
        "cost_tolerance"_a = 1e-8, "initial_damping"_a = 1e-4, "on_iteration"_a = py::none(),
        "n_threads"_a = 1, "gauss_newton"_a = false, "keep_matrix"_a = false,
        "largest_step"_a.noconvert() = py::none(),
        "Levenberg-Marquardt or Gauss-Newton; a dict of pyscale::LevMarSummary.");
  py::class_<pyscale::CoarseModes>(m, "CoarseModes", "Few combinations of many parameters.")
      .def(py::init(&coarse_modes), "mode"_a.noconvert(), "value"_a.noconvert(), "n_modes"_a)
      .def_readonly("n_modes", &pyscale::CoarseModes::n_modes);
  py::class_<NormalOperator>(m, "NormalOperator", "The normal matrix at one point, without forming it.")
      .def(py::init(&linearise), "problem"_a, "parameters"_a.noconvert(), py::keep_alive<1, 2>())
      .def_property_readonly("cost", &NormalOperator::cost)
      .def_property_readonly(
          "half_gradient",
          [](const NormalOperator& n) { return to_numpy(std::vector<double>(n.half_gradient())); })
      .def("product", &product, "x"_a.noconvert(), "N x for vectors x, (p,) or (p, n_vectors).")
      .def("diagonal_blocks", &diagonal_blocks, "Diagonal blocks one after the other, (sum size^2,).")
      .def(
          "diagonal", [](const NormalOperator& n) { return to_numpy(n.diagonal()); }, "Diagonal of N, (p,).")
      .def("coarse_matrix", &coarse_matrix, "modes"_a, "Z^T N Z, (n_modes, n_modes).")
      .def("solve", &solve, "b"_a.noconvert(), "modes"_a, "damping"_a = 0.0, "tolerance"_a = 1e-8,
           "max_iterations"_a = 1000,
           "Preconditioned conjugate gradients; a dict of pyscale::LinearSolution.");
  m.def("minimise_iteratively", &minimise_iteratively, "problem"_a, "start"_a.noconvert(), "modes"_a,
        "max_iterations"_a = 50, "cost_tolerance"_a = 1e-8, "initial_damping"_a = 1e-4,
        "on_iteration"_a = py::none(), "n_threads"_a = 1, "solver_tolerance"_a = 1e-4,
        "gauss_newton"_a = false, "largest_step"_a.noconvert() = py::none(),

        "The same as minimise, without ever forming the matrix.");
  m.def("gauge_covariance", &gauge_covariance, "matrix"_a.noconvert(), "direction"_a.noconvert(),
        "functional"_a.noconvert(), "n_threads"_a = 1, "Covariance of unit weight in a gauge.");
  m.def("inverse", &inverse, "matrix"_a.noconvert(), "n_threads"_a = 1,
        "Inverse of a normal matrix, (p, p), a relative 1e-9 of its diagonal added.");
}

}  // namespace pyscale_python
