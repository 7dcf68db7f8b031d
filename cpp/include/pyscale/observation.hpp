// What components of a scaling model may look at.
#pragma once
#include <pyscale/span.hpp>

namespace pyscale {

/// Coordinates and directions of one observation.
struct Observation {
  double image_z = 0.0;      ///< array coordinate of the centroid
  double half_inv_d2 = 0.0;  ///< 1 / (2 d^2), 1/A^2
  Vec3 s0_crystal{};         ///< direction towards the source, crystal frame
  Vec3 s1_crystal{};         ///< direction of the diffracted beam, crystal frame
  double x_px = 0.0;         ///< place on the detector, pixels
  double y_px = 0.0;
};

/// Parts of an observation that are present only where a component asks for them.
enum class Needs { nothing, directions, position };

/// A coordinate along which a correction may vary.
enum class Coordinate { image_z, inv_d2, x_px, y_px };

inline double coordinate(const Observation& o, Coordinate which) {
  switch (which) {
    case Coordinate::image_z:
      return o.image_z;
    case Coordinate::inv_d2:
      return 2.0 * o.half_inv_d2;
    case Coordinate::x_px:
      return o.x_px;
    case Coordinate::y_px:
      break;
  }
  return o.y_px;
}

}  // namespace pyscale
