#include <algorithm>
#include <cmath>
#include <limits>
#include <pyscale/error.hpp>  // for DataError, require_size
#include <pyscale/french_wilson.hpp>
#include <pyscale/parallel.hpp>  // for for_each_chunk

namespace pyscale {
namespace {

constexpr double pi = 3.14159265358979323846;
constexpr double series_from = 12;  ///< |h| beyond which the series have the full precision
constexpr double largest_h = 1e100;
constexpr Index rows_per_chunk = 4096;

/// Moments of x with density ~ x^(nu-1) exp(-(x-h)^2/2), x > 0.
struct Moments {
  double root = 0;           ///< mean of x^1/2
  double mean = 0;           ///< mean of x
  double root_variance = 0;  ///< variance of x^1/2
  double log_norm = 0;       ///< ln of the integral of the density, times exp(h^2/2) for h <= 0
};

/// E (1 + z/h)^(nu-1) - 1 for a normal z, to all orders that matter; h > 0.
double series_above(double nu, double h) {
  double term = 1, sum = 0;
  for (int k = 1; k < 40 && std::abs(term) > 1e-18; ++k) {
    term *= (nu - 2 * k + 1) * (nu - 2 * k) / (2 * k * h * h);
    sum += term;
  }
  return sum;
}

Moments above(double nu, double h) {
  const double none = series_above(nu, h);
  const double root = (series_above(nu + 0.5, h) - none) / (1 + none);
  const double mean = (series_above(nu + 1, h) - none) / (1 + none);
  Moments m;
  m.root = std::sqrt(h) * (1 + root);
  m.mean = h * (1 + mean);
  // Of 1 + root and 1 + mean only the small parts differ: no digits are lost.
  m.root_variance = h * (mean - 2 * root - root * root);
  m.log_norm = 0.5 * std::log(2 * pi) + (nu - 1) * std::log(h) + std::log1p(none);
  return m;
}

/// Integral of x^(nu-1) exp(-x |h| - x^2/2) over Gamma(nu) |h|^-nu.
double series_below(double nu, double h) {
  double term = 1, sum = 1;
  for (int k = 1; k < 40 && std::abs(term) > 1e-18; ++k) {
    term *= -(nu + 2 * k - 2) * (nu + 2 * k - 1) / (2 * k * h * h);
    sum += term;
  }
  return sum;
}

Moments below(double nu, double h) {
  const double none = series_below(nu, h), size = -h;
  const double gamma_ratio = nu < 0.75 ? 1 / std::sqrt(pi) : std::sqrt(pi) / 2;
  Moments m;
  m.root = gamma_ratio / std::sqrt(size) * series_below(nu + 0.5, h) / none;
  m.mean = nu / size * series_below(nu + 1, h) / none;
  m.root_variance = m.mean - m.root * m.root;
  m.log_norm = (nu < 0.75 ? 0.5 * std::log(pi) : 0.0) - nu * std::log(size) + std::log(none);
  return m;
}

/// Half-integer moments by x = y^2: the trapezoidal rule converges faster than any power for these
/// integrands, and the step is a third of the width of the narrowest.
void half_moments(double h, double (&m)[2]) {
  constexpr double step = 0.1;
  const double shift = h <= 0 ? h * h / 2 : 0;
  double sum = 0.5 * std::exp(shift - h * h / 2), square = 0;
  for (int k = 1; k < 60; ++k) {
    const double y2 = (step * k) * (step * k), d = y2 - h, exponent = shift - d * d / 2;
    if (exponent < -45 && y2 > h) break;
    const double f = std::exp(exponent);
    sum += f;
    square += y2 * f;
  }
  m[0] = 2 * step * sum;
  m[1] = 2 * step * square;
}

Moments between(bool centric, double h) {
  double half[2];
  half_moments(h, half);
  const double shift = h <= 0 ? h * h / 2 : 0;
  const double one = std::sqrt(pi / 2) * std::erfc(-h / std::sqrt(2.0)) * std::exp(shift);
  const double two = h * one + std::exp(shift - h * h / 2);
  Moments m;
  const double norm = centric ? half[0] : one;
  m.root = (centric ? one : half[1]) / norm;
  m.mean = (centric ? half[1] : two) / norm;
  m.root_variance = m.mean - m.root * m.root;
  m.log_norm = std::log(norm);
  return m;
}

Moments moments(bool centric, double h) {
  const double nu = centric ? 0.5 : 1;
  if (h > series_from) return above(nu, h);
  return h < -series_from ? below(nu, h) : between(centric, h);
}

/// ln p(I): t = I/sigma, u = t - h.
double log_evidence(const Moments& m, bool centric, double t, double u, double h, double sigma, double s) {
  const double exponent = h <= 0 ? -t * t / 2 : u * u / 2 - u * t;
  const double prior = centric ? -0.5 * std::log(2 * pi * s) - 0.5 * std::log(sigma) : -std::log(s);
  return prior - 0.5 * std::log(2 * pi) + exponent + m.log_norm;
}

void check(double intensity, double sigma, double prior_mean, Index i) {
  if (!std::isfinite(intensity)) throw DataError(cat("intensity ", i, " is not finite"));
  if (!(sigma > 0) || !std::isfinite(sigma)) throw DataError(cat("sigma ", i, " is not positive"));
  if (!(prior_mean > 0)) throw DataError(cat("prior mean ", i, " is not positive"));
}

}  // namespace

WilsonPosterior french_wilson(Span<const double> intensity, Span<const double> sigma,
                              Span<const double> prior_mean, Span<const std::uint8_t> is_centric,
                              int n_threads) {
  const Index n = intensity.size();
  require_size("sigma", sigma.size(), n);
  require_size("prior_mean", prior_mean.size(), n);
  require_size("is_centric", is_centric.size(), n);
  WilsonPosterior out;
  for (auto* v : {&out.intensity, &out.amplitude, &out.amplitude_sigma, &out.log_evidence}) v->resize(n);
  for_each_chunk(fixed_size_edges(n, rows_per_chunk), n_threads, [&](Index, Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      check(intensity[i], sigma[i], prior_mean[i], i);
      const bool centric = is_centric[i] != 0;
      const double t = intensity[i] / sigma[i], u = sigma[i] / prior_mean[i] / (centric ? 2 : 1);
      const double h = std::clamp(t - u, -largest_h, largest_h);
      const Moments m = moments(centric, h);
      out.intensity[i] = sigma[i] * m.mean;
      out.amplitude[i] = std::sqrt(sigma[i]) * m.root;
      out.amplitude_sigma[i] = std::sqrt(sigma[i] * m.root_variance);
      out.log_evidence[i] = std::isinf(prior_mean[i])
                                ? std::numeric_limits<double>::quiet_NaN()
                                : log_evidence(m, centric, t, u, h, sigma[i], prior_mean[i]);
    }
  });
  return out;
}

}  // namespace pyscale
