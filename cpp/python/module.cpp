#include "pybind11.hpp"

// No state of its own but a choice of kernels that never changes: free-threaded Python needs no lock around
// it.
PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  m.doc() = "Bindings of libpyscale. Private: use the functions of the package pyscale.";
  m.attr("__version__") = PYSCALE_VERSION;
  py::register_exception<pyscale::DataError>(m, "CoreDataError",
                                             py::module_::import("pyscale.errors").attr("DataError"));
  pyscale_python::bind_byte_rows(m);
  pyscale_python::bind_cancellation(m);
  pyscale_python::bind_crossover(m);
  pyscale_python::bind_delta_cc_half(m);
  pyscale_python::bind_error_model(m);
  pyscale_python::bind_french_wilson(m);
  pyscale_python::bind_groups(m);
  pyscale_python::bind_half_sets(m);
  pyscale_python::bind_merging(m);
  pyscale_python::bind_model(m);
  pyscale_python::bind_fit(m);
  pyscale_python::bind_flex_pickle(m);
  pyscale_python::bind_number_rows(m);
  pyscale_python::bind_outliers(m);
  pyscale_python::bind_pair_differences(m);
  pyscale_python::bind_selection(m);
  pyscale_python::bind_rows(m);
}
