// Sparse rows of basis values, and the one place where a row and parameters become g and dg/dp.
// Plain data and functions with internal linkage only: this file is compiled for several instruction sets.
#pragma once
#include <cmath>
#include <cstdint>
#include <pyscale/components.hpp>  // for Link
#include <pyscale/span.hpp>

namespace pyscale::detail {

constexpr int kMaxFactors = 8;

/// One component of a data set: factor = link(offset + sum over its windows).
struct FactorLayout {
  Link link;
  double offset;
  int first_window, end_window;  ///< its windows in the data set's list
};

/// A run of consecutive parameters in every row of a data set.
struct WindowLayout {
  int value_offset;  ///< place of the run's basis values in a row
  int length;
};

/// How the rows of one data set are laid out.
struct RowLayout {
  int n_factors, n_windows, row_length;
  const FactorLayout* factors;
  const WindowLayout* windows;
};

/// g of one row; with `slope` non-null also the derivative of g by the sum inside each factor, (n_factors).
/// `start[w]` is the first parameter of window w, `given` the factor that no parameter changes.
template <class Value>
static inline double evaluate_factors(const RowLayout& layout, const Value* value, const std::int32_t* start,
                                      const double* p, double given, double* slope) {
  double factor[kMaxFactors];
  double g = given;
  for (int f = 0; f < layout.n_factors; ++f) {
    const FactorLayout& component = layout.factors[f];
    double u = component.offset;
    for (int w = component.first_window; w < component.end_window; ++w) {
      const Value* v = value + layout.windows[w].value_offset;
      const double* q = p + start[w];
      const int length = layout.windows[w].length;
      int k = 0;
      if (length >= 8) {  // eight fixed partial sums: vectorisable without reordering
        double lane[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        for (; k + 8 <= length; k += 8)
          for (int j = 0; j < 8; ++j) lane[j] += static_cast<double>(v[k + j]) * q[k + j];
        u += ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
      }
      for (; k < length; ++k) u += static_cast<double>(v[k]) * q[k];
    }
    factor[f] = component.link == Link::exponential ? std::exp(u) : u;
    g *= factor[f];
  }
  if (slope == nullptr) return g;
  for (int f = 0; f < layout.n_factors; ++f) {
    slope[f] = given;
    for (int c = 0; c < layout.n_factors; ++c)
      if (c != f || layout.factors[f].link == Link::exponential) slope[f] *= factor[c];
  }
  return g;
}

/// g of one row; with `dg` non-null also dg/dp in the order of the row's values.
template <class Value>
static inline double evaluate_row(const RowLayout& layout, const Value* value, const std::int32_t* start,
                                  const double* p, double given, double* dg) {
  double slope[kMaxFactors];
  const double g = evaluate_factors(layout, value, start, p, given, dg == nullptr ? nullptr : slope);
  if (dg == nullptr) return g;
  for (int f = 0; f < layout.n_factors; ++f) {
    const FactorLayout& component = layout.factors[f];
    for (int w = component.first_window; w < component.end_window; ++w) {
      const int begin = layout.windows[w].value_offset, end = begin + layout.windows[w].length;
      for (int k = begin; k < end; ++k) dg[k] = slope[f] * static_cast<double>(value[k]);
    }
  }
  return g;
}

}  // namespace pyscale::detail
