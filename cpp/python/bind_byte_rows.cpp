#include <pyscale/byte_rows.hpp>

#include "pybind11.hpp"

namespace pyscale_python {
namespace {

py::array_t<pyscale::Index> shoebox_offsets(const Array<std::uint8_t>& data, pyscale::Index n_rows) {
  const auto bytes = view("data", data);
  std::vector<pyscale::Index> offsets;
  {
    const py::gil_scoped_release release;
    offsets = pyscale::shoebox_offsets(bytes, n_rows);
  }
  return to_numpy(std::move(offsets));
}

py::array_t<std::uint8_t> gather_bytes(const Array<std::uint8_t>& data, const Array<pyscale::Index>& offsets,
                                       const Array<pyscale::Index>& rows) {
  const auto bytes = view("data", data);
  const auto starts = view("offsets", offsets);
  const auto chosen = view("rows", rows);
  std::vector<std::uint8_t> gathered;
  {
    const py::gil_scoped_release release;
    gathered = pyscale::gather_bytes(bytes, starts, chosen);
  }
  return to_numpy(std::move(gathered));
}

}  // namespace

void bind_byte_rows(py::module_& m) {
  m.def("shoebox_offsets", &shoebox_offsets, "data"_a.noconvert(), "n_rows"_a,
        "Where each shoebox starts, and the end of the last.");
  m.def("gather_bytes", &gather_bytes, "data"_a.noconvert(), "offsets"_a.noconvert(), "rows"_a.noconvert(),
        "The bytes of chosen rows, one after the other.");
}

}  // namespace pyscale_python
