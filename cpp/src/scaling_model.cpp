#include <algorithm>
#include <cmath>
#include <limits>
#include <pyscale/error.hpp>
#include <pyscale/smoother.hpp>

#include "detail/scaling_model.hpp"

namespace pyscale::detail {
namespace {

constexpr double kSmootherFactor = 0.999;
constexpr double kResolutionMargin = 1e-6, kDetectorMargin = 1e-3;
constexpr double kLeastRotation = 1.0, kAbsorptionRotation = 60.0, kSmallAngleCosine = 0.999;
constexpr double kArrayInterval = 20.0;
constexpr double kGridSmoothness = 100.0, kGridSize = 10.0;
constexpr double kKbRestraint = 0.0025;

/// Intervals in degrees by rotation: what `pyscale scale` and today's dials.scale take.
struct Tier {
  double below, scale, decay;
};
constexpr Tier kTiers[] = {{5, 1, 1.5}, {10, 2, 3}, {25, 4, 5}, {90, 8, 10}, {0, 15, 20}};

const Tier& tier_of(double range_deg) {
  for (const Tier& tier : kTiers)
    if (range_deg < tier.below) return tier;
  return kTiers[4];
}

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

/// Ranges of the coordinates over the rows of one data set.
struct Extent {
  Range image_z, inv_d2, x_px, y_px;
};

std::vector<Extent> extents(const ScalingData& data) {
  std::vector<Extent> result(static_cast<std::size_t>(data.n_data_sets));
  for (Index i = 0; i < data.size(); ++i) {
    Extent& e = result[data.data_set[i]];
    e.image_z.add(data.image_z[i]);
    e.inv_d2.add(2.0 * data.half_inv_d2[i]);
    if (data.x_px.empty()) continue;
    e.x_px.add(data.x_px[i]);
    e.y_px.add(data.y_px[i]);
  }
  return result;
}

SmootherAxis binned(const Range& range, int n_bins, double margin) {
  const double low = range.low - margin, high = range.high + margin;
  const int n_nodes = n_bins < 3 ? n_bins + 1 : n_bins + 2;
  return make_smoother_axis(n_bins / (high - low), n_nodes, range.low, range.high);
}

/// Adds the components of one data set.
class Builder {
 public:
  Builder(ModelLayout& layout, const ModelOptions& options, Index data_set, const SweepFacts& facts,
          const Extent& extent, double image_width_deg)
      : layout_(layout),
        options_(options),
        data_set_(data_set),
        facts_(facts),
        extent_(extent),
        width_(std::abs(image_width_deg)) {}

  void add_kb() {
    add("scale", ConstantScale{}, {}, true, false);
    if (!options_.decay) return;
    ModelPart& decay = add("decay", ConstantDecay{}, {}, false, true);
    restrain(decay, options_.decay_restraint.value_or(kKbRestraint));
  }

  void add_physical(bool absorption) {
    const Tier& tier = tier_of(facts_.range_deg);
    const SmootherAxis scale = rotation_axis(options_.scale_interval.value_or(tier.scale));
    add("scale", SmoothScale{scale}, {scale.n_nodes}, true, false);
    if (options_.decay) {
      const SmootherAxis axis = rotation_axis(options_.decay_interval.value_or(tier.decay));
      restrain(add("decay", SmoothDecay{axis}, {axis.n_nodes}, false, true), options_.decay_restraint, 0.1,
               0.1, 1e4);
    }
    if (!absorption) return;
    Absorption surface{RealHarmonics(options_.lmax)};
    restrain(add("absorption", std::move(surface), {}, false, false), options_.surface_weight, 5e5, 40.0,
             5e5);
  }

  void add_array(bool absorption) {
    const GridAxis time{Coordinate::image_z, rotation_axis(options_.decay_interval.value_or(kArrayInterval))};
    const SmootherAxis d = binned(extent_.inv_d2, options_.n_resolution_bins, kResolutionMargin);
    add_grid("decay", {{Coordinate::inv_d2, d}, time}, true);
    if (!absorption) return;
    const int n = options_.n_absorption_bins;
    add_grid("absorption",
             {{Coordinate::x_px, binned(extent_.x_px, n, kDetectorMargin)},
              {Coordinate::y_px, binned(extent_.y_px, n, kDetectorMargin)},
              time},
             false);
  }

 private:
  SmootherAxis rotation_axis(double interval) const {
    const NodeCount count = node_count(facts_.range_deg, interval);
    return make_smoother_axis(kSmootherFactor * width_ / count.interval_deg, count.n_nodes,
                              extent_.image_z.low, extent_.image_z.high);
  }

  void add_grid(const char* name, std::vector<GridAxis> axes, bool is_scale_like) {
    std::vector<int> shape;
    for (const GridAxis& axis : axes) shape.push_back(axis.nodes.n_nodes);
    ModelPart& part = add(name, SmoothGrid{Grid(std::move(axes))}, std::move(shape), is_scale_like, false);
    part.smooth_weight = kGridSmoothness;
    if (!is_scale_like) restrain(part, kGridSize);
  }

  template <class C>
  ModelPart& add(const char* name, C component, std::vector<int> shape, bool is_scale_like,
                 bool is_decay_like) {
    const Index size = component.n_parameters();
    const Index first = layout_.core.add_component(data_set_, std::move(component));
    layout_.start.resize(static_cast<std::size_t>(first + size), C::null_value);
    layout_.parts.push_back(
        {name, data_set_, first, size, C::null_value, std::move(shape), is_scale_like, is_decay_like});
    return layout_.parts.back();
  }

  static void restrain(ModelPart& part, double weight) { part.weight = part.lowest = part.highest = weight; }
  static void restrain(ModelPart& part, const std::optional<double>& chosen, double start, double lowest,
                       double highest) {
    restrain(part, chosen.value_or(start));
    if (chosen) return;
    part.lowest = lowest;
    part.highest = highest;
  }

  ModelLayout& layout_;
  const ModelOptions& options_;
  Index data_set_;
  const SweepFacts& facts_;
  const Extent& extent_;
  double width_;
};

double cosine_of_scattering(const Vec3& s1, const Vec3& beam) {
  const double dot = s1[0] * beam[0] + s1[1] * beam[1] + s1[2] * beam[2];
  const double a = s1[0] * s1[0] + s1[1] * s1[1] + s1[2] * s1[2];
  const double b = beam[0] * beam[0] + beam[1] * beam[1] + beam[2] * beam[2];
  return a * b > 0 ? -dot / std::sqrt(a * b) : 1.0;
}

bool wants_absorption(const Reflections& r, const ModelOptions& options, ModelKind kind,
                      const SweepFacts& facts) {
  if (kind == ModelKind::KB) return false;
  const bool is_array = kind == ModelKind::array;
  const bool is_possible = is_array ? !r.x_px.empty() : !r.s1.empty();
  if (options.absorption && *options.absorption && !is_possible)
    throw DataError(is_array ? "x_px and y_px are missing, which the array model's absorption needs"
                             : "s1 is missing, which an absorption surface needs");
  if (options.absorption) return *options.absorption;
  if (is_array) return is_possible;
  return is_possible && facts.range_deg > kAbsorptionRotation &&
         facts.largest_angle_cosine < kSmallAngleCosine;
}

}  // namespace

std::vector<SweepFacts> sweep_facts(const Reflections& r) {
  std::vector<SweepFacts> facts(std::max<std::size_t>(1, r.sweeps.size()));
  if (r.sweeps.empty()) return facts;
  std::vector<Range> range(facts.size());
  for (Index i = 0; i < r.intensity.size(); ++i) {
    const std::size_t k = r.data_set.empty() ? 0 : static_cast<std::size_t>(r.data_set[i]);
    if (!r.image_z.empty()) range[k].add(r.image_z[i]);
    if (r.s1.empty()) continue;
    const double cosine = cosine_of_scattering(r.s1[i], r.sweeps[k].beam_direction);
    facts[k].largest_angle_cosine = std::min(facts[k].largest_angle_cosine, cosine);
  }
  for (std::size_t k = 0; k < facts.size(); ++k) {
    if (!(range[k].high >= range[k].low)) continue;
    const double images = std::ceil(range[k].high) - std::floor(range[k].low);
    facts[k].range_deg = std::floor(std::abs(r.sweeps[k].image_width_deg) * images * 1e6 + 0.5) / 1e6;
  }
  return facts;
}

std::vector<ModelPlan> plan_models(const Reflections& r, const ModelOptions& options,
                                   const std::vector<SweepFacts>& facts) {
  std::vector<ModelPlan> plans;
  for (const SweepFacts& f : facts) {
    const bool rotates = f.range_deg > 0;
    ModelKind kind = rotates ? options.kind : ModelKind::KB;
    if (kind == ModelKind::automatic)
      kind = f.range_deg < kLeastRotation ? ModelKind::KB : ModelKind::physical;
    plans.push_back({kind, wants_absorption(r, options, kind, f)});
  }
  return plans;
}

ModelLayout lay_out(const Reflections& r, const ModelOptions& options, const ScalingData& data,
                    const std::vector<SweepFacts>& facts, const std::vector<ModelPlan>& plans) {
  ModelLayout layout;
  const std::vector<Extent> extent = extents(data);
  for (Index k = 0; k < data.n_data_sets; ++k) {
    layout.core.add_data_set();
    const double width = r.sweeps.empty() ? 0.0 : r.sweeps[k].image_width_deg;
    Builder builder(layout, options, k, facts[k], extent[k], width);
    const ModelPlan& plan = plans[k];
    if (plan.kind == ModelKind::KB) builder.add_kb();
    if (plan.kind == ModelKind::physical) builder.add_physical(plan.absorption);
    if (plan.kind == ModelKind::array) builder.add_array(plan.absorption);
  }
  return layout;
}

}  // namespace pyscale::detail
