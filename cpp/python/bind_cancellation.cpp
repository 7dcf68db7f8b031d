#include <memory>
#include <optional>
#include <pyscale/cancellation.hpp>

#include "pybind11.hpp"

namespace pyscale_python {
namespace {

using pyscale::Cancellation;
using pyscale::CancellationScope;

/// Signals first, which only the main thread sees, so that Ctrl-C reaches loops of the core; then the
/// caller's word.
bool poll(const py::object& ask) {
  const py::gil_scoped_acquire acquire;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  return !ask.is_none() && py::cast<bool>(py::bool_(ask()));
}

/// A scope as a context manager. Blocks nest within a thread, as scopes do.
class PythonScope {
 public:
  PythonScope(std::shared_ptr<Cancellation> request, py::object ask)
      : request_(std::move(request)), ask_(std::move(ask)) {}
  void enter() {
    const py::module_ threading = py::module_::import("threading");
    const bool sees_signals = threading.attr("main_thread")().is(threading.attr("current_thread")());
    CancellationScope::Poll ask;
    if (sees_signals || !ask_.is_none()) ask = [this] { return poll(ask_); };
    scope_.emplace(request_.get(), std::move(ask));
  }
  void exit() { scope_.reset(); }

 private:
  std::shared_ptr<Cancellation> request_;
  py::object ask_;
  std::optional<CancellationScope> scope_;
};

}  // namespace

void bind_cancellation(py::module_& m) {
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const pyscale::Cancelled&) {
      py::set_error(py::module_::import("pyscale.errors").attr("Cancelled"),
                    "cancelled: nothing was changed or written");
    }
  });
  py::class_<Cancellation, std::shared_ptr<Cancellation>>(
      m, "Cancellation",
      "A request to stop a job: give it as `cancel` and call its `cancel()` from any thread.\n\n"
      "It cannot be taken back: one object for each job, or for all that are to stop together.")
      .def(py::init<>())
      .def("cancel", &Cancellation::cancel, "Ask all jobs that have this object to stop.")
      .def_property_readonly("is_cancelled", &Cancellation::is_cancelled, "Whether `cancel` was called.")
      .def("__repr__", [](const Cancellation& c) {
        return c.is_cancelled() ? "<pyscale.Cancellation: cancelled>"
                                : "<pyscale.Cancellation: not cancelled>";
      });
  py::class_<PythonScope>(m, "CancellationScope", "While it is entered, this thread can be stopped.")
      .def(py::init<std::shared_ptr<Cancellation>, py::object>(), "request"_a = py::none(),
           "poll"_a = py::none())
      .def("__enter__", &PythonScope::enter)
      .def("__exit__", [](PythonScope& s, const py::args&) { s.exit(); });
  m.def("throw_if_cancelled", &pyscale::throw_if_cancelled,
        "Raise Cancelled if a scope of this thread was asked to stop.");
}

}  // namespace pyscale_python
