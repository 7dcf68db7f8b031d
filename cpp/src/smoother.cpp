#include <algorithm>
#include <cmath>
#include <pyscale/error.hpp>  // for cat
#include <pyscale/smoother.hpp>
#include <stdexcept>

namespace pyscale {

namespace {

/// Place of the first node in units of the spacing.
double first_node(int n_nodes) { return n_nodes < 4 ? 0.0 : -0.5; }

}  // namespace

SmootherAxis make_smoother_axis(double factor, int n_nodes, double z_min, double z_max) {
  if (n_nodes < 2) throw std::invalid_argument(cat("n_nodes must be at least 2, got ", n_nodes));
  if (!(factor > 0)) throw std::invalid_argument(cat("factor must be positive, got ", factor));
  if (!(z_max >= z_min) || !std::isfinite(z_max - z_min))
    throw std::invalid_argument(cat("coordinates must be finite and ordered, got ", z_min, " to ", z_max));
  SmootherAxis axis;
  axis.factor = factor;
  axis.origin = z_min * factor;
  axis.n_nodes = n_nodes;
  const double x_max = std::round((z_max * factor - axis.origin) * 1e10) / 1e10;
  const double extent = std::max(std::ceil(x_max), 1.0);
  axis.spacing = extent / (n_nodes < 4 ? n_nodes - 1 : n_nodes - 2);
  axis.width = default_width(n_nodes);
  return axis;
}

SmootherWindow smoother_window(const SmootherAxis& axis, double z) {
  const int n = axis.n_nodes;
  const int width = std::min(3, n);
  const double zeta = (z * axis.factor - axis.origin) / axis.spacing;
  int begin = 0, end = n;
  if (n > 3) {
    const double nearest = std::clamp(std::round(zeta - 0.5 * width), -4.0, n + 4.0);
    begin = static_cast<int>(nearest) + 1;
    end = begin + width;
    if (begin < 0) {
      begin = 0;
      end = std::max(2, end);
    }
    if (end > n) {
      end = n;
      begin = std::min(begin, n - 2);
    }
  }
  const double sigma = axis.width;
  const double shift = first_node(n);
  SmootherWindow window;
  window.first = std::min(begin, n - width);
  double nearest_square = INFINITY;
  std::array<double, 3> square{};
  for (int i = begin; i < end; ++i) {
    const double u = (zeta - (i + shift)) / sigma;
    square[i - window.first] = u * u;
    nearest_square = std::min(nearest_square, u * u);
  }
  double total = 0.0;
  for (int i = begin; i < end; ++i) {
    double& w = window.weight[i - window.first];
    w = std::exp(nearest_square - square[i - window.first]);
    total += w;
  }
  for (double& w : window.weight) w /= total;
  return window;
}

std::vector<double> node_coordinates(const SmootherAxis& axis) {
  std::vector<double> z(static_cast<std::size_t>(axis.n_nodes));
  for (int i = 0; i < axis.n_nodes; ++i)
    z[i] = ((i + first_node(axis.n_nodes)) * axis.spacing + axis.origin) / axis.factor;
  return z;
}

NodeCount node_count(double range_deg, double interval_deg) {
  if (!(interval_deg > 0)) throw std::invalid_argument(cat("interval must be positive, got ", interval_deg));
  const double range = std::round(std::abs(range_deg) * 1e6) / 1e6;
  const double interval = interval_deg + 1e-5;
  if (range <= interval) return {2, range};
  if (range < 2 * interval) return {3, range / 2};
  const double bins = std::max(std::floor(range / interval) + 1, 3.0);
  if (bins > 1e6) throw std::invalid_argument(cat("interval of ", interval_deg, " deg is too fine"));
  return {static_cast<int>(bins) + 2, range / bins};
}

}  // namespace pyscale
