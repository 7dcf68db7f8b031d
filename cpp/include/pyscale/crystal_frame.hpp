// Beam directions in the frame of the crystal, for absorption surfaces.
#pragma once
#include <array>
#include <pyscale/export.hpp>
#include <pyscale/span.hpp>
#include <vector>

namespace pyscale {

using Matrix3 = std::array<double, 9>;  ///< row-major

/// Rotation geometry of one sweep: R(phi) = setting * Rot(axis, phi) * fixed.
struct RotationGeometry {
  Vec3 beam_direction{0, 0, 1};  ///< unit vector from the sample towards the source
  Vec3 rotation_axis{1, 0, 0};   ///< datum axis of the scan, any length > 0
  Matrix3 fixed_rotation{1, 0, 0, 0, 1, 0, 0, 0, 1};
  Matrix3 setting_rotation{1, 0, 0, 0, 1, 0, 0, 0, 1};
  double phi_start_deg = 0.0;    ///< scan angle at the start of the first image
  double image_width_deg = 0.0;  ///< rotation per image
  double first_image = 0.0;      ///< array coordinate z of the start of the first image
};

/// Crystal-frame directions of one observation, axes permuted (x, y, z) -> (-z, y, x) as DIALS stores
/// surfaces.
struct CrystalFrameBeams {
  std::vector<Vec3> s0_crystal;  ///< (n) towards the source
  std::vector<Vec3> s1_crystal;  ///< (n) along the diffracted beam
};

/// \param s1 (n) diffracted beam vectors in the laboratory frame, any length; zero stays zero
/// \param image_z (n) array coordinate of each observation
PYSCALE_API CrystalFrameBeams crystal_frame_beams(const RotationGeometry& geometry, Span<const Vec3> s1,
                                                  Span<const double> image_z, int n_threads);

}  // namespace pyscale
