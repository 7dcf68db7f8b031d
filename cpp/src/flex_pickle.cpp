#include <cmath>
#include <limits>
#include <pyscale/error.hpp>  // for cat
#include <pyscale/flex_pickle.hpp>
#include <stdexcept>

namespace pyscale {
namespace {

class ByteReader {
 public:
  explicit ByteReader(Span<const std::uint8_t> bytes)
      : start_(bytes.data()), at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  std::invalid_argument error(const char* message) const {
    return std::invalid_argument(cat(message, " at byte ", at_ - start_, " of ", end_ - start_));
  }

  std::uint8_t byte() {
    if (at_ == end_) throw error("the column is cut off");
    return *at_++;
  }

  // Number of digits that follow, 0 for the number zero.
  int n_digits(bool& negative) {
    const int header = byte();
    negative = header >= 128;
    if (header == 0) return 0;
    const int n = (header & 127) - 1;
    if (n < 1 || n > 8) throw error("a number has no possible length");
    if (n > end_ - at_) throw error("the column is cut off");
    return n;
  }

  std::uint64_t digits_lowest_first(int n) {
    std::uint64_t value = 0;
    for (int k = 0; k < n; ++k) value |= std::uint64_t{at_[k]} << (8 * k);
    at_ += n;
    return value;
  }

  std::uint64_t digits_highest_first(int n) {
    std::uint64_t value = 0;
    for (int k = 0; k < n; ++k) value = value << 8 | at_[k];
    at_ += n;
    return value;
  }

  std::int64_t integer(std::int64_t lowest, std::int64_t highest) {
    bool negative = false;
    const std::uint64_t magnitude = digits_lowest_first(n_digits(negative));
    if (magnitude > static_cast<std::uint64_t>(negative ? -lowest : highest))
      throw error("an integer is too large");
    const auto value = static_cast<std::int64_t>(magnitude);
    return negative ? -value : value;
  }

  void finish() const {
    if (at_ != end_) throw error("bytes are left");
  }

 private:
  const std::uint8_t* start_;
  const std::uint8_t* at_;
  const std::uint8_t* end_;
};

double read(ByteReader& reader, double) {
  bool negative = false;
  const int n = reader.n_digits(negative);
  if (n == 0) return 0.0;
  const std::uint64_t fraction = reader.digits_highest_first(n);
  const auto exponent = static_cast<int>(reader.integer(-4096, 4096));
  if (fraction == 0) return std::numeric_limits<double>::quiet_NaN();
  const double value = std::ldexp(static_cast<double>(fraction), exponent - 8 * n);
  if (!std::isfinite(value)) throw reader.error("a number is too large");
  return negative ? -value : value;
}

std::int32_t read(ByteReader& reader, std::int32_t) {
  using Limits = std::numeric_limits<std::int32_t>;
  return static_cast<std::int32_t>(reader.integer(Limits::min(), Limits::max()));
}

std::uint64_t read(ByteReader& reader, std::uint64_t) {
  bool negative = false;
  const std::uint64_t value = reader.digits_lowest_first(reader.n_digits(negative));
  if (negative) throw reader.error("a negative number where none can be");
  return value;
}

std::uint8_t read(ByteReader& reader, std::uint8_t) {
  const std::uint8_t character = reader.byte();
  if (character != '0' && character != '1') throw reader.error("a truth value that is neither 0 nor 1");
  return character - '0';
}

template <class T>
std::vector<T> read_column(Span<const std::uint8_t> bytes, Index n_rows, int width) {
  ByteReader reader(bytes);
  const Index stored = reader.integer(0, std::numeric_limits<Index>::max());
  if (stored != n_rows) throw std::invalid_argument(cat(stored, " rows instead of ", n_rows));
  if (n_rows < 0 || width < 1 || n_rows > bytes.size() / width)
    throw std::invalid_argument(cat(bytes.size(), " bytes cannot hold ", n_rows, " rows"));
  std::vector<T> values(static_cast<std::size_t>(n_rows) * width);
  for (T& value : values) value = read(reader, T{});
  reader.finish();
  return values;
}

}  // namespace

std::vector<double> read_flex_doubles(Span<const std::uint8_t> bytes, Index n_rows, int width) {
  return read_column<double>(bytes, n_rows, width);
}

std::vector<std::int32_t> read_flex_int32(Span<const std::uint8_t> bytes, Index n_rows, int width) {
  return read_column<std::int32_t>(bytes, n_rows, width);
}

std::vector<std::uint64_t> read_flex_uint64(Span<const std::uint8_t> bytes, Index n_rows) {
  return read_column<std::uint64_t>(bytes, n_rows, 1);
}

std::vector<std::uint8_t> read_flex_bools(Span<const std::uint8_t> bytes, Index n_rows) {
  return read_column<std::uint8_t>(bytes, n_rows, 1);
}

}  // namespace pyscale
