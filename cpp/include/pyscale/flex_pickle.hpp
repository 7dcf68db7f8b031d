// Numbers as flex arrays of cctbx write them into pickles: base 256, of variable length, the same on any
// machine.
#pragma once
#include <pyscale/span.hpp>

namespace pyscale {

// A column is the number of its rows, as an integer, and `width` numbers of each row:
//   integer  one byte L, plus 128 if negative, and L - 1 bytes of magnitude, lowest first; zero is the byte 0
//   double   one byte L, plus 128 if negative, L - 1 bytes of the fraction in [1/2, 1), highest first, and
//   the
//            binary exponent as an integer; zero is the byte 0
//   bool     the character '0' or '1'
// All functions throw std::invalid_argument if the bytes are not exactly `n_rows` such rows; they allocate
// nothing before the number of rows is known to fit the bytes.

/// (n_rows * width) numbers. Infinities and NaN have lost their value on file, and are NaN here.
std::vector<double> read_flex_doubles(Span<const std::uint8_t> bytes, Index n_rows, int width);

/// (n_rows * width) numbers
std::vector<std::int32_t> read_flex_int32(Span<const std::uint8_t> bytes, Index n_rows, int width);

/// (n_rows) numbers
std::vector<std::uint64_t> read_flex_uint64(Span<const std::uint8_t> bytes, Index n_rows);

/// (n_rows) zeros and ones
std::vector<std::uint8_t> read_flex_bools(Span<const std::uint8_t> bytes, Index n_rows);

}  // namespace pyscale
