// Rows of numbers in free format, as text files of reflections have them.
#pragma once
#include <pyscale/large_vector.hpp>
#include <pyscale/span.hpp>

namespace pyscale {

/// Chosen columns of the rows that a text begins with.
struct NumberRows {
  Index n_rows = 0;
  /// (n_columns, n_rows): column after column, in the order in which they were asked for
  LargeVector<double> values;
  /// Bytes up to the line that ends the rows, or all of them.
  Index end = 0;
};

/// Reads lines of exactly `width` numbers with blanks between, up to a line that begins with '!' or the end
/// of the text. The columns `wanted` (of 0 to width - 1) are decoded to the nearest double, the others only
/// counted.
///
/// Throws DataError, "line L: ...", L counting from `first_line`, if a line has another number of items or an
/// item that is wanted is no finite number; std::invalid_argument if no such columns can be. Allocates no
/// more than eight bytes for each byte of text.
NumberRows read_number_rows(Span<const std::uint8_t> text, int width, Span<const std::int32_t> wanted,
                            Index first_line, int n_threads);

}  // namespace pyscale
