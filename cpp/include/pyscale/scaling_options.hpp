// What the caller of pyscale::scale may choose.
#pragma once
#include <cstdint>
#include <optional>
#include <pyscale/export.hpp>

namespace pyscale {

/// Which corrections g is the product of.
enum class ModelKind {
  automatic,  ///< physical where the data sets rotate by a degree or more, else KB
  KB,         ///< one scale and one relative B for each data set
  physical,   ///< scale and relative B that vary smoothly with rotation, and an absorption surface
  array       ///< grids: decay over resolution and rotation, absorption over detector and rotation
};

/// The scaling model of every data set. What is left empty is chosen from the data, by the rules of
/// `pyscale scale`.
struct PYSCALE_API ModelOptions {
  ModelKind kind = ModelKind::automatic;
  /// Degrees between nodes of the physical model's scale. Empty: 1, 2, 4, 8 or 15 for rotations below 5, 10,
  /// 25, 90 degrees and above.
  std::optional<double> scale_interval;
  /// The same of its decay. Empty: 1.5, 3, 5, 10 or 20. The array model's decay and absorption: empty: 20.
  std::optional<double> decay_interval;
  bool decay = true;  ///< whether there is a relative B; the array model always has its decay
  /// Whether there is an absorption correction. Empty: the physical model has one where `s1` is given, the
  /// rotation exceeds 60 degrees and scattering angles reach 2.6 degrees; the array model where places on
  /// the detector are given.
  std::optional<bool> absorption;
  int lmax = 4;                ///< highest order of the absorption surface, 1 to 12
  int n_resolution_bins = 10;  ///< of the array model's decay
  int n_absorption_bins = 3;   ///< of its absorption, along each edge of the detector
  /// Weight of sum p^2 over the coefficients of the surface. Empty: what the data call for (MacKay, 1992),
  /// between 40 and 5e5.
  std::optional<double> surface_weight;
  /// The same for relative B's, in 1/A^4. Empty: between 0.1 and 1e4 for the physical model, 0.0025 for KB.
  std::optional<double> decay_restraint;

  /// \throws std::invalid_argument naming the field
  void validate() const;
};

/// The other choices.
struct PYSCALE_API ScalingOptions {
  int n_threads = 1;       ///< results are the same bits for any number
  bool anomalous = false;  ///< keep Friedel mates apart in the fit and in the search for outliers
  /// Deviation from the equivalents, in standard uncertainties, beyond which an observation is an outlier; 0:
  /// none is.
  double outlier_zmax = 6.0;
  /// The error model sigma'^2 = a^2 (V + (b I)^2): where it starts, and whether it is refined.
  double error_model_a = 1.0, error_model_b = 0.02;
  bool refine_error_model = true;
  int max_rounds = 12;           ///< of fit and rejection, 1 to 100
  double cost_tolerance = 1e-8;  ///< relative decrease of the cost at which the last fit has converged
  int n_shells = 20;             ///< resolution shells of the statistics
  std::uint64_t seed = 42;       ///< of the random halves of CC1/2
  int n_splits = 10;             ///< how often halves are drawn, 1 to 32

  /// \throws std::invalid_argument naming the field
  void validate() const;
};

}  // namespace pyscale
