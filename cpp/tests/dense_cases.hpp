// Dense symmetric matrices for the tests of the solver.
#pragma once
#include "cases.hpp"

namespace pyscale_tests {

/// A = U^T U with a known upper triangular U of diagonal 1 ... 2 and small numbers to its right.
struct DenseCase {
  Index n;
  std::vector<double> u, matrix, ones, diagonal;

  DenseCase(Index size, std::uint64_t seed) : n(size), u(n * n), matrix(n * n), ones(n, 1.0), diagonal(n) {
    Random random(seed);
    for (Index i = 0; i < n; ++i) {
      u[i * n + i] = 1.0 + random.uniform();
      for (Index j = i + 1; j < n; ++j) u[i * n + j] = (random.uniform() - 0.5) / std::sqrt(double(n));
    }
    for (Index k = 0; k < n; ++k)
      for (Index i = k; i < n; ++i)
        for (Index j = k; j < n; ++j) matrix[i * n + j] += u[k * n + i] * u[k * n + j];
    for (Index i = 0; i < n; ++i) diagonal[i] = matrix[i * n + i];
  }

  /// A x.
  std::vector<double> times(const std::vector<double>& x) const {
    std::vector<double> y(x.size());
    for (Index i = 0; i < n; ++i)
      for (Index j = 0; j < n; ++j) y[i] += matrix[i * n + j] * x[j];
    return y;
  }
};

}  // namespace pyscale_tests
