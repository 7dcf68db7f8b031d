#include <algorithm>
#include <cmath>
#include <cstring>
#include <locale>
#include <numeric>
#include <pyscale/error.hpp>
#include <pyscale/number_rows.hpp>
#include <pyscale/parallel.hpp>
#include <sstream>

namespace pyscale {
namespace {

// Powers of ten that a double holds exactly: with a mantissa below 2^53, one operation rounds correctly.
constexpr double kPowersOfTen[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
constexpr std::uint64_t kLargestExact = std::uint64_t{1} << 53;
constexpr int kMostDigits = 19;
constexpr int kLargestExponent = 100000;
constexpr Index kChunkBytes = Index{1} << 20;

constexpr bool is_blank(std::uint8_t c) { return c == ' ' || c == '\t' || c == '\r'; }
constexpr bool ends_item(std::uint8_t c) { return is_blank(c) || c == '\n'; }
constexpr bool is_digit(std::uint8_t c) { return c >= '0' && c <= '9'; }

// The number in [at, end) by the standard library, for the few that the quick way does not round correctly.
bool read_slowly(const std::uint8_t* at, const std::uint8_t* end, double& value) {
  std::string token(reinterpret_cast<const char*>(at), static_cast<std::size_t>(end - at));
  std::replace(token.begin(), token.end(), 'D', 'E');
  std::replace(token.begin(), token.end(), 'd', 'e');
  std::istringstream stream(token);
  stream.imbue(std::locale::classic());
  stream >> value;
  return !stream.fail() && std::isfinite(value) && stream.peek() == std::istringstream::traits_type::eof();
}

// The exponent behind a letter E or D; nullptr if there is none.
const std::uint8_t* read_exponent(const std::uint8_t* at, const std::uint8_t* end, int& exponent) {
  const bool negative = at != end && *at == '-';
  if (at != end && (*at == '-' || *at == '+')) ++at;
  if (at == end || !is_digit(*at)) return nullptr;
  int value = 0;
  for (; at != end && is_digit(*at); ++at)
    if (value < kLargestExponent) value = value * 10 + (*at - '0');
  exponent += negative ? -value : value;
  return at;
}

// The number that the text begins with; returns where it ends, or nullptr if there is none, or none so short
// that one operation rounds it correctly.
const std::uint8_t* read_quickly(const std::uint8_t* at, const std::uint8_t* end, double& value) {
  const bool negative = *at == '-';
  if (*at == '-' || *at == '+') ++at;
  const std::uint8_t* const first = at;
  std::uint64_t mantissa = 0;
  for (; at != end && is_digit(*at); ++at) mantissa = mantissa * 10 + (*at - '0');
  auto n_digits = at - first;
  int exponent = 0;
  if (at != end && *at == '.') {
    const std::uint8_t* const point = at++;
    for (; at != end && is_digit(*at); ++at) mantissa = mantissa * 10 + (*at - '0');
    exponent = static_cast<int>(std::max<std::ptrdiff_t>(point + 1 - at, -kLargestExponent));
    n_digits += at - point - 1;
  }
  if (n_digits == 0 || n_digits > kMostDigits) return nullptr;
  if (at != end && (*at | 0x21) == 'e') at = read_exponent(at + 1, end, exponent);
  if (at == nullptr || mantissa > kLargestExact || std::abs(exponent) > 22) return nullptr;
  const auto whole = static_cast<double>(mantissa);
  const double magnitude = exponent < 0 ? whole / kPowersOfTen[-exponent] : whole * kPowersOfTen[exponent];
  value = negative ? -magnitude : magnitude;
  return at;
}

DataError bad_item(Index line, const std::uint8_t* start, const std::uint8_t* end) {
  std::string shown(reinterpret_cast<const char*>(start),
                    static_cast<std::size_t>(std::min<Index>(end - start, 24)));
  for (char& c : shown)
    if (c < 32 || c > 126) c = '?';
  return DataError(cat("line ", line, ": '", shown, "' is not a number"));
}

class RowReader {
 public:
  RowReader(int width, Span<const std::int32_t> wanted) : place_(width, -1) {
    for (Index k = 0; k < wanted.size(); ++k) {
      if (wanted[k] < 0 || wanted[k] >= width || place_[wanted[k]] >= 0)
        throw std::invalid_argument(cat("no columns to read: ", wanted[k], " of ", width));
      place_[wanted[k]] = static_cast<int>(k);
    }
  }

  // Decodes the line at `at`, and returns where it ends.
  const std::uint8_t* read(const std::uint8_t* at, const std::uint8_t* end, Index line, double* row,
                           Index stride) const {
    const int width = static_cast<int>(place_.size());
    int n = 0;
    for (;; ++n) {
      while (at != end && is_blank(*at)) ++at;
      if (at == end || *at == '\n') break;
      const bool decode = n < width && place_[n] >= 0;
      at = decode ? read_item(at, end, line, row[place_[n] * stride]) : end_of_item(at, end);
    }
    if (n != width) throw DataError(cat("line ", line, ": has ", n, " items instead of ", width));
    return at;
  }

 private:
  static const std::uint8_t* end_of_item(const std::uint8_t* at, const std::uint8_t* end) {
    while (at != end && !ends_item(*at)) ++at;
    return at;
  }

  static const std::uint8_t* read_item(const std::uint8_t* at, const std::uint8_t* end, Index line,
                                       double& value) {
    const std::uint8_t* const quick = read_quickly(at, end, value);
    if (quick != nullptr && (quick == end || ends_item(*quick))) return quick;
    const std::uint8_t* const item_end = end_of_item(at, end);
    if (!read_slowly(at, item_end, value)) throw bad_item(line, at, item_end);
    return item_end;
  }

  std::vector<int> place_;
};

// Where the first line begins that starts with '!', or the end.
Index end_of_rows(Span<const std::uint8_t> text) {
  const std::uint8_t* at = text.begin();
  while (at != text.end()) {
    at = static_cast<const std::uint8_t*>(std::memchr(at, '!', static_cast<std::size_t>(text.end() - at)));
    if (at == nullptr) return text.size();
    if (at == text.begin() || at[-1] == '\n') return at - text.begin();
    ++at;
  }
  return text.size();
}

std::vector<Index> edges_at_lines(Span<const std::uint8_t> text) {
  std::vector<Index> edges = fixed_size_edges(text.size(), kChunkBytes);
  for (std::size_t k = 1; k + 1 < edges.size(); ++k) {
    const std::uint8_t* const from = text.begin() + std::max(edges[k], edges[k - 1]);
    const std::uint8_t* const found = std::find(from, text.end(), std::uint8_t{'\n'});
    edges[k] = found == text.end() ? text.size() : found + 1 - text.begin();
  }
  return edges;
}

// Number of lines before each edge.
std::vector<Index> lines_before(Span<const std::uint8_t> text, const std::vector<Index>& edges,
                                int n_threads) {
  std::vector<Index> lines(edges.size(), 0);
  for_each_chunk(edges, n_threads, [&](Index k, Index begin, Index end) {
    lines[k + 1] = std::count(text.begin() + begin, text.begin() + end, '\n');
  });
  std::partial_sum(lines.begin(), lines.end(), lines.begin());
  if (!text.empty() && text.end()[-1] != '\n') ++lines.back();
  return lines;
}

}  // namespace

NumberRows read_number_rows(Span<const std::uint8_t> text, int width, Span<const std::int32_t> wanted,
                            Index first_line, int n_threads) {
  if (width < 1) throw std::invalid_argument("rows without columns");
  NumberRows result;
  result.end = end_of_rows(text);
  text = {text.data(), result.end};
  const std::vector<Index> edges = edges_at_lines(text);
  const std::vector<Index> lines = lines_before(text, edges, n_threads);
  result.n_rows = lines.back();
  // With more lines than rows could fit, one of them is too short: it is looked for, and nothing decoded.
  const bool can_fit = result.n_rows <= text.size() / (2 * Index{width} - 1) + 1;
  const RowReader reader(width, can_fit ? wanted : Span<const std::int32_t>{});
  if (can_fit) result.values.resize(static_cast<std::size_t>(result.n_rows * wanted.size()));
  for_each_chunk(edges, n_threads, [&](Index k, Index begin, Index end) {
    const std::uint8_t* at = text.begin() + begin;
    for (Index row = lines[k]; at != text.begin() + end; ++row) {
      at = reader.read(at, text.begin() + end, first_line + row, result.values.data() + row, result.n_rows);
      if (at != text.begin() + end) ++at;
    }
  });
  return result;
}

}  // namespace pyscale
