// Usage: pyscale_checksum N_THREADS. Prints "name checksum" lines of the exact bits of what the core
// computes; they must not depend on N_THREADS nor on OpenMP. Add a line for every function that sums or runs
// in parallel.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <pyscale/covariance.hpp>
#include <pyscale/crossover.hpp>
#include <pyscale/delta_cc_half.hpp>
#include <pyscale/french_wilson.hpp>
#include <pyscale/number_rows.hpp>
#include <pyscale/outliers.hpp>
#include <pyscale/random.hpp>
#include <pyscale/rows.hpp>
#include <pyscale/scale_errors.hpp>
#include <pyscale/selection.hpp>
#include <string>
#include <type_traits>

#include "../src/detail/cholesky.hpp"
#include "cases.hpp"
#include "dense_cases.hpp"
#include "error_cases.hpp"
#include "fit_cases.hpp"
#include "scaling_cases.hpp"

namespace {

using namespace pyscale_tests;

/// FNV-1a over the bytes of everything added.
class Checksum {
 public:
  template <class T>
  void add(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    unsigned char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    for (const unsigned char byte : bytes) hash_ = (hash_ ^ byte) * 0x100000001B3ULL;
  }
  template <class T, class Allocator>
  void add(const std::vector<T, Allocator>& values) {
    for (const T& v : values) add(v);
  }
  void print(const char* name) const {
    std::printf("%s %016llx\n", name, static_cast<unsigned long long>(hash_));
  }

 private:
  std::uint64_t hash_ = 0xCBF29CE484222325ULL;
};

void chunked_sums(int n_threads) {
  const std::vector<Index> offsets = random_offsets(100000, 12, 1);
  const std::vector<double> values = adversarial_values(offsets.back(), 2);
  const std::vector<Index> groups = pyscale::balanced_group_edges(offsets, 37);
  std::vector<Index> rows;
  for (const Index group : groups) rows.push_back(offsets[group]);
  Checksum sum;
  sum.add(chunked_sum(values, rows, n_threads));
  sum.add(chunked_sum(values, pyscale::fixed_size_edges(offsets.back(), 4096), n_threads));
  sum.print("chunked_sum");
}

void groups(int n_threads) {
  const std::vector<Miller> indices = random_miller_indices(200000, 20, 3);
  const pyscale::ReflectionGroups g = pyscale::group_reflections(indices, rotations_p3(), {}, n_threads);
  Checksum sum;
  sum.add(g.order);
  sum.add(g.offsets);
  sum.add(g.anomalous_offsets);
  sum.add(g.asu_index);
  sum.add(g.is_minus);
  sum.add(g.is_centric);
  sum.print("group_reflections");
}

void errors(int n_threads) {
  const EquivalentsCase c(100000, 5);
  Checksum outliers;
  outliers.add(pyscale::leave_one_out_z(c.intensity, c.weight, c.g, c.offsets, {}, n_threads));
  outliers.add(pyscale::find_outliers(c.intensity, c.weight, c.g, c.offsets, 2.0, {}, n_threads));
  outliers.print("outliers");
  const pyscale::RepeatedObservations obs = c.repeated(n_threads);
  const ModelsCase models(4, obs.row.size(), 3);
  const pyscale::GroupResiduals residuals = pyscale::group_residuals(view(obs), models.view(), n_threads);
  Checksum model;
  model.add(obs.quadratic);
  model.add(residuals.residual);
  model.add(pyscale::residual_variances(view(obs), residuals.share, models.view(), n_threads));
  const auto terms =
      pyscale::student_cost(view(obs), residuals.residual, residuals.share, models.view(), 4, 0.7, n_threads);
  model.add(terms.cost);
  model.add(terms.gradient);
  model.add(terms.information);
  model.add(terms.score_variance);
  model.print("error_model");
  std::vector<std::int32_t> bin(c.offsets.size() - 1), candidate(c.intensity.size());
  for (std::size_t g = 0; g < bin.size(); ++g) bin[g] = static_cast<std::int32_t>(g % 10);
  for (std::size_t i = 0; i < candidate.size(); ++i) candidate[i] = static_cast<std::int32_t>(i % 50);
  const auto delta = pyscale::delta_cc_half({c.intensity, c.offsets, bin, candidate}, 10, 50);
  Checksum cc_half;
  cc_half.add(delta.bin_cc_half);
  cc_half.add(delta.without);
  cc_half.print("delta_cc_half");
  const std::vector<Index> classes{0, static_cast<Index>(c.offsets.size()) - 1}, candidates{0, 4};
  const std::vector<double> imid{0, 1, 50, 500};
  Checksum crossover;
  crossover.add(pyscale::r_meas_of_crossovers({c.intensity, c.weight, c.g, c.weight, c.g, c.offsets, classes},
                                              imid, candidates, n_threads));
  crossover.print("crossover");
}

void selection(int n_threads) {
  const std::vector<Index> offsets = random_offsets(100000, 12, 1);
  pyscale::KeyedRandom random(2);
  std::vector<std::int32_t> class_of_row, stratum;
  for (Index i = 0; i < offsets.back(); ++i)
    class_of_row.push_back(static_cast<std::int32_t>(random.below(12)));
  for (std::size_t h = 1; h < offsets.size(); ++h)
    stratum.push_back(static_cast<std::int32_t>(random.below(100)));
  const std::vector<Index> per_class(100, 20), total(100, 360);
  Checksum sum;
  sum.add(pyscale::select_groups(class_of_row, offsets, stratum, {per_class, total}, {}, n_threads));
  sum.print("select_groups");
}

void dense_solver(int n_threads) {
  const DenseCase c(700, 6);
  pyscale::detail::Cholesky factor;
  Checksum sum;
  sum.add(factor.factor(c.matrix, c.ones, c.diagonal, n_threads));
  std::vector<double> x(c.diagonal);
  factor.solve(x);
  sum.add(x);
  sum.add(factor.inverse(n_threads));
  sum.print("cholesky");
  DenseCase deficient(c);
  for (Index k = 0; k < c.n; ++k) deficient.matrix[k * c.n + 6] = deficient.matrix[k * c.n + 5];
  for (Index k = 0; k < c.n; ++k) deficient.matrix[6 * c.n + k] = deficient.matrix[5 * c.n + k];
  Checksum covariance;
  for (const DenseCase* each : {&c, static_cast<const DenseCase*>(&deficient)}) {
    const pyscale::CovarianceResult result = pyscale::gauge_covariance(each->matrix, c.n, {}, n_threads);
    covariance.add(result.covariance);
    covariance.add(result.undetermined);
  }
  covariance.add(pyscale::inverse(c.matrix, c.n, n_threads));
  covariance.print("gauge_covariance");
}

void fit(int n_threads) {
  const FitCase c(20000, 4);
  const auto problem = c.problem(n_threads);
  pyscale::NormalEquations equations;
  problem->evaluate(c.start, equations);
  Checksum at_start;
  at_start.add(problem->cost(c.start));
  at_start.add(equations.cost);
  at_start.add(equations.half_gradient);
  at_start.add(equations.matrix);
  at_start.print("normal_equations");
  pyscale::LevMarOptions options;
  options.n_threads = n_threads;
  options.max_iterations = 4;
  const pyscale::LevMarSummary summary = pyscale::minimise(*problem, c.start, options);
  Checksum fitted;
  fitted.add(summary.final_cost);
  fitted.add(summary.parameters);
  fitted.add(summary.equations.matrix);
  fitted.add(pyscale::inverse_scale_factors(c.model, c.observations(), summary.parameters, n_threads));
  fitted.print("minimise");
  const pyscale::NormalOperator n(*problem, c.start);
  Checksum products;
  products.add(n.cost());
  products.add(n.half_gradient());
  products.add(n.product(adversarial_values(9 * n.n_parameters(), 3), 9));
  products.add(n.diagonal_blocks());
  products.print("normal_operator");
  Checksum solved;
  options.max_iterations = 2;
  solved.add(pyscale::minimise_iteratively(*problem, c.start, {}, options).parameters);
  const FitCase many(20000, 1, 24);
  many.problem(n_threads)->evaluate(many.start, equations);
  solved.add(equations.matrix);
  solved.print("many_data_sets");
}

void rows(int n_threads) {
  const Index n = 400000;
  std::vector<Index> offsets;
  for (Index k = 0; k <= n; k += 40) offsets.push_back(k);
  std::vector<std::int32_t> data_set(n);
  std::vector<double> value(n), weight(n);
  const std::vector<double> x(100, 0.25);
  for (Index i = 0; i < n; ++i) {
    data_set[i] = static_cast<std::int32_t>(i * 7919 % 100);
    value[i] = std::sin(static_cast<double>(i));
    weight[i] = 1.5 + std::cos(static_cast<double>(3 * i));
  }
  const pyscale::PairsView pairs{offsets, data_set, value, weight};
  Checksum sum;
  sum.add(pyscale::pair_residual_sums(pairs, x, n_threads));
  sum.add(pyscale::canonical_rank(data_set, value, weight, 100, n_threads));
  sum.add(pyscale::count_variance_factors(value, weight, weight, data_set, 100, n_threads));
  sum.print("rows");
}

void number_rows(int n_threads) {
  std::string text;
  for (int i = 0; i < 200000; ++i)
    text += std::to_string(i * 7919 % 1000) + " " + std::to_string(0.37 * i) + "\n";
  const std::vector<std::uint8_t> bytes(text.begin(), text.end());
  const std::vector<std::int32_t> wanted = {1, 0};
  Checksum sum;
  sum.add(pyscale::read_number_rows(bytes, 2, wanted, 1, n_threads).values);
  sum.print("number_rows");
}

void merged_amplitudes(int n_threads) {
  const std::vector<Index> offsets = random_offsets(20000, 12, 1);
  const std::vector<double> intensity = adversarial_values(offsets.back(), 2);
  std::vector<double> variance, q;
  for (const double i : intensity) variance.push_back(1 + i * i / 400), q.push_back(1e-4);
  const pyscale::ScaledObservations obs{intensity, variance, offsets};
  Checksum sum;
  sum.add(pyscale::statistical_variance(obs, q, n_threads));
  sum.add(pyscale::common_scale_error(obs, q, n_threads));
  const auto merged = pyscale::merge(obs, false, n_threads);
  const std::vector<double> prior(merged.intensity.size(), 2.0);
  const std::vector<std::uint8_t> centric(merged.intensity.size(), 0);
  sum.add(pyscale::french_wilson(merged.intensity, merged.sigma, prior, centric, n_threads).amplitude);
  sum.print("merged_amplitudes");
}

void whole_job(int n_threads) {
  const ScalingCase c(2, 9);
  pyscale::ScalingOptions options;
  options.n_threads = n_threads;
  const pyscale::ScalingResult r = pyscale::scale(c.reflections, {}, options);
  Checksum sum;
  sum.add(r.inverse_scale_factor);
  sum.add(r.inverse_scale_factor_variance);
  sum.add(r.outlier);
  sum.add(r.merged.intensity);
  sum.add(r.merged.sigma);
  sum.add(r.overall.half_sets.correlation);
  sum.print("scale");
}

}  // namespace

int main(int argc, char** argv) {
  const int n_threads = argc == 2 ? std::atoi(argv[1]) : 0;
  if (n_threads < 1) {
    std::fprintf(stderr, "usage: pyscale_checksum N_THREADS\n");
    return 2;
  }
  chunked_sums(n_threads);
  groups(n_threads);
  rows(n_threads);
  number_rows(n_threads);
  errors(n_threads);
  selection(n_threads);
  dense_solver(n_threads);
  fit(n_threads);
  merged_amplitudes(n_threads);
  whole_job(n_threads);
  return 0;
}
