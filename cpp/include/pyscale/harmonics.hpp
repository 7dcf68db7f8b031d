// Real spherical harmonics of unit vectors, exactly, by recurrence.
#pragma once
#include <pyscale/export.hpp>
#include <pyscale/span.hpp>
#include <vector>

namespace pyscale {

/// Orthonormal real harmonics Y_lm, l = 1..lmax, m = -l..l, without the Condon-Shortley phase:
/// sqrt(2) N P_l^|m| sin(|m| phi) for m < 0, N P_l for m = 0, sqrt(2) N P_l^m cos(m phi) for m > 0.
class PYSCALE_API RealHarmonics {
 public:
  /// \throws std::invalid_argument unless 1 <= lmax <= 20
  explicit RealHarmonics(int lmax);

  int lmax() const { return lmax_; }
  int size() const { return lmax_ * (lmax_ + 2); }

  /// Adds factor * Y_lm(v) to out[0 .. size()); `v` need not be normalised, a zero vector counts as +z.
  void add(const Vec3& v, double factor, double* out) const;

 private:
  int lmax_;
  std::vector<double> diagonal_;  ///< (lmax + 1) normalised P_m^m / sin^m
  std::vector<double> a_, b_;     ///< recurrence in l at fixed m, indexed l * (lmax + 1) + m
};

}  // namespace pyscale
