#include <pyscale/flex_pickle.hpp>

#include "pybind11.hpp"

namespace pyscale_python {
namespace {

template <class Read>
auto without_gil(const Array<std::uint8_t>& data, const Read& read) {
  const auto bytes = view("data", data);
  decltype(read(bytes)) values;
  {
    const py::gil_scoped_release release;
    values = read(bytes);
  }
  return to_numpy(std::move(values));
}

}  // namespace

void bind_flex_pickle(py::module_& m) {
  using pyscale::Index;
  m.def(
      "read_flex_doubles",
      [](const Array<std::uint8_t>& data, Index n_rows, int width) {
        return without_gil(data, [=](auto b) { return pyscale::read_flex_doubles(b, n_rows, width); });
      },
      "data"_a.noconvert(), "n_rows"_a, "width"_a, "Decode a flex column of doubles.");
  m.def(
      "read_flex_int32",
      [](const Array<std::uint8_t>& data, Index n_rows, int width) {
        return without_gil(data, [=](auto b) { return pyscale::read_flex_int32(b, n_rows, width); });
      },
      "data"_a.noconvert(), "n_rows"_a, "width"_a, "Decode a flex column of integers.");
  m.def(
      "read_flex_uint64",
      [](const Array<std::uint8_t>& data, Index n_rows) {
        return without_gil(data, [=](auto b) { return pyscale::read_flex_uint64(b, n_rows); });
      },
      "data"_a.noconvert(), "n_rows"_a, "Decode a flex column of unsigned integers.");
  m.def(
      "read_flex_bools",
      [](const Array<std::uint8_t>& data, Index n_rows) {
        return without_gil(data, [=](auto b) { return pyscale::read_flex_bools(b, n_rows); });
      },
      "data"_a.noconvert(), "n_rows"_a, "Decode a flex column of truth values to 0 and 1.");
}

}  // namespace pyscale_python
