// The normal equations of docs/theory/model.md, equations 3 and 4, as one would first write them down: no
// blocking, no chosen instruction set, double precision. bench/assembly.py measures the core beside this.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <pyscale/components.hpp>
#include <vector>

#define BENCH_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

/// g = scale * exp(decay) * absorption from `lengths` basis values of each, and dg/dp in the order of the
/// values.
double evaluate(const double* value, const std::int32_t* column, const std::int32_t* lengths, const double* p,
                double* dg) {
  double u[3] = {0.0, 0.0, 1.0};
  int k = 0;
  for (int f = 0; f < 3; ++f)
    for (int j = 0; j < lengths[f]; ++j, ++k) u[f] += value[k] * p[column[k]];
  const double decay = std::exp(u[1]), g = u[0] * decay * u[2];
  const double derivative[3] = {decay * u[2], g, u[0] * decay};
  k = 0;
  for (int f = 0; f < 3; ++f)
    for (int j = 0; j < lengths[f]; ++j, ++k) dg[k] = derivative[f] * value[k];
  return g;
}

}  // namespace

/// Cost, half gradient (n_parameters) and the upper triangle of the normal matrix (n_parameters^2,
/// row-major).
BENCH_EXPORT void reference_normal_equations(std::int64_t n_groups, const std::int64_t* offsets,
                                             const double* intensity, const double* weight,
                                             const double* value, const std::int32_t* column,
                                             const std::int32_t* lengths, std::int32_t n_parameters,
                                             const double* parameters, double* cost, double* half_gradient,
                                             double* matrix) {
  const int row = lengths[0] + lengths[1] + lengths[2], p = n_parameters;
  std::vector<double> g, dg, a(p), c(p);
  *cost = 0.0;
  for (int k = 0; k < p; ++k) half_gradient[k] = 0.0;
  for (int k = 0; k < p * p; ++k) matrix[k] = 0.0;
  for (std::int64_t h = 0; h < n_groups; ++h) {
    const std::int64_t begin = offsets[h], n = offsets[h + 1] - begin;
    if (n < 2) continue;
    g.resize(n);
    dg.resize(n * row);
    double wgg = 0.0, wgi = 0.0;
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t at = (begin + i) * row;
      g[i] = evaluate(value + at, column + at, lengths, parameters, dg.data() + i * row);
      wgg += weight[begin + i] * g[i] * g[i];
      wgi += weight[begin + i] * g[i] * intensity[begin + i];
    }
    const double mean = wgi / wgg;
    a.assign(p, 0.0);
    c.assign(p, 0.0);
    for (std::int64_t i = 0; i < n; ++i) {
      const double* d = dg.data() + i * row;
      const std::int32_t* at = column + (begin + i) * row;
      const double w = weight[begin + i], r = intensity[begin + i] - g[i] * mean;
      *cost += w * r * r;
      for (int k = 0; k < row; ++k) {
        a[at[k]] += w * g[i] * d[k];
        c[at[k]] += w * r * d[k];
        for (int l = k; l < row; ++l) matrix[at[k] * p + at[l]] += mean * mean * w * d[k] * d[l];
      }
    }
    for (int k = 0; k < p; ++k) {
      half_gradient[k] -= mean * c[k];
      for (int l = k; l < p; ++l) matrix[k * p + l] += (c[k] * c[l] - mean * mean * a[k] * a[l]) / wgg;
    }
  }
}

/// Basis values and columns of each observation: scale, decay, absorption; from the core's components.
BENCH_EXPORT void reference_rows(std::int64_t n, const double* image_z, const double* half_inv_d2,
                                 const double* s0, const double* s1, const double* scale_axis,
                                 const double* decay_axis, std::int32_t lmax, double* value,
                                 std::int32_t* column) {
  const auto axis = [](const double* a) {
    const int n = static_cast<int>(a[3]);
    return pyscale::SmootherAxis{a[0], a[1], a[2], n, pyscale::default_width(n)};
  };
  const pyscale::SmoothScale scale{axis(scale_axis)};
  const pyscale::SmoothDecay decay{axis(decay_axis)};
  const pyscale::Absorption absorption{pyscale::RealHarmonics(lmax)};
  for (std::int64_t i = 0; i < n; ++i) {
    const pyscale::Observation o{image_z[i],
                                 half_inv_d2[i],
                                 {s0[3 * i], s0[3 * i + 1], s0[3 * i + 2]},
                                 {s1[3 * i], s1[3 * i + 1], s1[3 * i + 2]}};
    int begin = 0;
    const auto add = [&](const auto& component) {
      int first = 0;
      component.basis(o, &first, value);
      for (int k = 0; k < component.window_length(); ++k) column[k] = begin + first + k;
      value += component.window_length();
      column += component.window_length();
      begin += component.n_parameters();
    };
    add(scale);
    add(decay);
    add(absorption);
  }
}

/// Bytes per second at which one thread sums a large array.
BENCH_EXPORT double read_bandwidth(const double* data, std::int64_t n) {
  double best = 0.0;
  volatile double sink = 0.0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    double lane[32] = {};
    for (std::int64_t i = 0; i + 32 <= n; i += 32)
      for (int j = 0; j < 32; ++j) lane[j] += data[i + j];
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    for (const double x : lane) sink = sink + x;
    best = std::max(best, 8.0 * static_cast<double>(n) / seconds.count());
  }
  return best;
}

namespace {

/// Floating-point operations per second of one thread on twelve independent chains x = x y + z.
template <class Vector>
double chains_per_second() {
  constexpr int kChains = 12, kSteps = 4000000;
  double best = 0.0;
  volatile double sink = 0.0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    Vector x[kChains];
    for (int j = 0; j < kChains; ++j) x[j] = Vector{} + 0.1 * j;
    const Vector y = Vector{} + (1.0 - 1e-9 * (repeat + 1)), z = Vector{} + 1e-9;
    const auto start = std::chrono::steady_clock::now();
    for (int k = 0; k < kSteps; ++k)
      for (int j = 0; j < kChains; ++j) x[j] = x[j] * y + z;
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    for (int j = 0; j < kChains; ++j) sink = sink + x[j][0];
    best = std::max(best, 2.0 * kChains * kSteps * (sizeof(Vector) / sizeof(double)) / seconds.count());
  }
  return best;
}

typedef double Vector16 __attribute__((vector_size(16)));
typedef double Vector32 __attribute__((vector_size(32)));
typedef double Vector64 __attribute__((vector_size(64)));

}  // namespace

/// Peak multiply-add rate of one thread, in operations (2 per multiply-add) per second.
BENCH_EXPORT double peak_flops() {
  return std::max(chains_per_second<Vector16>(),
                  std::max(chains_per_second<Vector32>(), chains_per_second<Vector64>()));
}
