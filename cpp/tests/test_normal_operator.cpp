#include <pyscale/normal_operator.hpp>

#include <boost/test/unit_test.hpp>

#include "fit_cases.hpp"

using namespace pyscale;
using namespace pyscale_tests;

namespace {

/// Cost, gradient and matrix from the recorded rows of the Jacobian, restraints of FitCase included.
std::vector<double> recorded_matrix(const FitCase& c, const FitProblem& problem) {
  const Index p = problem.n_parameters();
  const SparseJacobian j = problem.jacobian(c.start);
  std::vector<double> matrix(static_cast<std::size_t>(p * p));
  for (Index k = 0; k < p; ++k) matrix[k * p + k] = 1e-3;
  for (std::size_t i = 0; i < c.weight.size(); ++i)
    for (Index a = j.row_offsets[i]; a < j.row_offsets[i + 1]; ++a)
      for (Index b = j.row_offsets[i]; b < j.row_offsets[i + 1]; ++b)
        matrix[j.column[a] * p + j.column[b]] += c.weight[i] * j.value[a] * j.value[b];
  return matrix;
}

std::vector<double> random_values(Index n, std::uint64_t seed) {
  Random random(seed);
  std::vector<double> values(static_cast<std::size_t>(n));
  for (double& v : values) v = random.uniform() - 0.5;
  return values;
}

/// A mode for the scales, one for the decays and one for the surface of each data set.
CoarseModes modes_of(const FitCase& c) {
  CoarseModes modes{0, std::vector<std::int32_t>(c.start.size(), -1), std::vector<double>(c.start.size())};
  for (const auto& components : c.model.data_sets)
    for (const std::size_t k : {0, 1, 4}) {
      const PlacedComponent& placed = components[k];
      const int n = std::visit([](const auto& x) { return x.n_parameters(); }, placed.component);
      for (int i = 0; i < n; ++i) {
        modes.mode[placed.first_parameter + i] = static_cast<std::int32_t>(modes.n_modes);
        modes.value[placed.first_parameter + i] = 0.5 + 0.1 * i;
      }
      ++modes.n_modes;
    }
  return modes;
}

double relative_difference(const std::vector<double>& a, const std::vector<double>& b) {
  BOOST_REQUIRE(a.size() == b.size());
  double difference = 0, scale = 0;
  for (std::size_t k = 0; k < a.size(); ++k) {
    difference = std::max(difference, std::abs(a[k] - b[k]));
    scale = std::max(scale, std::abs(b[k]));
  }
  return difference / scale;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(normal_operator)

BOOST_AUTO_TEST_CASE(cost_and_gradient_are_those_of_the_problem) {
  const FitCase c(500, 2, 3);
  const auto problem = c.problem(2);
  const NormalOperator n(*problem, c.start);
  std::vector<double> half_gradient;
  const double cost = problem->cost_and_half_gradient(c.start, half_gradient);
  BOOST_TEST(std::abs(n.cost() / cost - 1) < 1e-12);
  BOOST_TEST(relative_difference(n.half_gradient(), half_gradient) < 1e-12);
}

BOOST_AUTO_TEST_CASE(products_equal_those_with_the_recorded_matrix) {
  const FitCase c(500, 2, 3);
  const auto problem = c.problem(2);
  const Index p = problem->n_parameters();
  const std::vector<double> matrix = recorded_matrix(c, *problem);
  const NormalOperator n(*problem, c.start);
  for (const Index columns : {1, 3, 8, 11}) {
    const std::vector<double> x = random_values(p * columns, 31);
    std::vector<double> expected(x.size());
    for (Index i = 0; i < p; ++i)
      for (Index j = 0; j < p; ++j)
        for (Index v = 0; v < columns; ++v)
          expected[i * columns + v] += matrix[i * p + j] * x[j * columns + v];
    BOOST_TEST(relative_difference(n.product(x, columns), expected) < 1e-11);
  }
}

BOOST_AUTO_TEST_CASE(diagonal_blocks_are_cut_from_the_recorded_matrix) {
  const FitCase c(500, 2, 3);
  const auto problem = c.problem(2);
  const Index p = problem->n_parameters();
  const std::vector<double> matrix = recorded_matrix(c, *problem);
  const NormalOperator n(*problem, c.start);
  BOOST_TEST(n.blocks().size() == 4u);  // three data sets, and the dose that they share
  std::vector<double> expected, diagonal;
  for (const ParameterBlock& b : n.blocks())
    for (Index i = b.begin; i < b.end; ++i) {
      diagonal.push_back(matrix[i * p + i]);
      for (Index j = b.begin; j < b.end; ++j) expected.push_back(matrix[i * p + j]);
    }
  BOOST_TEST(static_cast<Index>(diagonal.size()) == p);
  BOOST_TEST(relative_difference(n.diagonal_blocks(), expected) < 1e-11);
  BOOST_TEST(relative_difference(n.diagonal(), diagonal) < 1e-11);
}

BOOST_AUTO_TEST_CASE(the_coarse_matrix_is_the_matrix_on_the_modes) {
  const FitCase c(500, 2, 3);
  const auto problem = c.problem(2);
  const Index p = problem->n_parameters();
  const std::vector<double> matrix = recorded_matrix(c, *problem);
  const CoarseModes modes = modes_of(c);
  std::vector<double> expected(static_cast<std::size_t>(modes.n_modes * modes.n_modes));
  for (Index i = 0; i < p; ++i)
    for (Index j = 0; j < p; ++j)
      if (modes.mode[i] >= 0 && modes.mode[j] >= 0)
        expected[modes.mode[i] * modes.n_modes + modes.mode[j]] +=
            modes.value[i] * matrix[i * p + j] * modes.value[j];
  BOOST_TEST(relative_difference(NormalOperator(*problem, c.start).coarse_matrix(modes), expected) < 1e-11);
}

BOOST_AUTO_TEST_CASE(solutions_satisfy_the_damped_system) {
  const FitCase c(2000, 2, 3);
  const auto problem = c.problem(2);
  const NormalOperator n(*problem, c.start);
  const Index p = n.n_parameters();
  const std::vector<double> b = random_values(2 * p, 32), diagonal = n.diagonal();
  for (const CoarseModes& modes : {CoarseModes{}, modes_of(c)}) {
    const LinearSolution s = n.solve(b, 2, modes, {1e-3, 1e-12, 2000});
    BOOST_TEST(s.converged);
    std::vector<double> found = n.product(s.x, 2);
    for (Index k = 0; k < p; ++k)
      for (Index v = 0; v < 2; ++v) found[2 * k + v] += 1e-3 * diagonal[k] * s.x[2 * k + v];
    BOOST_TEST(relative_difference(found, b) < 1e-8);
  }
}

BOOST_AUTO_TEST_CASE(references_count_as_in_the_dense_equations) {
  const FitCase c(3000, 1, 24);
  const auto problem = c.problem(2);
  const Index n_groups = static_cast<Index>(c.offsets.size()) - 1;
  std::vector<double> reference(static_cast<std::size_t>(n_groups), 300.0), weight(reference.size());
  for (Index h = 0; h < n_groups; h += 2) weight[h] = 0.01;
  problem->set_reference(reference, weight);
  std::vector<double> half_gradient;
  const double cost = problem->cost_and_half_gradient(c.start, half_gradient);
  const NormalOperator n(*problem, c.start);
  BOOST_TEST(std::abs(n.cost() / cost - 1) < 1e-12);
  BOOST_TEST(relative_difference(n.half_gradient(), half_gradient) < 1e-12);
  NormalEquations equations;
  problem->evaluate(c.start, equations);
  BOOST_TEST(relative_difference(equations.half_gradient, half_gradient) < 1e-12);
  const Index p = problem->n_parameters();
  const std::vector<double> matrix = recorded_matrix(c, *problem), x = random_values(p, 34);
  std::vector<double> expected(x.size());
  for (Index i = 0; i < p; ++i)
    for (Index j = 0; j < p; ++j) expected[i] += equations.matrix[i * p + j] * x[j];
  BOOST_TEST(relative_difference(n.product(x, 1), expected) < 1e-11);
  // The recorded rows lack the reference's own, w s s^T with s = dI_h/dp.
  for (Index k = 0; k < p; ++k) BOOST_TEST(equations.matrix[k * p + k] >= matrix[k * p + k] * (1 - 1e-9));
}

BOOST_AUTO_TEST_CASE(held_parameters_are_as_in_the_dense_matrix) {
  const FitCase c(500, 2, 3);
  const auto problem = c.problem(2);
  std::vector<std::uint8_t> held(c.start.size());
  for (std::size_t k = 0; k < held.size(); k += 3) held[k] = 1;
  problem->set_held(held);
  const Index p = problem->n_parameters();
  NormalEquations equations;
  problem->evaluate(c.start, equations);
  const NormalOperator n(*problem, c.start);
  BOOST_TEST(relative_difference(n.half_gradient(), equations.half_gradient) < 1e-12);
  const std::vector<double> x = random_values(p, 33);
  std::vector<double> expected(x.size()), blocks;
  for (Index i = 0; i < p; ++i)
    for (Index j = 0; j < p; ++j) expected[i] += equations.matrix[i * p + j] * x[j];
  for (const ParameterBlock& b : n.blocks())
    for (Index i = b.begin; i < b.end; ++i)
      for (Index j = b.begin; j < b.end; ++j) blocks.push_back(equations.matrix[i * p + j]);
  BOOST_TEST(relative_difference(n.product(x, 1), expected) < 1e-11);
  BOOST_TEST(relative_difference(n.diagonal_blocks(), blocks) < 1e-11);
}

BOOST_AUTO_TEST_CASE(the_matrix_of_many_data_sets_equals_the_recorded_one) {
  const FitCase c(6000, 1, 24);
  const auto problem = c.problem(2);
  NormalEquations equations;
  problem->evaluate(c.start, equations);
  BOOST_TEST(relative_difference(equations.matrix, recorded_matrix(c, *problem)) < 1e-11);
}

BOOST_AUTO_TEST_CASE(both_minimisers_end_at_the_same_scales) {
  const FitCase c(6000, 2, 3);
  const auto problem = c.problem(2);
  Restraints restraints;  // components of this model can take much from each other
  for (std::size_t k = 0; k < c.start.size(); ++k)
    restraints.add(static_cast<std::int32_t>(k), c.start[k], 10.0);
  problem->set_restraints(restraints);
  LevMarOptions options;
  options.cost_tolerance = 1e-12;
  options.solver_tolerance = 1e-6;
  const LevMarSummary dense = minimise(*problem, c.start, options);
  const std::vector<double> g = inverse_scale_factors(c.model, c.observations(), dense.parameters, 1);
  for (const CoarseModes& modes : {CoarseModes{}, modes_of(c)}) {
    const LevMarSummary iterative = minimise_iteratively(*problem, c.start, modes, options);
    BOOST_TEST(to_string(iterative.termination) == std::string("converged"));
    BOOST_TEST(std::abs(iterative.final_cost / dense.final_cost - 1) < 1e-10);
    const std::vector<double> other =
        inverse_scale_factors(c.model, c.observations(), iterative.parameters, 1);
    BOOST_TEST(relative_difference(other, g) < 1e-6);
  }
}

BOOST_AUTO_TEST_CASE(gauss_newton_ends_at_the_minimum_or_says_why_not) {
  const FitCase c(6000, 2, 3);
  const auto problem = c.problem(2);
  LevMarOptions options;
  options.cost_tolerance = 1e-10;
  const LevMarSummary damped = minimise(*problem, c.start, options);
  options.gauss_newton = true;
  const LevMarSummary plain = minimise(*problem, damped.parameters, options);
  BOOST_TEST(std::abs(plain.final_cost / damped.final_cost - 1) < 1e-9);
  for (const IterationSummary& it : plain.iterations) BOOST_TEST(it.damping == 0.0);
  problem->set_restraints({});
  const LevMarSummary singular = minimise(*problem, c.start, options);  // nothing fixes the overall scale
  BOOST_TEST((singular.termination == Termination::singular ||
              singular.termination == Termination::no_further_decrease));
}

BOOST_AUTO_TEST_SUITE_END()
