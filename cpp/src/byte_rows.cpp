#include <algorithm>
#include <cstring>
#include <pyscale/byte_rows.hpp>
#include <pyscale/error.hpp>  // for cat
#include <stdexcept>

namespace pyscale {
namespace {

constexpr Index header_size = 29;

// Bytes of the pixels, or more than `limit` when the box is larger than that.
Index pixel_bytes(const std::uint8_t* header, Index limit, Index row) {
  const std::uint8_t mask_kind = header[header_size - 1];
  if (mask_kind == 0) return 0;
  if (mask_kind > 2) throw std::invalid_argument(cat("row ", row, ": unknown kind of mask ", int(mask_kind)));
  std::int32_t box[6];
  std::memcpy(box, header + 4, sizeof box);
  Index bytes = mask_kind == 1 ? 12 : 9;
  for (int axis = 0; axis < 3; ++axis) {
    const Index length = Index{box[2 * axis + 1]} - box[2 * axis];
    if (length < 0) throw std::invalid_argument(cat("row ", row, ": a bounding box of negative size"));
    // Lengths stay below 2^32 and `bytes` is clipped to limit + 1, so that the product cannot overflow.
    bytes = std::min(bytes, limit + 1);
    bytes = length > 0 && bytes > (limit + 1) / length ? limit + 1 : bytes * length;
  }
  return bytes;
}

}  // namespace

std::vector<Index> shoebox_offsets(Span<const std::uint8_t> bytes, Index n_rows) {
  if (n_rows < 0 || n_rows > bytes.size() / header_size)
    throw std::invalid_argument(cat(bytes.size(), " bytes cannot hold ", n_rows, " shoeboxes"));
  std::vector<Index> offsets(static_cast<std::size_t>(n_rows) + 1, 0);
  for (Index row = 0; row < n_rows; ++row) {
    const Index left = bytes.size() - offsets[row] - header_size;
    const Index pixels = left < 0 ? 0 : pixel_bytes(bytes.data() + offsets[row], left, row);
    if (left < 0 || pixels > left) throw std::invalid_argument(cat("row ", row, ": the shoebox is cut off"));
    offsets[row + 1] = offsets[row] + header_size + pixels;
  }
  if (offsets.back() != bytes.size())
    throw std::invalid_argument(cat(bytes.size() - offsets.back(), " bytes are left after the last shoebox"));
  return offsets;
}

std::vector<std::uint8_t> gather_bytes(Span<const std::uint8_t> bytes, Span<const Index> offsets,
                                       Span<const Index> rows) {
  Index total = 0;
  for (const Index row : rows) {
    if (row < 0 || row + 1 >= offsets.size())
      throw std::invalid_argument(cat("row ", row, " does not exist"));
    if (offsets[row] < 0 || offsets[row + 1] < offsets[row] || offsets[row + 1] > bytes.size())
      throw std::invalid_argument(cat("row ", row, " lies outside of the buffer"));
    total += offsets[row + 1] - offsets[row];
  }
  std::vector<std::uint8_t> gathered;
  gathered.reserve(static_cast<std::size_t>(total));
  for (const Index row : rows)
    gathered.insert(gathered.end(), bytes.data() + offsets[row], bytes.data() + offsets[row + 1]);
  return gathered;
}

}  // namespace pyscale
