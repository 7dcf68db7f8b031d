// Gaussian-weighted interpolation on a regular grid over up to three coordinates.
#pragma once
#include <array>
#include <pyscale/export.hpp>
#include <pyscale/observation.hpp>
#include <pyscale/smoother.hpp>
#include <vector>

namespace pyscale {

/// One axis of a grid: the coordinate it runs along and its nodes.
struct GridAxis {
  Coordinate coordinate = Coordinate::image_z;
  SmootherAxis nodes;
};

/// Nodes at all combinations of the nodes of its axes, the first axis fastest. Weights are isotropic
/// Gaussians of the distance in node spacings: products of the weights along the axes, with the same width
/// for all.
class PYSCALE_API Grid {
 public:
  /// \throws std::invalid_argument unless there are one to three axes
  explicit Grid(std::vector<GridAxis> axes);

  const std::vector<GridAxis>& axes() const { return axes_; }
  int n_nodes() const { return n_nodes_; }
  int n_windows() const { return n_windows_; }  ///< runs along the first axis with weight, up to 9
  int window_length() const { return axes_.front().nodes.window_length(); }

  /// First node of every run, and weights of all runs' nodes one after another.
  void weights(const Observation& o, int* first, double* value) const;

 private:
  std::vector<GridAxis> axes_;
  int n_nodes_ = 1, n_windows_ = 1;
};

}  // namespace pyscale
