// Usage: dense_solver [N_THREADS]. Seconds of the solver beside Eigen's, built alike, for random matrices.
#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "../cpp/src/detail/cholesky.hpp"

namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using pyscale::Index;

/// The least of some repetitions: other programs can only make it longer.
template <class Body>
double seconds(Body&& body) {
  using Clock = std::chrono::steady_clock;
  double least = 1e30, total = 0.0;
  for (int k = 0; k < 1000 && (k < 3 || total < 0.3); ++k) {
    const auto start = Clock::now();
    body();
    const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
    least = std::min(least, elapsed);
    total += elapsed;
  }
  return least;
}

void compare(Index n, int n_threads) {
  const Matrix b = Matrix::Random(n, n);
  Matrix a = Matrix::Identity(n, n) * 0.1;
  a.noalias() += b * b.transpose() / static_cast<double>(n);
  const Eigen::VectorXd diagonal = a.diagonal();
  const std::vector<double> ones(static_cast<std::size_t>(n), 1.0);
  pyscale::detail::Cholesky ours;
  const double factor =
      seconds([&] { ours.factor({a.data(), n * n}, ones, {diagonal.data(), n}, n_threads); });
  const double inverse = seconds([&] { ours.inverse(n_threads); });
  Eigen::VectorXd x = diagonal;
  const double solve = seconds([&] { ours.solve({x.data(), n}); });
  double eigen = seconds([&] {
    volatile bool ok = Eigen::LLT<Matrix>(a).info() == Eigen::Success;
    (void)ok;
  });
  const double flops = static_cast<double>(n) * n * n / 3.0;
  std::printf("%5lld %10.6f %10.6f %6.2fx %8.1f %10.6f %8.1f %10.6f\n", static_cast<long long>(n), factor,
              eigen, eigen / factor, 1e-9 * flops / factor, inverse, 2e-9 * flops / inverse, solve);
}

}  // namespace

int main(int argc, char** argv) {
  const int n_threads = argc > 1 ? std::atoi(argv[1]) : 1;
  std::printf("%5s %10s %10s %7s %8s %10s %8s %10s\n", "n", "factor/s", "Eigen/s", "ratio", "GFlop/s",
              "inverse/s", "GFlop/s", "solve/s");
  for (const Index n : {4, 10, 20, 40, 60, 100, 200, 500, 1000, 1600, 3000}) compare(n, n_threads);
  return 0;
}
