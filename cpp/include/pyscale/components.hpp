// Components of a scaling model: value types that turn an observation into a sparse row of basis values.
#pragma once
#include <cmath>
#include <pyscale/grid.hpp>
#include <pyscale/harmonics.hpp>
#include <pyscale/observation.hpp>
#include <pyscale/smoother.hpp>
#include <variant>

namespace pyscale {

/// How the weighted sum u = offset + sum_k basis_k p_k becomes the component's factor of g.
enum class Link { identity, exponential };

/// Most runs of parameters in a row of one component.
constexpr int kMaxWindows = 9;

/// Every component has
///   link, offset, null_value (the parameter value of "no correction");
///   needs: the parts of an observation that not every job has;
///   n_parameters(); n_windows(): a row holds this many runs of window_length() consecutive parameters,
///   ascending and disjoint;
///   basis(observation, first, value): the first parameter of every run, and the runs' basis values one after
///   another.
/// docs/developing/adding-a-component.md shows how to add one.

/// Common to components whose rows are one run.
struct SingleWindow {
  static constexpr Needs needs = Needs::nothing;
  int n_windows() const { return 1; }
};

/// Smooth overall scale: factor = sum_k s_k p_k.
struct SmoothScale : SingleWindow {
  static constexpr Link link = Link::identity;
  static constexpr double offset = 0.0, null_value = 1.0;
  SmootherAxis axis;

  explicit SmoothScale(SmootherAxis a) : axis(a) {}
  int n_parameters() const { return axis.n_nodes; }
  int window_length() const { return axis.window_length(); }
  void basis(const Observation& o, int* first, double* value) const {
    const SmootherWindow window = smoother_window(axis, o.image_z);
    first[0] = window.first;
    for (int k = 0; k < window_length(); ++k) value[k] = window.weight[k];
  }
};

/// Smooth relative B: factor = exp(B / (2 d^2)), B = sum_k s_k p_k.
struct SmoothDecay : SingleWindow {
  static constexpr Link link = Link::exponential;
  static constexpr double offset = 0.0, null_value = 0.0;
  SmootherAxis axis;

  explicit SmoothDecay(SmootherAxis a) : axis(a) {}
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
  static constexpr Needs needs = Needs::directions;
  RealHarmonics harmonics;

  int n_parameters() const { return harmonics.size(); }
  int n_windows() const { return 1; }
  int window_length() const { return harmonics.size(); }
  void basis(const Observation& o, int* first, double* value) const {
    first[0] = 0;
    for (int k = 0; k < harmonics.size(); ++k) value[k] = 0.0;
    harmonics.add(o.s0_crystal, 0.5, value);
    harmonics.add(o.s1_crystal, 0.5, value);
  }
};

/// One scale for a whole data set: factor = K.
struct ConstantScale : SingleWindow {
  static constexpr Link link = Link::identity;
  static constexpr double offset = 0.0, null_value = 1.0;

  int n_parameters() const { return 1; }
  int window_length() const { return 1; }
  void basis(const Observation&, int* first, double* value) const {
    first[0] = 0;
    value[0] = 1.0;
  }
};

/// One relative B for a whole data set: factor = exp(B / (2 d^2)).
struct ConstantDecay : SingleWindow {
  static constexpr Link link = Link::exponential;
  static constexpr double offset = 0.0, null_value = 0.0;

  int n_parameters() const { return 1; }
  int window_length() const { return 1; }
  void basis(const Observation& o, int* first, double* value) const {
    first[0] = 0;
    value[0] = o.half_inv_d2;
  }
};

/// One scale for each image: factor = exp(q_k) for image_z in [first_image + k, first_image + k + 1).
struct ImageScale : SingleWindow {
  static constexpr Link link = Link::exponential;
  static constexpr double offset = 0.0, null_value = 0.0;
  double first_image;  ///< image_z where the first image begins
  int n_images;

  ImageScale(double first, int n) : first_image(first), n_images(n) {}
  int n_parameters() const { return n_images; }
  int window_length() const { return 1; }
  void basis(const Observation& o, int* first, double* value) const {
    const double image = std::floor(o.image_z - first_image);
    first[0] = image >= n_images ? n_images - 1 : (image > 0 ? static_cast<int>(image) : 0);
    value[0] = 1.0;
  }
};

/// Decay with dose: factor = exp(C dose / d^power), dose = dose_per_image * image_z + dose_at_zero.
struct DoseDecay : SingleWindow {
  static constexpr Link link = Link::exponential;
  static constexpr double offset = 0.0, null_value = 0.0;
  int power;  ///< 1 or 2
  double dose_per_image, dose_at_zero;

  DoseDecay(int exponent, double rate, double start)
      : power(exponent), dose_per_image(rate), dose_at_zero(start) {}
  int n_parameters() const { return 1; }
  int window_length() const { return 1; }
  void basis(const Observation& o, int* first, double* value) const {
    const double inv_d2 = 2.0 * o.half_inv_d2;
    first[0] = 0;
    value[0] = (dose_per_image * o.image_z + dose_at_zero) * (power == 2 ? inv_d2 : std::sqrt(inv_d2));
  }
};

/// Smooth over one to three coordinates: factor = sum_k s_k p_k.
struct SmoothGrid {
  static constexpr Link link = Link::identity;
  static constexpr double offset = 0.0, null_value = 1.0;
  static constexpr Needs needs = Needs::position;
  Grid grid;

  int n_parameters() const { return grid.n_nodes(); }
  int n_windows() const { return grid.n_windows(); }
  int window_length() const { return grid.window_length(); }
  void basis(const Observation& o, int* first, double* value) const { grid.weights(o, first, value); }
};

using Component = std::variant<SmoothScale, SmoothDecay, Absorption, ConstantScale, ConstantDecay, ImageScale,
                               DoseDecay, SmoothGrid>;

}  // namespace pyscale
