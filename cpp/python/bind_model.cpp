#include <pyscale/crystal_frame.hpp>
#include <pyscale/model.hpp>

#include "views.hpp"

namespace pyscale_python {
namespace {

using pyscale::JobModel;
using pyscale::SmootherAxis;

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
             return SmootherAxis{factor, origin, spacing, n_nodes};
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

void bind_job_model(py::module_& m) {
  py::class_<JobModel>(m, "JobModel", "The joint scaling model of a job over one parameter vector.")
      .def(py::init<>())
      .def_readonly("n_parameters", &JobModel::n_parameters)
      .def_property_readonly("n_data_sets", [](const JobModel& j) { return j.data_sets.size(); })
      .def("add_data_set", &JobModel::add_data_set,
           "Append a data set without components; return its number.")
      .def(
          "add_smooth_scale",
          [](JobModel& j, pyscale::Index s, const SmootherAxis& a) {
            return j.add_component(s, pyscale::SmoothScale{a});
          },
          "data_set"_a, "axis"_a)
      .def(
          "add_smooth_decay",
          [](JobModel& j, pyscale::Index s, const SmootherAxis& a) {
            return j.add_component(s, pyscale::SmoothDecay{a});
          },
          "data_set"_a, "axis"_a)
      .def(
          "add_absorption",
          [](JobModel& j, pyscale::Index s, int lmax) {
            return j.add_component(s, pyscale::Absorption{pyscale::RealHarmonics(lmax)});
          },
          "data_set"_a, "lmax"_a)
      .def(
          "add_constant_scale",
          [](JobModel& j, pyscale::Index s) { return j.add_component(s, pyscale::ConstantScale{}); },
          "data_set"_a)
      .def(
          "add_constant_decay",
          [](JobModel& j, pyscale::Index s) { return j.add_component(s, pyscale::ConstantDecay{}); },
          "data_set"_a);
}

}  // namespace

void bind_model(py::module_& m) {
  bind_smoother(m);
  bind_job_model(m);
  py::class_<Observations>(m, "Observations", "Arrays that a scaling model looks at; keeps them alive.")
      .def(py::init<Array<std::int32_t>, Array<double>, Array<double>, Array<double>, Array<double>>(),
           "data_set"_a.noconvert(), "image_z"_a.noconvert(), "half_inv_d2"_a.noconvert(),
           "s0_crystal"_a.noconvert(), "s1_crystal"_a.noconvert());
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
}

}  // namespace pyscale_python
