#include <cmath>
#include <pyscale/crystal_frame.hpp>
#include <pyscale/error.hpp>     // for require_size
#include <pyscale/parallel.hpp>  // for for_each_chunk

namespace pyscale {
namespace {

double dot(const Vec3& a, const Vec3& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

Vec3 cross(const Vec3& a, const Vec3& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

Vec3 normalised(const Vec3& v) {
  const double length = std::sqrt(dot(v, v));
  return length > 0 ? Vec3{v[0] / length, v[1] / length, v[2] / length} : v;
}

Vec3 transpose_times(const Matrix3& m, const Vec3& v) {
  return {m[0] * v[0] + m[3] * v[1] + m[6] * v[2], m[1] * v[0] + m[4] * v[1] + m[7] * v[2],
          m[2] * v[0] + m[5] * v[1] + m[8] * v[2]};
}

Vec3 rotated(const Vec3& v, const Vec3& axis, double cosine, double sine) {
  const Vec3 n = cross(axis, v);
  const double along = dot(axis, v) * (1.0 - cosine);
  return {v[0] * cosine + n[0] * sine + axis[0] * along, v[1] * cosine + n[1] * sine + axis[1] * along,
          v[2] * cosine + n[2] * sine + axis[2] * along};
}

}  // namespace

CrystalFrameBeams crystal_frame_beams(const RotationGeometry& geometry, Span<const Vec3> s1,
                                      Span<const double> image_z, int n_threads) {
  require_size("image_z", image_z.size(), s1.size());
  const Index n = s1.size();
  const Vec3 axis = normalised(geometry.rotation_axis);
  const Vec3 s0_fixed = transpose_times(geometry.setting_rotation, normalised(geometry.beam_direction));
  CrystalFrameBeams out;
  out.s0_crystal.resize(static_cast<std::size_t>(n));
  out.s1_crystal.resize(static_cast<std::size_t>(n));
  for_each_chunk(fixed_size_edges(n, 16384), n_threads, [&](Index, Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const double phi_deg =
          geometry.phi_start_deg + geometry.image_width_deg * (image_z[i] - geometry.first_image);
      const double phi = phi_deg * (M_PI / 180.0);
      const double cosine = std::cos(phi), sine = std::sin(phi);
      const auto to_crystal = [&](const Vec3& v) {
        const Vec3 c = transpose_times(geometry.fixed_rotation, rotated(v, axis, cosine, -sine));
        return Vec3{-c[2], c[1], c[0]};
      };
      out.s0_crystal[i] = to_crystal(s0_fixed);
      out.s1_crystal[i] = to_crystal(transpose_times(geometry.setting_rotation, normalised(s1[i])));
    }
  });
  return out;
}

}  // namespace pyscale
