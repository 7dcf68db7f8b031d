/// Scaling in one call.
///
///     #include <pyscale/scaling.hpp>
///
///     pyscale::Reflections reflections;
///     reflections.unit_cell = {79, 79, 37.5, 90, 90, 90};
///     reflections.rotations = pyscale::rotations_of_space_group(96);
///     reflections.miller_index = indices;  // views of the caller's arrays
///     reflections.intensity = intensities;
///     reflections.variance = variances;
///     reflections.image_z = frames;
///     reflections.sweeps = {sweep};
///     const pyscale::ScalingResult result = pyscale::scale(reflections);
///
/// *Threads.* Functions of this library have no state of their own: any number of threads may call them at
/// once. Each uses as many threads as its caller allows (`n_threads`), through OpenMP; results are the same
/// bits for any number, with and without OpenMP, and do not depend on the order of the reflections. Callbacks
/// come from the thread that made the call.
///
/// *Exceptions.* DataError: the data cannot be scaled, and the message says which row is at fault or what is
/// lacking. std::invalid_argument: a programming error, such as arrays of different lengths or an option out
/// of its range. Cancelled: the caller asked for it. std::bad_alloc. Whatever a callback throws passes
/// through. After any of them nothing has changed: functions return values and write to nothing else. The
/// library never prints.
#pragma once
#include <cstdint>
#include <functional>
#include <pyscale/cancellation.hpp>
#include <pyscale/crystal_frame.hpp>
#include <pyscale/error.hpp>
#include <pyscale/export.hpp>
#include <pyscale/scaling_options.hpp>
#include <pyscale/scaling_result.hpp>
#include <pyscale/span.hpp>
#include <pyscale/symmetry.hpp>
#include <vector>

namespace pyscale {

/// Integrated reflections, as views of arrays that the caller keeps alive during the call.
struct Reflections {
  UnitCell unit_cell;  ///< one for all data sets: the best there is
  /// Rotation parts of the symmetry operators; see symmetry.hpp. Not looked at where `group` is given.
  std::vector<RotationMatrix> rotations;

  Span<const Miller> miller_index;    ///< (n) as observed; systematic absences should be left out
  Span<const double> intensity;       ///< (n) Lorentz and polarisation corrections made
  Span<const double> variance;        ///< (n) > 0
  Span<const std::int32_t> data_set;  ///< (n) 0 to n_data_sets - 1, or empty: all are of one
  /// (n) place in the rotation, in images: the centroid's frame, or the rotation angle divided by the sweep's
  /// `image_width_deg`; or empty for stills
  Span<const double> image_z;
  Span<const Vec3> s1;      ///< (n) direction of the diffracted beam, laboratory frame, or empty
  Span<const double> x_px;  ///< (n) place on the detector, or empty
  Span<const double> y_px;  ///< (n) the same
  /// (n) >= 0, equal for equivalents, or empty: use `rotations`. Friedel mates are what the numbers say.
  Span<const Index> group;

  /// How each data set was measured: `image_width_deg`, and with `s1` the beam and the rotation axis. Empty:
  /// one data set of stills.
  std::vector<RotationGeometry> sweeps;
};

/// Where a job is.
struct Progress {
  int round = 0;         ///< 1, 2, ...
  int iteration = 0;     ///< of the round's fit
  double cost = 0;       ///< sum of weighted squared residuals
  double decrease = 0;   ///< by this iteration
  Index n_outliers = 0;  ///< known so far
  bool is_last = false;  ///< whether this is the final fit
};

/// Called after every iteration, from the thread that called `scale`; false stops the job with Cancelled. To
/// stop it sooner, or from another thread, put a CancellationScope around the call (cancellation.hpp).
using ProgressCallback = std::function<bool(const Progress&)>;

/// Puts reflections on a common scale.
///
/// Observations are sorted into groups of equivalents; the model's nodes are laid over each data set; scales
/// of the data sets to start from come from a fit of these alone. Rounds follow, until outliers and restraint
/// weights settle: a Levenberg-Marquardt fit with the full normal matrix; the error model, by a robust cost
/// of the scatter of equivalents (Student t, 4 degrees of freedom); outliers, by their deviation from the
/// others of their group; weights of restraints, by evidence (MacKay, 1992). A last fit, in a stated gauge,
/// gives the uncertainties of the scales; then intensities are merged.
///
/// This is less than `pyscale scale` does: see docs/cpp.md for what is not there.
///
/// \throws DataError, std::invalid_argument, Cancelled; see the top of this file
PYSCALE_API ScalingResult scale(const Reflections& reflections, const ModelOptions& model = {},
                                const ScalingOptions& options = {},
                                const ProgressCallback& on_iteration = {});

}  // namespace pyscale
