#include <boost/test/unit_test.hpp>
#include <limits>

#include "../src/detail/cholesky.hpp"
#include "dense_cases.hpp"

using namespace pyscale;
using namespace pyscale_tests;
using detail::Cholesky;

namespace {

const std::vector<Index> kSizes{1, 2, 7, 8, 9, 24, 47, 48, 49, 95, 96, 97, 150, 193};

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  BOOST_REQUIRE(a.size() == b.size());
  double largest = 0.0;
  for (std::size_t k = 0; k < a.size(); ++k) largest = std::max(largest, std::abs(a[k] - b[k]));
  return largest;
}

std::vector<double> random_vector(Index n, std::uint64_t seed) {
  Random random(seed);
  std::vector<double> x(static_cast<std::size_t>(n));
  for (double& v : x) v = random.uniform() - 0.5;
  return x;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cholesky)

BOOST_AUTO_TEST_CASE(solves_what_a_known_factor_makes) {
  for (const Index n : kSizes) {
    const DenseCase c(n, 17);
    const std::vector<double> x = random_vector(n, 18);
    std::vector<double> b = c.times(x);
    Cholesky factor;
    BOOST_REQUIRE(factor.factor(c.matrix, c.ones, c.diagonal, 2) == -1);
    factor.solve(b);
    BOOST_TEST(largest_difference(b, x) < 1e-12, "n = " << n);
  }
}

BOOST_AUTO_TEST_CASE(inverse_times_matrix_is_one) {
  for (const Index n : kSizes) {
    const DenseCase c(n, 19);
    Cholesky factor;
    BOOST_REQUIRE(factor.factor(c.matrix, c.ones, c.diagonal, 2) == -1);
    const std::vector<double> inverse = factor.inverse(2);
    for (Index i = 0; i < n; ++i) {
      std::vector<double> unit(static_cast<std::size_t>(n));
      unit[i] = 1.0;
      const std::vector<double> row(inverse.begin() + i * n, inverse.begin() + (i + 1) * n);
      BOOST_TEST(largest_difference(c.times(row), unit) < 1e-12, "n = " << n << ", row " << i);
      for (Index j = 0; j < i; ++j) BOOST_TEST(inverse[i * n + j] == inverse[j * n + i]);
    }
  }
}

BOOST_AUTO_TEST_CASE(scale_and_diagonal_enter_as_stated) {
  const Index n = 61;
  const DenseCase c(n, 20);
  std::vector<double> scale = random_vector(n, 21), diagonal(c.diagonal);
  DenseCase scaled(c);
  for (double& s : scale) s += 1.5;
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) scaled.matrix[i * n + j] *= scale[i] * scale[j];
    diagonal[i] = scaled.matrix[i * n + i] += 3.0;
  }
  const std::vector<double> x = random_vector(n, 22);
  std::vector<double> b = scaled.times(x);
  Cholesky factor;
  BOOST_REQUIRE(factor.factor(c.matrix, scale, diagonal, 1) == -1);
  factor.solve(b);
  BOOST_TEST(largest_difference(b, x) < 1e-12);
}

BOOST_AUTO_TEST_CASE(only_the_upper_triangle_is_read) {
  const Index n = 100;
  DenseCase c(n, 23);
  Cholesky factor;
  BOOST_REQUIRE(factor.factor(c.matrix, c.ones, c.diagonal, 1) == -1);
  const std::vector<double> inverse = factor.inverse(1);
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j <= i; ++j) c.matrix[i * n + j] = std::numeric_limits<double>::quiet_NaN();
  BOOST_REQUIRE(factor.factor(c.matrix, c.ones, c.diagonal, 1) == -1);
  BOOST_TEST(factor.inverse(1) == inverse);
}

BOOST_AUTO_TEST_CASE(the_first_pivot_that_is_not_positive_is_named) {
  for (const Index n : kSizes)
    for (const Index row : {Index(0), n / 2, n - 1})
      for (const double excess : {1e-6, 1.0, std::numeric_limits<double>::quiet_NaN()}) {
        DenseCase c(n, 24);
        c.diagonal[row] -= c.u[row * n + row] * c.u[row * n + row] + excess;
        Cholesky factor;
        BOOST_TEST(factor.factor(c.matrix, c.ones, c.diagonal, 2) == row, "n = " << n << ", row " << row);
      }
}

BOOST_AUTO_TEST_CASE(memory_of_another_matrix_does_not_show) {
  Cholesky used;
  const DenseCase large(193, 25), small(61, 26);
  BOOST_REQUIRE(used.factor(large.matrix, large.ones, large.diagonal, 1) == -1);
  used.inverse(1);
  for (const DenseCase* c : {&small, &large}) {
    Cholesky fresh;
    BOOST_REQUIRE(used.factor(c->matrix, c->ones, c->diagonal, 1) == -1);
    BOOST_REQUIRE(fresh.factor(c->matrix, c->ones, c->diagonal, 1) == -1);
    BOOST_TEST(used.inverse(1) == fresh.inverse(1));
  }
}

BOOST_AUTO_TEST_CASE(the_same_bits_for_any_number_of_threads) {
  const DenseCase c(500, 27);
  Cholesky one;
  BOOST_REQUIRE(one.factor(c.matrix, c.ones, c.diagonal, 1) == -1);
  const std::vector<double> x = random_vector(c.n, 28), inverse = one.inverse(1);
  std::vector<double> solution(x);
  one.solve(solution);
  for (const int n_threads : {2, 3, 8}) {
    Cholesky factor;
    BOOST_REQUIRE(factor.factor(c.matrix, c.ones, c.diagonal, n_threads) == -1);
    std::vector<double> b(x);
    factor.solve(b);
    BOOST_TEST((b == solution));
    BOOST_TEST((factor.inverse(n_threads) == inverse));
  }
}

BOOST_AUTO_TEST_CASE(nothing_is_a_matrix_too) {
  Cholesky factor;
  BOOST_TEST(factor.factor({}, {}, {}, 1) == -1);
  factor.solve({});
  BOOST_TEST(factor.inverse(1).empty());
}

BOOST_AUTO_TEST_SUITE_END()
