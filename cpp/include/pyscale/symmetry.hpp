// Unit cell and symmetry from plain numbers and text, for programs that have no crystallographic library at
// hand.
#pragma once
#include <pyscale/export.hpp>
#include <pyscale/groups.hpp>  // for RotationMatrix
#include <pyscale/span.hpp>
#include <string_view>
#include <vector>

namespace pyscale {

/// Lengths in Angstrom, angles in degrees.
struct UnitCell {
  double a = 0, b = 0, c = 0;
  double alpha = 90, beta = 90, gamma = 90;
};

/// 1/d^2 of reflections, 1/A^2, (n).
/// \throws DataError when the cell has no volume
PYSCALE_API std::vector<double> inverse_d_squared(const UnitCell& cell, Span<const Miller> miller_index);

/// Rotation part of a symmetry operator in the notation of the International Tables, such as "-y, x-y,
/// z+1/3".
/// \throws DataError when the text is no such operator
PYSCALE_API RotationMatrix rotation_from_xyz(std::string_view text);

/// Rotation parts of the operators of a space group, centring translations left out, for the 65 groups
/// without mirrors, glides and inversions, which are all that crystals of proteins have. Settings are the
/// standard ones: unique axis b, hexagonal axes for rhombohedral groups. For others give operators to
/// rotation_from_xyz.
/// \throws DataError for other numbers
PYSCALE_API std::vector<RotationMatrix> rotations_of_space_group(int number);

}  // namespace pyscale
