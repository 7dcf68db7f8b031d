// Choice of groups of equivalents that cover classes of observations evenly.
#pragma once
#include <cstdint>
#include <pyscale/span.hpp>
#include <vector>

namespace pyscale {

/// Number of segments of equal solid angle: two caps with |z| > 1/3 and the band between, four azimuths each.
inline constexpr int n_segments = 12;

/// Segment of each direction, of any length: 0-3 for z > 1/3, 4-7 for the band, whose azimuths begin at 45
/// degrees, 8-11 for z < -1/3; -1 for a zero vector. Segments as in the connectivity selection of dials.scale
/// in 2018-19.
std::vector<std::int32_t> equal_area_segments(Span<const Vec3> direction);

/// What a stratum (a resolution shell, say) is to hold.
struct SelectionMinima {
  Span<const Index> per_class;  ///< (n_strata) observations of each class
  Span<const Index> total;      ///< (n_strata) observations of all classes together
};

/// Chooses whole groups in each stratum until every class has its minimum, and all together theirs, or no
/// group that would help is left. Again and again the class with the fewest observations (the first of
/// several) takes the group that holds it and covers the most classes; groups that cover equally many come in
/// a fixed scrambled order of their numbers, since neighbours in number are neighbours in reciprocal space.
/// Strata are independent.
/// \param class_of_row (n) class of each observation, or -1: not counted
/// \param offsets (n_groups + 1) first row of each group
/// \param stratum_of_group (n_groups) or -1: not to be chosen
/// \param chosen_before (n_groups) non-zero: chosen already, and counted; or empty
/// \return (n_groups) 1 for a chosen group, those of before included
/// \throws std::invalid_argument when sizes or offsets do not fit, or a stratum is out of range
std::vector<std::uint8_t> select_groups(Span<const std::int32_t> class_of_row, Span<const Index> offsets,
                                        Span<const std::int32_t> stratum_of_group,
                                        const SelectionMinima& minima, Span<const std::uint8_t> chosen_before,
                                        int n_threads);

}  // namespace pyscale
