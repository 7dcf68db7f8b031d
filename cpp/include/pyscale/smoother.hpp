// Gaussian-weighted interpolation between equally spaced nodes along one axis.
#pragma once
#include <array>
#include <pyscale/export.hpp>
#include <vector>

namespace pyscale {

/// Nodes along one axis. Fixed when a model is made, never re-derived from the rows at hand.
/// A raw coordinate z (image number, 1/d^2, pixels) becomes x = z * factor - origin; one node spacing is
/// `spacing` in x.
struct SmootherAxis {
  double factor = 1.0;   ///< normalised units per unit of the raw coordinate
  double origin = 0.0;   ///< x of the raw coordinate 0, negated
  double spacing = 1.0;  ///< distance between nodes in x, > 0
  int n_nodes = 2;       ///< >= 2
  double width = 0.65;   ///< sigma of the weights in spacings: default_width(n_nodes)

  /// Number of nodes with non-zero weight that weights() reports.
  int window_length() const { return n_nodes < 3 ? n_nodes : 3; }
};

/// The nodes that matter at one coordinate: `first`, `first` + 1, ...; unused weights are zero, the sum is 1.
struct SmootherWindow {
  int first = 0;
  std::array<double, 3> weight{};
};

/// sigma of the weights in spacings: 0.65 for two nodes, else 0.70.
inline double default_width(int n_nodes) { return n_nodes == 2 ? 0.65 : 0.70; }

/// Axis for raw coordinates in [z_min, z_max]: n nodes that span the range rounded up to whole normalised
/// units. This is the rule by which DIALS derives the axis from its data, so that both evaluate a model
/// identically.
/// \throws std::invalid_argument for n_nodes < 2, factor <= 0 or a range that is not finite and ordered
PYSCALE_API SmootherAxis make_smoother_axis(double factor, int n_nodes, double z_min, double z_max);

/// Weights exp(-((x - p_i) / sigma)^2) of the nearest nodes, normalised. Nodes stand at 0, 1, ... spacings
/// for n < 4 and at -0.5, 0.5, ... otherwise.
PYSCALE_API SmootherWindow smoother_window(const SmootherAxis& axis, double z);

/// Raw coordinates z of the nodes.
PYSCALE_API std::vector<double> node_coordinates(const SmootherAxis& axis);

/// Number of nodes and the distance between them in degrees for a rotation `range_deg` and a wanted interval.
struct NodeCount {
  int n_nodes = 2;
  double interval_deg = 0.0;
};
PYSCALE_API NodeCount node_count(double range_deg, double interval_deg);

}  // namespace pyscale
