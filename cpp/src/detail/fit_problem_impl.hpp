// Storage of FitProblem, shared by the files that implement it.
#pragma once
#include <algorithm>
#include <pyscale/fit_problem.hpp>
#include <pyscale/parallel.hpp>  // for balanced_group_edges
#include <vector>

#include "kernels.hpp"
#include "row_layouts.hpp"

namespace pyscale {

struct FitProblem::Impl {
  static constexpr Index kRowsPerChunk = 4096, kMaxChunks = 32, kMatrixBytes = Index{256} << 20;

  Impl(const JobModel& model, int threads)
      : layouts(model),
        blocks(parameter_blocks(model)),
        n_parameters(model.n_parameters),
        n_threads(threads) {}

  detail::RowLayouts layouts;
  std::vector<ParameterBlock> blocks;
  Index n_parameters;
  int n_threads;
  std::vector<double> intensity, weight, given, half_inv_d2;
  std::vector<double> reference, reference_weight;  ///< (n_groups), or empty
  Restraints restraints;
  std::vector<std::uint8_t> held;  ///< (n_parameters)
  std::vector<std::int32_t> data_set, start;
  std::vector<float> value;
  std::vector<Index> offsets;
  Index largest_group = 0, n_observations = 0, n_groups = 0;
  int batch = 1, stride = 0;
  bool by_panels = false;  ///< the normal matrix

  detail::FitRows rows() const {
    return {intensity.data(),       weight.data(),
            given.data(),           data_set.data(),
            value.data(),           start.data(),
            layouts.value_stride(), layouts.start_stride(),
            offsets.data(),         layouts.data(),
            reference.data(),       reference_weight.empty() ? nullptr : reference_weight.data()};
  }

  std::vector<Index> chunk_edges(bool matrix) const {
    const Index n = static_cast<Index>(intensity.size());
    Index chunks = std::clamp<Index>(n / kRowsPerChunk, 1, kMaxChunks);
    if (matrix) chunks = std::clamp<Index>(kMatrixBytes / (8 * Index{stride} * stride + 1), 1, chunks);
    return balanced_group_edges(offsets, chunks);
  }

  struct Sums {
    double cost = 0.0;
    std::vector<double> gradient, normal;
    void merge(const Sums& other) {
      cost += other.cost;
      for (std::size_t k = 0; k < gradient.size(); ++k) gradient[k] += other.gradient[k];
      for (std::size_t k = 0; k < normal.size(); ++k) normal[k] += other.normal[k];
    }
  };

  /// Counts observations and groups that determine anything.
  void count();
  Sums sum(Span<const double> p, bool gradient, bool matrix) const;
  void evaluate_by_panels(Span<const double> p, NormalEquations& result) const;
  void clear_held(std::vector<double>& half_gradient) const;
};

}  // namespace pyscale
