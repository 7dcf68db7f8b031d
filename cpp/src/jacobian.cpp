#include <cmath>
#include <pyscale/cancellation.hpp>
#include <pyscale/error.hpp>  // for require_size

#include "detail/fit_problem_impl.hpp"

namespace pyscale {
namespace {

constexpr std::size_t kGroupsBetweenPolls = 1024;

/// Observations with weight of one group, evaluated.
struct GroupRows {
  std::vector<Index> row;
  std::vector<double> g, dg;
  double weight = 0.0, intensity = 0.0;  ///< S_h, I_h
  bool has_reference = false;

  /// Whether they determine anything.
  bool used() const { return !row.empty() && row.size() + has_reference >= 2 && weight > 0; }
};

GroupRows evaluate_rows(const detail::FitRows& rows, Span<const double> p, Index group) {
  GroupRows out;
  double wgi = 0.0;
  if (rows.reference_weight != nullptr && rows.reference_weight[group] > 0) {
    out.has_reference = true;
    out.weight = rows.reference_weight[group];
    wgi = out.weight * rows.reference[group];
  }
  for (Index i = rows.offsets[group]; i < rows.offsets[group + 1]; ++i) {
    if (!(rows.weight[i] > 0)) continue;
    out.dg.resize(out.dg.size() + rows.value_stride);
    const double g = detail::evaluate_row(rows.layouts[rows.data_set[i]], rows.value + i * rows.value_stride,
                                          rows.start + i * rows.start_stride, p.data(), rows.given[i],
                                          out.dg.data() + out.dg.size() - rows.value_stride);
    out.row.push_back(i);
    out.g.push_back(g);
    out.weight += rows.weight[i] * g * g;
    wgi += rows.weight[i] * g * rows.intensity[i];
  }
  if (out.weight > 0) out.intensity = wgi / out.weight;
  return out;
}

/// Calls visit(parameter, dg/dp) for one row.
template <class Visit>
void for_each_derivative(const detail::FitRows& rows, Index i, const double* dg, Visit&& visit) {
  const detail::RowLayout& layout = rows.layouts[rows.data_set[i]];
  for (int w = 0; w < layout.n_windows; ++w)
    for (int k = 0; k < layout.windows[w].length; ++k)
      visit(rows.start[i * rows.start_stride + w] + k, dg[layout.windows[w].value_offset + k]);
}

/// dI_h/dp = sum_j w_j (I_j - 2 g_j I_h) dg_j/dp / S_h, dense.
std::vector<double> intensity_derivative(const detail::FitRows& rows, const GroupRows& group,
                                         Index n_parameters) {
  std::vector<double> s(static_cast<std::size_t>(n_parameters), 0.0);
  for (std::size_t k = 0; k < group.row.size(); ++k) {
    const Index i = group.row[k];
    const double f = rows.weight[i] * (rows.intensity[i] - 2.0 * group.g[k] * group.intensity) / group.weight;
    for_each_derivative(rows, i, group.dg.data() + k * rows.value_stride,
                        [&](Index q, double d) { s[q] += f * d; });
  }
  return s;
}

}  // namespace

SparseJacobian FitProblem::jacobian(Span<const double> parameters) const {
  require_size("parameters", parameters.size(), n_parameters());
  const detail::FitRows rows = impl_->rows();
  const Index n = static_cast<Index>(impl_->intensity.size());
  SparseJacobian out;
  out.residual.assign(static_cast<std::size_t>(n), 0.0);
  out.row_offsets.push_back(0);
  for (std::size_t h = 0; h + 1 < impl_->offsets.size(); ++h) {
    if (h % kGroupsBetweenPolls == 0) throw_if_cancelled();
    const GroupRows group = evaluate_rows(rows, parameters, static_cast<Index>(h));
    const bool used = group.used();
    const std::vector<double> s =
        used ? intensity_derivative(rows, group, n_parameters()) : std::vector<double>{};
    std::size_t k = 0;
    for (Index i = impl_->offsets[h]; i < impl_->offsets[h + 1]; ++i) {
      if (used && k < group.row.size() && group.row[k] == i) {
        std::vector<double> dense(s);
        for (double& v : dense) v *= -group.g[k];
        for_each_derivative(rows, i, group.dg.data() + k * rows.value_stride,
                            [&](Index q, double d) { dense[q] -= group.intensity * d; });
        for (std::size_t q = 0; q < dense.size(); ++q)
          if (dense[q] != 0.0) {
            out.column.push_back(static_cast<std::int32_t>(q));
            out.value.push_back(dense[q]);
          }
        out.residual[i] = rows.intensity[i] - group.g[k] * group.intensity;
        ++k;
      }
      out.row_offsets.push_back(static_cast<Index>(out.value.size()));
    }
  }
  return out;
}

FitProblem::GaugeSums FitProblem::gauge_sums(Span<const double> parameters, Span<const std::int32_t> label,
                                             Index n_labels) const {
  const Index p = n_parameters();
  const detail::FitRows rows = impl_->rows();
  const Index n_sets = static_cast<Index>(impl_->blocks.size()) - 1;
  const ParameterBlock& shared = impl_->blocks.back();
  GaugeSums out;
  for (auto* v : {&out.weight, &out.x, &out.ln_g, &out.x_ln_g, &out.x_squared, &out.x_information})
    v->assign(static_cast<std::size_t>(n_labels), 0.0);
  for (auto* v : {&out.mean, &out.first}) v->assign(static_cast<std::size_t>(n_labels * p), 0.0);
  std::vector<double> count(n_sets), x_sum(n_sets), ln_g(n_sets);
  std::vector<double> plain(p), plain_shared(n_sets * shared.size());  // sums of dln g/dp
  for (std::size_t h = 0; h + 1 < impl_->offsets.size(); ++h) {
    if (h % kGroupsBetweenPolls == 0) throw_if_cancelled();
    const GroupRows group = evaluate_rows(rows, parameters, static_cast<Index>(h));
    if (!group.used()) continue;
    for (std::size_t k = 0; k < group.row.size(); ++k) {
      const Index i = group.row[k], set = rows.data_set[i], c = label[set];
      const double g = group.g[k], x = impl_->half_inv_d2[i];
      if (!(g > 0)) continue;
      const double v = rows.weight[i] * g * g * group.intensity * group.intensity;
      out.weight[c] += v;
      out.x[c] += v * x;
      out.ln_g[c] += v * std::log(g);
      out.x_information[c] += v * x * x;
      count[set] += 1.0;
      x_sum[set] += x;
      ln_g[set] += std::log(g);
      out.x_squared[c] += x * x;
      out.x_ln_g[c] += x * std::log(g);
      for_each_derivative(rows, i, group.dg.data() + k * rows.value_stride, [&](Index q, double d) {
        out.mean[c * p + q] += v * d / g;
        out.first[c * p + q] += x * d / g;
        (q < shared.begin ? plain[q] : plain_shared[set * shared.size() + q - shared.begin]) += d / g;
      });
    }
  }
  // x counts from its mean in each data set: sums over x - mean are those over x less the mean's part.
  for (Index set = 0; set < n_sets; ++set) {
    if (!(count[set] > 0)) continue;
    const Index c = label[set];
    const double mean_x = x_sum[set] / count[set];
    out.x_squared[c] -= mean_x * x_sum[set];
    out.x_ln_g[c] -= mean_x * ln_g[set];
    for (Index q = impl_->blocks[set].begin; q < impl_->blocks[set].end; ++q)
      out.first[c * p + q] -= mean_x * plain[q];
    for (Index q = shared.begin; q < shared.end; ++q)
      out.first[c * p + q] -= mean_x * plain_shared[set * shared.size() + q - shared.begin];
  }
  return out;
}

}  // namespace pyscale
