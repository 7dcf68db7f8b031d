// Rows of bytes of differing lengths, as in a column of shoeboxes.
#pragma once
#include <pyscale/span.hpp>

namespace pyscale {

/// Where each shoebox of a DIALS table starts, and the end of the last: n_rows + 1 offsets.
///
/// A shoebox is: panel (u4), bounding box (6 i4: x0 x1 y0 y1 z0 z1), kind of mask (u1: 0 no pixels, 1 mask of
/// i4, 2 mask of u1) and, with pixels, data (f4), mask and background (f4) of each. Pixels are not read.
/// Throws std::invalid_argument if the shoeboxes do not fill the bytes exactly.
std::vector<Index> shoebox_offsets(Span<const std::uint8_t> bytes, Index n_rows);

/// The bytes of chosen rows, one after the other; `offsets` has one element more than there are rows.
/// Throws std::invalid_argument if a row or an offset is out of range.
std::vector<std::uint8_t> gather_bytes(Span<const std::uint8_t> bytes, Span<const Index> offsets,
                                       Span<const Index> rows);

}  // namespace pyscale
