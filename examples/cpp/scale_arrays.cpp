// Scales a data set from plain arrays, with progress, and stops cleanly on Ctrl-C.
// Here the arrays are simulated; a pipeline would take them from its integrator.
#include <cmath>
#include <csignal>
#include <cstdio>
#include <pyscale/scaling.hpp>
#include <pyscale/version.hpp>
#include <random>
#include <vector>

namespace {

/// The columns that scaling needs. `true_scale` is what it should find.
struct Columns {
  std::vector<pyscale::Miller> miller_index;
  std::vector<double> intensity, variance, image_z, true_scale;
};

/// An equivalent of h by a rotation: h' = h R.
pyscale::Miller rotated(const pyscale::Miller& h, const pyscale::RotationMatrix& r) {
  return {h[0] * r[0] + h[1] * r[3] + h[2] * r[6], h[0] * r[1] + h[1] * r[4] + h[2] * r[7],
          h[0] * r[2] + h[1] * r[5] + h[2] * r[8]};
}

/// A quarter turn of a tetragonal crystal, each reflection seen ten times, in an illumination that varies by
/// 20 %.
Columns simulated(const std::vector<pyscale::RotationMatrix>& rotations) {
  std::mt19937 random(7);
  std::exponential_distribution<double> wilson(1.0 / 500.0);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> image(0.0, 900.0);
  std::uniform_int_distribution<std::size_t> operation(0, rotations.size() - 1);
  Columns c;
  for (int h = 1; h <= 20; ++h)
    for (int k = 0; k <= h; ++k)
      for (int l = 1; l <= 10; ++l) {
        const double truth = wilson(random);
        for (int i = 0; i < 10; ++i) {
          const double z = image(random), g = 1.0 + 0.2 * std::sin(z / 200.0);
          const double variance = 100.0 + g * truth;
          c.miller_index.push_back(rotated({h, k, l}, rotations[operation(random)]));
          c.intensity.push_back(g * truth + std::sqrt(variance) * normal(random));
          c.variance.push_back(variance);
          c.image_z.push_back(z);
          c.true_scale.push_back(g);
        }
      }
  return c;
}

/// Scatter of found against true scales, whatever the overall factor, which data do not tell.
double relative_error(const std::vector<double>& found, const std::vector<double>& truth) {
  double sum = 0.0, square = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double x = std::log(found[i] / truth[i]);
    sum += x;
    square += x * x;
  }
  const auto n = static_cast<double>(found.size());
  return std::sqrt(std::fmax(square / n - (sum / n) * (sum / n), 0.0));
}

pyscale::Cancellation interrupted;  // may be set from a signal handler, or from any thread

void report(const pyscale::ScalingResult& r, const Columns& c) {
  const pyscale::ShellStatistics& s = r.overall.merging;
  std::printf("%lld observations of %lld reflections, %zu rounds%s\n", static_cast<long long>(s.n_obs),
              static_cast<long long>(s.n_unique), r.rounds.size(), r.converged ? "" : " (not settled)");
  std::printf("error model a = %.3f, b = %.4f; R_meas %.4f, CC1/2 %.5f\n", r.error_model.a, r.error_model.b,
              s.r_meas, r.overall.half_sets.correlation);
  std::printf("scales are right to %.4f\n", relative_error(r.inverse_scale_factor, c.true_scale));
}

}  // namespace

int main() {
  std::printf("pyscale %s\n", pyscale::version());
  std::signal(SIGINT, [](int) { interrupted.cancel(); });

  pyscale::Reflections reflections;
  reflections.unit_cell = {79.0, 79.0, 37.5, 90.0, 90.0, 90.0};
  reflections.rotations = pyscale::rotations_of_space_group(96);
  Columns columns = simulated(reflections.rotations);
  reflections.miller_index = columns.miller_index;
  reflections.intensity = columns.intensity;
  reflections.variance = columns.variance;
  reflections.image_z = columns.image_z;
  pyscale::RotationGeometry sweep;
  sweep.image_width_deg = 0.1;
  reflections.sweeps = {sweep};

  pyscale::ScalingOptions options;
  options.n_threads = 2;
  try {
    const pyscale::CancellationScope scope(&interrupted);
    const auto progress = [](const pyscale::Progress& p) {
      std::printf("round %d, step %d: cost %.6g\n", p.round, p.iteration, p.cost);
      return true;  // false would stop here
    };
    report(pyscale::scale(reflections, {}, options, progress), columns);
  } catch (const pyscale::Cancelled&) {
    std::printf("stopped\n");
    return 130;
  } catch (const pyscale::DataError& error) {
    std::printf("the data cannot be scaled: %s\n", error.what());
    return 1;
  }
  return 0;
}
