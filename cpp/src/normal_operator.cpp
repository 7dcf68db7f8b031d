#include <algorithm>
#include <pyscale/error.hpp>  // for require_size
#include <pyscale/parallel.hpp>

#include "detail/normal_operator_impl.hpp"

namespace pyscale {
namespace {

constexpr double kChunkBytes = 1 << 26;  ///< of the partial sums of all chunks

struct Sums {
  double cost = 0.0;
  std::vector<double> values;
  void merge(const Sums& other) {
    cost += other.cost;
    for (std::size_t k = 0; k < values.size(); ++k) values[k] += other.values[k];
  }
};

}  // namespace

std::vector<Index> NormalOperator::Impl::chunk_edges(double bytes) const {
  const Index n = static_cast<Index>(problem.intensity.size());
  const Index most =
      std::clamp<Index>(static_cast<Index>(kChunkBytes / bytes), 4, FitProblem::Impl::kMaxChunks);
  return balanced_group_edges(problem.offsets,
                              std::clamp<Index>(n / FitProblem::Impl::kRowsPerChunk, 1, most));
}

void NormalOperator::Impl::linearise(Span<const double> parameters) {
  const Index n = static_cast<Index>(problem.intensity.size());
  const std::size_t n_groups = problem.offsets.size() - 1;
  for (Index k = 0; k < static_cast<Index>(problem.blocks.size()) - 1; ++k)
    slope_stride = std::max(slope_stride, problem.layouts[k].n_factors);
  n_single_values = problem.layouts.n_single_values();
  g.resize(static_cast<std::size_t>(n));
  slope.resize(static_cast<std::size_t>(n) * slope_stride);
  group_intensity.resize(n_groups);
  group_inverse_weight.resize(n_groups);
  const std::vector<Index> edges = chunk_edges(8.0 * problem.n_parameters);
  const detail::FitRows view = problem.rows();
  std::vector<Sums> parts(std::max<std::size_t>(edges.size(), 2) - 1);
  for (Sums& part : parts) part.values.assign(static_cast<std::size_t>(problem.n_parameters), 0.0);
  for_each_chunk(edges, problem.n_threads, [&](Index chunk, Index begin, Index end) {
    Sums& part = parts[chunk];
    part.cost = detail::best_group_passes().linearise(view, parameters.data(), begin, end, rows(),
                                                      part.values.data());
  });
  Sums sums = tree_merge(std::move(parts));
  problem.restraints.add_half_gradient(parameters, sums.values);
  problem.clear_held(sums.values);
  half_gradient = std::move(sums.values);
  cost = sums.cost + problem.restraints.cost(parameters);
}

void NormalOperator::Impl::add_restraint_products(Span<const double> x, Index n_vectors,
                                                  std::vector<double>& result) const {
  const Restraints& r = problem.restraints;
  std::vector<double> products(static_cast<std::size_t>(n_vectors));
  for (Index k = 0; k < r.size(); ++k) {
    std::fill(products.begin(), products.end(), 0.0);
    for (Index i = r.row_offsets[k]; i < r.row_offsets[k + 1]; ++i)
      for (Index v = 0; v < n_vectors; ++v) products[v] += r.value[i] * x[r.column[i] * n_vectors + v];
    for (Index i = r.row_offsets[k]; i < r.row_offsets[k + 1]; ++i)
      for (Index v = 0; v < n_vectors; ++v)
        result[r.column[i] * n_vectors + v] += r.weight[k] * r.value[i] * products[v];
  }
}

NormalOperator::NormalOperator(const FitProblem& problem, Span<const double> parameters)
    : impl_(std::make_unique<Impl>(*problem.impl_)) {
  require_size("parameters", parameters.size(), problem.n_parameters());
  impl_->linearise(parameters);
}

NormalOperator::~NormalOperator() = default;
NormalOperator::NormalOperator(NormalOperator&&) noexcept = default;
NormalOperator& NormalOperator::operator=(NormalOperator&&) noexcept = default;

double NormalOperator::cost() const { return impl_->cost; }
const std::vector<double>& NormalOperator::half_gradient() const { return impl_->half_gradient; }
Index NormalOperator::n_parameters() const { return impl_->problem.n_parameters; }
const std::vector<ParameterBlock>& NormalOperator::blocks() const { return impl_->problem.blocks; }

std::vector<double> NormalOperator::product(Span<const double> x, Index n_vectors) const {
  const FitProblem::Impl& problem = impl_->problem;
  const Index p = problem.n_parameters;
  require_size("x", x.size(), p * n_vectors);
  const auto is_held = [&](Index k) { return problem.held[k] != 0; };
  std::vector<double> result(static_cast<std::size_t>(p * n_vectors));
  const detail::FitRows view = problem.rows();
  for (Index first = 0; first < n_vectors;) {
    const Index lanes = n_vectors - first >= detail::kLanes ? detail::kLanes : 1;
    std::vector<double> lane(static_cast<std::size_t>(p * lanes));
    for (Index k = 0; k < p; ++k)
      for (Index l = 0; l < lanes; ++l) lane[k * lanes + l] = is_held(k) ? 0.0 : x[k * n_vectors + first + l];
    const detail::ProductPass pass =
        lanes == 1 ? detail::best_group_passes().product : detail::best_group_passes().product_of_lanes;
    const std::vector<Index> edges = impl_->chunk_edges(8.0 * static_cast<double>(p * lanes));
    std::vector<Sums> parts(std::max<std::size_t>(edges.size(), 2) - 1);
    for (Sums& part : parts) part.values.assign(lane.size(), 0.0);
    for_each_chunk(edges, problem.n_threads, [&](Index chunk, Index begin, Index end) {
      std::vector<double> sums(static_cast<std::size_t>(problem.largest_group * lanes));
      pass(view, impl_->rows(), lane.data(), begin, end, sums.data(), parts[chunk].values.data());
    });
    Sums total = tree_merge(std::move(parts));
    impl_->add_restraint_products(lane, lanes, total.values);
    for (Index k = 0; k < p; ++k)
      for (Index l = 0; l < lanes; ++l)
        result[k * n_vectors + first + l] =
            is_held(k) ? x[k * n_vectors + first + l] : total.values[k * lanes + l];
    first += lanes;
  }
  return result;
}

}  // namespace pyscale
