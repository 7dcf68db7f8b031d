#include <pybind11/stl.h>

#include <optional>
#include <pyscale/crystal_frame.hpp>
#include <pyscale/model.hpp>

#include "views.hpp"

namespace pyscale_python {
namespace {

using pyscale::Component;
using pyscale::JobModel;
using pyscale::SmootherAxis;

/// None by default: default arrays would load NumPy with the module.
using OptionalArray = std::optional<Array<double>>;

Array<double> or_empty(OptionalArray&& array, std::vector<py::ssize_t> empty_shape) {
  return array ? *std::move(array) : Array<double>(std::move(empty_shape));
}

struct AnyComponent {
  Component component;
};

pyscale::Matrix3 matrix3(const char* name, const Array<double>& a) {
  if (a.size() != 9) throw std::invalid_argument(pyscale::cat(name, " must have shape (3, 3)"));
  pyscale::Matrix3 m;
  std::copy(a.data(), a.data() + 9, m.begin());
  return m;
}

py::tuple crystal_frame_beams(const pyscale::Vec3& beam_direction, const pyscale::Vec3& rotation_axis,
                              const Array<double>& fixed_rotation, const Array<double>& setting_rotation,
                              double phi_start_deg, double image_width_deg, double first_image,
                              const Array<double>& s1, const Array<double>& image_z, int n_threads) {
  const pyscale::RotationGeometry geometry{beam_direction,
                                           rotation_axis,
                                           matrix3("fixed_rotation", fixed_rotation),
                                           matrix3("setting_rotation", setting_rotation),
                                           phi_start_deg,
                                           image_width_deg,
                                           first_image};
  const auto s1_view = vector_view("s1", s1);
  const auto z_view = view("image_z", image_z);
  pyscale::CrystalFrameBeams beams;
  {
    const py::gil_scoped_release release;
    beams = pyscale::crystal_frame_beams(geometry, s1_view, z_view, n_threads);
  }
  return py::make_tuple(to_numpy(std::move(beams.s0_crystal)), to_numpy(std::move(beams.s1_crystal)));
}

void bind_smoother(py::module_& m) {
  py::class_<SmootherAxis>(m, "SmootherAxis", "Equally spaced nodes along one axis: x = z * factor - origin.")
      .def(py::init([](double factor, double origin, double spacing, int n_nodes) {
             return SmootherAxis{factor, origin, spacing, n_nodes, pyscale::default_width(n_nodes)};
           }),
           "factor"_a, "origin"_a, "spacing"_a, "n_nodes"_a)
      .def_readonly("factor", &SmootherAxis::factor)
      .def_readonly("origin", &SmootherAxis::origin)
      .def_readonly("spacing", &SmootherAxis::spacing)
      .def_readonly("n_nodes", &SmootherAxis::n_nodes);
  m.def("make_smoother_axis", &pyscale::make_smoother_axis, "factor"_a, "n_nodes"_a, "z_min"_a, "z_max"_a,
        "Axis for raw coordinates between z_min and z_max, by DIALS' rule.");
  m.def(
      "smoother_window",
      [](const SmootherAxis& axis, double z) {
        const pyscale::SmootherWindow w = pyscale::smoother_window(axis, z);
        return py::make_tuple(w.first,
                              std::vector<double>(w.weight.begin(), w.weight.begin() + axis.window_length()));
      },
      "axis"_a, "z"_a, "First node with weight at z, and the weights.");
  m.def(
      "node_coordinates", [](const SmootherAxis& axis) { return to_numpy(pyscale::node_coordinates(axis)); },
      "axis"_a, "Raw coordinates z of the nodes, (n_nodes,).");
  m.def(
      "node_count",
      [](double range_deg, double interval_deg) {
        const pyscale::NodeCount n = pyscale::node_count(range_deg, interval_deg);
        return py::make_tuple(n.n_nodes, n.interval_deg);
      },
      "range_deg"_a, "interval_deg"_a, "Number of nodes and the distance between them in degrees.");
  m.def(
      "real_harmonics",
      [](int lmax, const pyscale::Vec3& v) {
        const pyscale::RealHarmonics harmonics(lmax);
        std::vector<double> out(static_cast<std::size_t>(harmonics.size()));
        harmonics.add(v, 1.0, out.data());
        return to_numpy(std::move(out));
      },
      "lmax"_a, "direction"_a, "Real spherical harmonics Y_lm of a direction, l = 1..lmax, m = -l..l.");
}

pyscale::Coordinate coordinate_named(const std::string& name) {
  if (name == "image_z") return pyscale::Coordinate::image_z;
  if (name == "inv_d2") return pyscale::Coordinate::inv_d2;
  if (name == "x_px") return pyscale::Coordinate::x_px;
  if (name == "y_px") return pyscale::Coordinate::y_px;
  throw std::invalid_argument(pyscale::cat("there is no coordinate ", name));
}

Component grid(const std::vector<std::pair<std::string, SmootherAxis>>& axes) {
  std::vector<pyscale::GridAxis> places;
  for (const auto& [name, axis] : axes) places.push_back({coordinate_named(name), axis});
  return pyscale::SmoothGrid{pyscale::Grid(std::move(places))};
}

int component_size(const Component& component) {
  return std::visit([](const auto& c) { return c.n_parameters(); }, component);
}

void bind_component(py::module_& m) {
  // Held by a class of its own: pybind11 would turn the variant itself into one of its alternatives.
  py::class_<AnyComponent>(m, "Component", "A component of a scaling model (components.hpp).")
      .def_static(
          "smooth_scale", [](const SmootherAxis& a) { return AnyComponent{pyscale::SmoothScale(a)}; },
          "axis"_a)
      .def_static(
          "smooth_decay", [](const SmootherAxis& a) { return AnyComponent{pyscale::SmoothDecay(a)}; },
          "axis"_a)
      .def_static(
          "absorption",
          [](int lmax) { return AnyComponent{pyscale::Absorption{pyscale::RealHarmonics(lmax)}}; }, "lmax"_a)
      .def_static("constant_scale", [] { return AnyComponent{pyscale::ConstantScale{}}; })
      .def_static("constant_decay", [] { return AnyComponent{pyscale::ConstantDecay{}}; })
      .def_static(
          "image_scale",
          [](double first_image, int n_images) {
            return AnyComponent{pyscale::ImageScale(first_image, n_images)};
          },
          "first_image"_a, "n_images"_a)
      .def_static(
          "dose_decay",
          [](int power, double dose_per_image, double dose_at_zero) {
            return AnyComponent{pyscale::DoseDecay(power, dose_per_image, dose_at_zero)};
          },
          "power"_a, "dose_per_image"_a, "dose_at_zero"_a)
      .def_static(
          "grid",
          [](const std::vector<std::pair<std::string, SmootherAxis>>& axes) {
            return AnyComponent{grid(axes)};
          },
          "axes"_a, "Axes as (coordinate, nodes), the fastest first.")
      .def_property_readonly("n_parameters",
                             [](const AnyComponent& c) { return component_size(c.component); });
}

void bind_job_model(py::module_& m) {
  py::class_<JobModel>(m, "JobModel", "The joint scaling model of a job over one parameter vector.")
      .def(py::init<>())
      .def_readonly("n_parameters", &JobModel::n_parameters)
      .def_property_readonly("n_data_sets", [](const JobModel& j) { return j.data_sets.size(); })
      .def("add_data_set", &JobModel::add_data_set,
           "Append a data set without components; return its number.")
      .def(
          "add",
          [](JobModel& j, pyscale::Index s, const AnyComponent& c) {
            return j.add_component(s, c.component);
          },
          "data_set"_a, "component"_a, "Append a component with parameters of its own; return the first.")
      .def(
          "share",
          [](JobModel& j, pyscale::Index s, const AnyComponent& c, pyscale::Index first) {
            j.share_component(s, c.component, first);
          },
          "data_set"_a, "component"_a, "first_parameter"_a,
          "Append a component that has its parameters in common with another data set.");
}

}  // namespace

void bind_model(py::module_& m) {
  bind_smoother(m);
  bind_component(m);
  bind_job_model(m);
  py::class_<Observations>(m, "Observations", "Arrays that a scaling model looks at; keeps them alive.")
      .def(py::init([](Array<std::int32_t> data_set, Array<double> image_z, Array<double> half_inv_d2,
                       OptionalArray s0_crystal, OptionalArray s1_crystal, OptionalArray x_px,
                       OptionalArray y_px, OptionalArray given_factor) {
             Observations o{std::move(data_set),
                            std::move(image_z),
                            std::move(half_inv_d2),
                            or_empty(std::move(s0_crystal), {0, 3}),
                            or_empty(std::move(s1_crystal), {0, 3}),
                            or_empty(std::move(x_px), {0}),
                            or_empty(std::move(y_px), {0}),
                            or_empty(std::move(given_factor), {0})};
             o.view();
             return o;
           }),
           "data_set"_a.noconvert(), "image_z"_a.noconvert(), "half_inv_d2"_a.noconvert(),
           "s0_crystal"_a.noconvert() = py::none(), "s1_crystal"_a.noconvert() = py::none(),
           "x_px"_a.noconvert() = py::none(), "y_px"_a.noconvert() = py::none(),
           "given_factor"_a.noconvert() = py::none());
  m.def("crystal_frame_beams", &crystal_frame_beams, "beam_direction"_a, "rotation_axis"_a,
        "fixed_rotation"_a.noconvert(), "setting_rotation"_a.noconvert(), "phi_start_deg"_a,
        "image_width_deg"_a, "first_image"_a, "s1"_a.noconvert(), "image_z"_a.noconvert(), "n_threads"_a = 1,
        "Beam directions in the crystal frame: two arrays of shape (n, 3).");
  m.def(
      "inverse_scale_factors",
      [](const JobModel& model, const Observations& o, const Array<double>& parameters, int n_threads) {
        const auto p = view("parameters", parameters);
        std::vector<double> g;
        {
          const py::gil_scoped_release release;
          g = pyscale::inverse_scale_factors(model, o.view(), p, n_threads);
        }
        return to_numpy(std::move(g));
      },
      "model"_a, "observations"_a, "parameters"_a.noconvert(), "n_threads"_a = 1,
      "Inverse scale factors g, (n,).");
  m.def(
      "inverse_scale_factor_variances",
      [](const JobModel& model, const Observations& o, const Array<double>& parameters,
         const Array<double>& covariance, int n_threads) {
        const auto p = view("parameters", parameters);
        const pyscale::Span<const double> c{covariance.data(), covariance.size()};
        std::vector<double> variance;
        {
          const py::gil_scoped_release release;
          variance = pyscale::inverse_scale_factor_variances(model, o.view(), p, c, n_threads);
        }
        return to_numpy(std::move(variance));
      },
      "model"_a, "observations"_a, "parameters"_a.noconvert(), "covariance"_a.noconvert(), "n_threads"_a = 1,
      "Variances of g from the covariance of the parameters, (n,).");
  m.def(
      "local_scale_factor_variances",
      [](const JobModel& model, const Observations& o, const Array<double>& parameters,
         const Array<double>& covariance, int n_threads) {
        const auto p = view("parameters", parameters);
        const auto c = view("covariance", covariance);
        std::vector<double> variance;
        {
          const py::gil_scoped_release release;
          variance = pyscale::local_scale_factor_variances(model, o.view(), p, c, n_threads);
        }
        return to_numpy(std::move(variance));
      },
      "model"_a, "observations"_a, "parameters"_a.noconvert(), "covariance"_a.noconvert(), "n_threads"_a = 1,
      "Variances of g from the covariances inside each data set, (n,).");
  m.def(
      "parameter_blocks",
      [](const JobModel& model) {
        std::vector<pyscale::Index> edges;
        for (const pyscale::ParameterBlock& b : pyscale::parameter_blocks(model)) {
          edges.push_back(b.begin);
          edges.push_back(b.end);
        }
        const auto n = static_cast<pyscale::Index>(edges.size()) / 2;
        return to_numpy(std::move(edges)).reshape({n, pyscale::Index{2}});
      },
      "model"_a,
      "First parameter and end of each data set's own, then of the shared ones, (n + 1, 2) int64.");
}

}  // namespace pyscale_python
