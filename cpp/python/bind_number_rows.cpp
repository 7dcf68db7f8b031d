#include <pyscale/number_rows.hpp>

#include "pybind11.hpp"

namespace pyscale_python {

void bind_number_rows(py::module_& m) {
  m.def(
      "read_number_rows",
      [](const Array<std::uint8_t>& text, int width, const Array<std::int32_t>& wanted,
         pyscale::Index first_line, int n_threads) {
        const auto bytes = view("text", text);
        const auto columns = view("wanted", wanted);
        pyscale::NumberRows rows;
        {
          const py::gil_scoped_release release;
          rows = pyscale::read_number_rows(bytes, width, columns, first_line, n_threads);
        }
        return py::make_tuple(to_numpy(std::move(rows.values)).reshape({columns.size(), rows.n_rows}),
                              rows.end);
      },
      "text"_a.noconvert(), "width"_a, "wanted"_a.noconvert(), "first_line"_a, "n_threads"_a,
      "Chosen columns (n_wanted, n_rows) of rows of numbers, and where the line that ends them begins.");
}

}  // namespace pyscale_python
