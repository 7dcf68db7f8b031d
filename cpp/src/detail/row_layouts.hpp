// Row layouts of a whole job: owns the storage behind detail::RowLayout and fills rows from components.
#pragma once
#include <pyscale/model.hpp>  // for JobModel
#include <vector>

#include "rows.hpp"

namespace pyscale::detail {

class RowLayouts {
 public:
  explicit RowLayouts(const JobModel& model);
  RowLayouts(const RowLayouts&) = delete;
  RowLayouts& operator=(const RowLayouts&) = delete;

  const RowLayout& operator[](Index data_set) const { return views_[data_set]; }
  const RowLayout* data() const { return views_.data(); }
  int value_stride() const { return value_stride_; }  ///< longest row
  int start_stride() const { return start_stride_; }  ///< most windows
  /// Number of factors where it is the same in all data sets and each of them looks at one parameter in every
  /// row; else 0.
  int n_single_values() const;
  /// Parameters in blocks: components, or pieces of those whose rows touch but few of their parameters.
  const std::vector<std::int32_t>& block_begin() const { return block_begin_; }
  /// Block of each parameter.
  const std::vector<std::int32_t>& block_of() const { return block_of_; }

  /// Writes the basis values and the first parameter of each window of one observation.
  void fill(const JobModel& model, Index data_set, const Observation& o, double* value,
            std::int32_t* start) const;

 private:
  void make_blocks(const JobModel& model);

  struct Storage {
    std::vector<FactorLayout> factors;
    std::vector<WindowLayout> windows;
  };
  std::vector<Storage> storage_;
  std::vector<RowLayout> views_;
  std::vector<std::int32_t> block_begin_, block_of_;
  int value_stride_ = 1, start_stride_ = 1;
};

/// Room for one row.
struct RowBuffer {
  explicit RowBuffer(const RowLayouts& layouts)
      : value(layouts.value_stride()), derivative(layouts.value_stride()), start(layouts.start_stride()) {}
  std::vector<double> value, derivative;
  std::vector<std::int32_t> start;
};

/// x^T C x for a sparse row x over windows; C is (p, p), symmetric, row-major.
double quadratic_form(const RowLayout& layout, const double* x, const std::int32_t* start,
                      const double* matrix, Index p);

}  // namespace pyscale::detail
