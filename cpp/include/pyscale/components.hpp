// Components of a scaling model: value types that turn an observation into a sparse row of basis values.
#pragma once
#include <pyscale/harmonics.hpp>
#include <pyscale/smoother.hpp>
#include <pyscale/span.hpp>
#include <variant>

namespace pyscale {

/// What components may look at in one observation.
struct Observation {
  double image_z = 0.0;      ///< array coordinate of the centroid
  double half_inv_d2 = 0.0;  ///< 1 / (2 d^2), 1/A^2
  Vec3 s0_crystal{};         ///< direction towards the source, crystal frame
  Vec3 s1_crystal{};         ///< direction of the diffracted beam, crystal frame
};

/// How the weighted sum u = offset + sum_k basis_k p_k becomes the component's factor of g.
enum class Link { identity, exponential };

/// Every component has
///   link, offset, null_value (the parameter value of "no correction");
///   n_windows: a row holds this many runs of window_length() consecutive parameters, out of n_parameters();
///   basis(observation, first, value): the first parameter of every run, and the runs' basis values one after
///   another.
/// docs/adding-a-component.md shows how to add one.

/// Smooth overall scale: factor = sum_k s_k p_k.
struct SmoothScale {
  static constexpr Link link = Link::identity;
  static constexpr double offset = 0.0, null_value = 1.0;
  static constexpr int n_windows = 1;
  SmootherAxis axis;

  int n_parameters() const { return axis.n_nodes; }
  int window_length() const { return axis.window_length(); }
  void basis(const Observation& o, int* first, double* value) const {
    const SmootherWindow window = smoother_window(axis, o.image_z);
    first[0] = window.first;
    for (int k = 0; k < window_length(); ++k) value[k] = window.weight[k];
  }
};

/// Smooth relative B: factor = exp(B / (2 d^2)), B = sum_k s_k p_k.
struct SmoothDecay {
  static constexpr Link link = Link::exponential;
  static constexpr double offset = 0.0, null_value = 0.0;
  static constexpr int n_windows = 1;
  SmootherAxis axis;

  int n_parameters() const { return axis.n_nodes; }
  int window_length() const { return axis.window_length(); }
  void basis(const Observation& o, int* first, double* value) const {
    const SmootherWindow window = smoother_window(axis, o.image_z);
    first[0] = window.first;
    for (int k = 0; k < window_length(); ++k) value[k] = window.weight[k] * o.half_inv_d2;
  }
};

/// Absorption surface: factor = 1 + sum_lm C_lm [Y_lm(s0_crystal) + Y_lm(s1_crystal)] / 2.
struct Absorption {
  static constexpr Link link = Link::identity;
  static constexpr double offset = 1.0, null_value = 0.0;
  static constexpr int n_windows = 1;
  RealHarmonics harmonics;

  int n_parameters() const { return harmonics.size(); }
  int window_length() const { return harmonics.size(); }
  void basis(const Observation& o, int* first, double* value) const {
    first[0] = 0;
    for (int k = 0; k < harmonics.size(); ++k) value[k] = 0.0;
    harmonics.add(o.s0_crystal, 0.5, value);
    harmonics.add(o.s1_crystal, 0.5, value);
  }
};

/// One scale for a whole data set: factor = K.
struct ConstantScale {
  static constexpr Link link = Link::identity;
  static constexpr double offset = 0.0, null_value = 1.0;
  static constexpr int n_windows = 1;

  int n_parameters() const { return 1; }
  int window_length() const { return 1; }
  void basis(const Observation&, int* first, double* value) const {
    first[0] = 0;
    value[0] = 1.0;
  }
};

/// One relative B for a whole data set: factor = exp(B / (2 d^2)).
struct ConstantDecay {
  static constexpr Link link = Link::exponential;
  static constexpr double offset = 0.0, null_value = 0.0;
  static constexpr int n_windows = 1;

  int n_parameters() const { return 1; }
  int window_length() const { return 1; }
  void basis(const Observation& o, int* first, double* value) const {
    first[0] = 0;
    value[0] = o.half_inv_d2;
  }
};

using Component = std::variant<SmoothScale, SmoothDecay, Absorption, ConstantScale, ConstantDecay>;

}  // namespace pyscale
