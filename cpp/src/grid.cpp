#include <algorithm>
#include <pyscale/error.hpp>  // for cat
#include <pyscale/grid.hpp>
#include <stdexcept>
#include <utility>

namespace pyscale {

Grid::Grid(std::vector<GridAxis> axes) : axes_(std::move(axes)) {
  if (axes_.empty() || axes_.size() > 3)
    throw std::invalid_argument(cat("a grid has one to three axes, not ", axes_.size()));
  double width = 1.0;
  for (const GridAxis& axis : axes_) width = std::min(width, axis.nodes.width);
  for (std::size_t k = 0; k < axes_.size(); ++k) {
    axes_[k].nodes.width = width;
    n_nodes_ *= axes_[k].nodes.n_nodes;
    if (k > 0) n_windows_ *= axes_[k].nodes.window_length();
  }
}

void Grid::weights(const Observation& o, int* first, double* value) const {
  const SmootherAxis& fast = axes_.front().nodes;
  const int length = fast.window_length();
  const SmootherWindow x = smoother_window(fast, coordinate(o, axes_.front().coordinate));
  SmootherWindow slow[2];  // of axes that are not there: one node of weight 1
  int n_slow[2] = {1, 1}, stride[2] = {0, 0}, next_stride = fast.n_nodes;
  slow[0].weight[0] = slow[1].weight[0] = 1.0;
  for (std::size_t k = 1; k < axes_.size(); ++k) {
    const SmootherAxis& nodes = axes_[k].nodes;
    slow[k - 1] = smoother_window(nodes, coordinate(o, axes_[k].coordinate));
    n_slow[k - 1] = nodes.window_length();
    stride[k - 1] = next_stride;
    next_stride *= nodes.n_nodes;
  }
  for (int t = 0; t < n_slow[1]; ++t)
    for (int y = 0; y < n_slow[0]; ++y) {
      *first++ = x.first + (slow[0].first + y) * stride[0] + (slow[1].first + t) * stride[1];
      const double w = slow[0].weight[y] * slow[1].weight[t];
      for (int k = 0; k < length; ++k) *value++ = w * x.weight[k];
    }
}

}  // namespace pyscale
