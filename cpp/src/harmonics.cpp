#include <cmath>
#include <pyscale/error.hpp>  // for cat
#include <pyscale/harmonics.hpp>
#include <stdexcept>

namespace pyscale {
namespace {
constexpr int kMaxOrder = 20;
}

RealHarmonics::RealHarmonics(int lmax) : lmax_(lmax) {
  if (lmax < 1 || lmax > kMaxOrder)
    throw std::invalid_argument(cat("lmax must be between 1 and ", kMaxOrder, ", got ", lmax));
  const int stride = lmax + 1;
  diagonal_.resize(stride);
  a_.assign(static_cast<std::size_t>(stride) * stride, 0.0);
  b_ = a_;
  diagonal_[0] = std::sqrt(1.0 / (4.0 * M_PI));
  for (int m = 1; m <= lmax; ++m) diagonal_[m] = diagonal_[m - 1] * std::sqrt((2.0 * m + 1.0) / (2.0 * m));
  for (int m = 0; m <= lmax; ++m)
    for (int l = m + 1; l <= lmax; ++l) {
      const double l2 = static_cast<double>(l) * l, m2 = static_cast<double>(m) * m, k = l - 1.0;
      a_[l * stride + m] = std::sqrt((4.0 * l2 - 1.0) / (l2 - m2));
      b_[l * stride + m] = std::sqrt((k * k - m2) / (4.0 * k * k - 1.0)) * a_[l * stride + m];
    }
}

void RealHarmonics::add(const Vec3& v, double factor, double* out) const {
  const double length = std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
  const bool zero = length == 0.0;
  const double x = zero ? 0.0 : v[0] / length, y = zero ? 0.0 : v[1] / length, z = zero ? 1.0 : v[2] / length;
  const int stride = lmax_ + 1;
  double re = 1.0, im = 0.0;  // (x + iy)^m = sin^m(theta) (cos m phi + i sin m phi)
  for (int m = 0; m <= lmax_; ++m) {
    const double c = factor * (m == 0 ? 1.0 : M_SQRT2) * re, s = factor * M_SQRT2 * im;
    double before = 0.0, p = diagonal_[m];
    for (int l = m; l <= lmax_; ++l) {
      if (l > m) {
        const double next = a_[l * stride + m] * z * p - b_[l * stride + m] * before;
        before = p;
        p = next;
      }
      if (l == 0) continue;
      double* row = out + l * l - 1 + l;
      row[m] += c * p;
      if (m > 0) row[-m] += s * p;
    }
    const double t = re * x - im * y;
    im = re * y + im * x;
    re = t;
  }
}

}  // namespace pyscale
