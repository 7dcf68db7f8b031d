// The only place that includes pybind11; array helpers shared by all bindings.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <pyscale/error.hpp>
#include <pyscale/span.hpp>
#include <utility>
#include <vector>

namespace py = pybind11;
using namespace pybind11::literals;

namespace pyscale_python {

/// C-contiguous array of exactly T; use with .noconvert() so that a wrong dtype is an error, not a copy.
template <class T>
using Array = py::array_t<T, py::array::c_style>;

template <class T>
pyscale::Span<const T> view(const char* name, const Array<T>& a) {
  if (a.ndim() != 1) throw std::invalid_argument(pyscale::cat(name, " must have shape (n,)"));
  return {a.data(), a.size()};
}

inline pyscale::Span<const pyscale::Miller> miller_view(const char* name, const Array<std::int32_t>& a) {
  if (a.ndim() != 2 || a.shape(1) != 3)
    throw std::invalid_argument(pyscale::cat(name, " must have shape (n, 3)"));
  return {reinterpret_cast<const pyscale::Miller*>(a.data()), a.shape(0)};
}

inline pyscale::Span<const pyscale::Vec3> vector_view(const char* name, const Array<double>& a) {
  if (a.ndim() != 2 || a.shape(1) != 3)
    throw std::invalid_argument(pyscale::cat(name, " must have shape (n, 3)"));
  return {reinterpret_cast<const pyscale::Vec3*>(a.data()), a.shape(0)};
}

/// Hands a vector over to numpy without a copy.
template <class T, class Allocator>
py::array_t<T> to_numpy(std::vector<T, Allocator>&& values) {
  using Values = std::vector<T, Allocator>;
  auto* owner = new Values(std::move(values));
  py::capsule free(owner, [](void* p) { delete static_cast<Values*>(p); });
  return py::array_t<T>(static_cast<py::ssize_t>(owner->size()), owner->data(), free);
}

/// The same for vectors of three numbers: an array of shape (n, 3).
template <class T>
py::array_t<T> to_numpy(std::vector<std::array<T, 3>>&& values) {
  auto* owner = new std::vector<std::array<T, 3>>(std::move(values));
  py::capsule free(owner, [](void* p) { delete static_cast<std::vector<std::array<T, 3>>*>(p); });
  return py::array_t<T>({static_cast<py::ssize_t>(owner->size()), py::ssize_t{3}},
                        reinterpret_cast<T*>(owner->data()), free);
}

void bind_byte_rows(py::module_& m);
void bind_cancellation(py::module_& m);
void bind_crossover(py::module_& m);
void bind_delta_cc_half(py::module_& m);
void bind_error_model(py::module_& m);
void bind_fit(py::module_& m);
void bind_flex_pickle(py::module_& m);
void bind_french_wilson(py::module_& m);
void bind_groups(py::module_& m);
void bind_half_sets(py::module_& m);
void bind_merging(py::module_& m);
void bind_model(py::module_& m);
void bind_number_rows(py::module_& m);
void bind_outliers(py::module_& m);
void bind_pair_differences(py::module_& m);
void bind_selection(py::module_& m);
void bind_rows(py::module_& m);

}  // namespace pyscale_python
