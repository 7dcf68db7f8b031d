#include <pyscale/fit_problem.hpp>

#include <boost/test/unit_test.hpp>

#include "fit_cases.hpp"

using namespace pyscale;
using namespace pyscale_tests;

namespace {

/// (cost(p + h e_k) - cost(p - h e_k)) / 2h
double central_difference(const FitProblem& problem, std::vector<double> p, std::size_t k, double h) {
  p[k] += h;
  const double above = problem.cost(p);
  p[k] -= 2 * h;
  return (above - problem.cost(p)) / (2 * h);
}

std::vector<double> dense_row(const SparseJacobian& j, Index i, Index n_parameters) {
  std::vector<double> row(static_cast<std::size_t>(n_parameters));
  for (Index k = j.row_offsets[i]; k < j.row_offsets[i + 1]; ++k) row[j.column[k]] += j.value[k];
  return row;
}

double largest(const std::vector<double>& values) {
  double result = 0;
  for (const double v : values) result = std::max(result, std::abs(v));
  return result;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(fit_problem)

BOOST_AUTO_TEST_CASE(gradient_equals_central_differences_of_the_cost) {
  const FitCase c(400, 3);
  const auto problem = c.problem(2);
  std::vector<double> half_gradient;
  problem->cost_and_half_gradient(c.start, half_gradient);
  const double scale = largest(half_gradient);
  BOOST_TEST(scale > 0);
  for (std::size_t k = 0; k < c.start.size(); ++k)
    BOOST_TEST(std::abs(central_difference(*problem, c.start, k, 1e-5) - 2 * half_gradient[k]) <=
               1e-7 * scale);
}

BOOST_AUTO_TEST_CASE(jacobian_rows_equal_central_differences_of_the_residuals) {
  const FitCase c(200, 3);
  const auto problem = c.problem(1);
  const SparseJacobian at_start = problem->jacobian(c.start);
  const double h = 1e-5;
  for (std::size_t k = 0; k < c.start.size(); ++k) {
    std::vector<double> p = c.start;
    p[k] += h;
    const std::vector<double> above = problem->jacobian(p).residual;
    p[k] -= 2 * h;
    const std::vector<double> below = problem->jacobian(p).residual;
    for (std::size_t i = 0; i < above.size(); ++i) {
      const double derivative = dense_row(at_start, i, problem->n_parameters())[k];
      BOOST_TEST(std::abs((above[i] - below[i]) / (2 * h) - derivative) <= 1e-5 * (1 + std::abs(derivative)));
    }
  }
}

BOOST_AUTO_TEST_CASE(normal_matrix_equals_the_product_of_recorded_rows) {
  const FitCase c(300, 2);
  const auto problem = c.problem(3);
  const Index p = problem->n_parameters();
  NormalEquations equations;
  problem->evaluate(c.start, equations);
  const SparseJacobian j = problem->jacobian(c.start);
  std::vector<double> expected(static_cast<std::size_t>(p * p));
  for (Index k = 0; k < p; ++k) expected[k * p + k] = 1e-3;
  for (std::size_t i = 0; i < c.weight.size(); ++i) {
    const std::vector<double> row = dense_row(j, i, p);
    for (Index a = 0; a < p; ++a)
      for (Index b = 0; b < p; ++b) expected[a * p + b] += c.weight[i] * row[a] * row[b];
  }
  const double scale = largest(expected);
  for (Index k = 0; k < p * p; ++k) BOOST_TEST(std::abs(equations.matrix[k] - expected[k]) <= 1e-10 * scale);
}

BOOST_AUTO_TEST_SUITE_END()
