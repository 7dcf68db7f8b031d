#include "detail/row_layouts.hpp"

#include <algorithm>
#include <array>
#include <pyscale/error.hpp>  // for cat
#include <set>
#include <stdexcept>

namespace pyscale::detail {

namespace {
constexpr int kWholeComponent = 32, kPiece = 8;
}

void RowLayouts::make_blocks(const JobModel& model) {
  std::set<std::int32_t> begins{static_cast<std::int32_t>(model.n_parameters)};
  for (const auto& components : model.data_sets)
    for (const PlacedComponent& placed : components) {
      const auto first = static_cast<std::int32_t>(placed.first_parameter);
      begins.insert(first);
      const auto [n, in_row] = std::visit(
          [](const auto& c) {
            return std::pair<int, int>(c.n_parameters(), c.n_windows() * c.window_length());
          },
          placed.component);
      if (n <= kWholeComponent || 2 * in_row >= n) continue;
      for (int k = kPiece; k < n; k += kPiece) begins.insert(first + k);
    }
  block_begin_.assign(begins.begin(), begins.end());
  block_of_.resize(static_cast<std::size_t>(model.n_parameters));
  for (std::size_t b = 0; b + 1 < block_begin_.size(); ++b)
    std::fill(block_of_.begin() + block_begin_[b], block_of_.begin() + block_begin_[b + 1],
              static_cast<std::int32_t>(b));
}

RowLayouts::RowLayouts(const JobModel& model) {
  make_blocks(model);
  for (const auto& components : model.data_sets) {
    if (components.size() > static_cast<std::size_t>(kMaxFactors))
      throw std::invalid_argument(
          cat("a data set has ", components.size(), " components, at most ", kMaxFactors));
    Storage s;
    int values = 0;
    Index previous = -1;
    for (const PlacedComponent& placed : components) {
      if (placed.first_parameter <= previous)
        throw std::invalid_argument(
            "components of a data set must be placed in ascending order of parameters");
      previous = placed.first_parameter;
      std::visit(
          [&](const auto& c) {
            const int first = static_cast<int>(s.windows.size());
            for (int w = 0; w < c.n_windows(); ++w, values += c.window_length())
              s.windows.push_back({values, c.window_length()});
            s.factors.push_back({c.link, c.offset, first, static_cast<int>(s.windows.size())});
          },
          placed.component);
    }
    value_stride_ = std::max(value_stride_, values);
    start_stride_ = std::max(start_stride_, static_cast<int>(s.windows.size()));
    storage_.push_back(std::move(s));
    views_.push_back({0, 0, values, nullptr, nullptr});
  }
  for (std::size_t k = 0; k < storage_.size(); ++k) {
    const Storage& s = storage_[k];
    views_[k] = {static_cast<int>(s.factors.size()), static_cast<int>(s.windows.size()), views_[k].row_length,
                 s.factors.data(), s.windows.data()};
  }
}

int RowLayouts::n_single_values() const {
  const int n = views_.empty() ? 0 : views_[0].n_factors;
  for (const RowLayout& view : views_)
    if (view.n_factors != n || view.n_windows != n || view.row_length != n) return 0;
  return n;
}

void RowLayouts::fill(const JobModel& model, Index data_set, const Observation& o, double* value,
                      std::int32_t* start) const {
  int window = 0;
  for (const PlacedComponent& placed : model.data_sets[data_set]) {
    std::visit(
        [&](const auto& c) {
          std::array<int, kMaxWindows> first;
          c.basis(o, first.data(), value);
          for (int w = 0; w < c.n_windows(); ++w)
            start[window++] = static_cast<std::int32_t>(placed.first_parameter + first[w]);
          value += c.n_windows() * c.window_length();
        },
        placed.component);
  }
}

double quadratic_form(const RowLayout& layout, const double* x, const std::int32_t* start,
                      const double* matrix, Index p) {
  double sum = 0.0;
  for (int a = 0; a < layout.n_windows; ++a)
    for (int r = 0; r < layout.windows[a].length; ++r) {
      const double xr = x[layout.windows[a].value_offset + r];
      const double* row = matrix + (start[a] + r) * p;
      double inner = 0.0;
      for (int b = 0; b < layout.n_windows; ++b) {
        const double* y = x + layout.windows[b].value_offset;
        for (int c = 0; c < layout.windows[b].length; ++c) inner += row[start[b] + c] * y[c];
      }
      sum += xr * inner;
    }
  return sum;
}

}  // namespace pyscale::detail
