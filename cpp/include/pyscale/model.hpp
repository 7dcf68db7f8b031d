// The joint scaling model of a job: for every data set a product of components, over one parameter vector.
#pragma once
#include <pyscale/components.hpp>
#include <pyscale/export.hpp>
#include <pyscale/span.hpp>
#include <vector>

namespace pyscale {

/// A component and the place of its parameters in the job's vector.
struct PlacedComponent {
  Component component;
  Index first_parameter = 0;
};

/// g of an observation is the product of its data set's components.
struct PYSCALE_API JobModel {
  std::vector<std::vector<PlacedComponent>> data_sets;
  Index n_parameters = 0;

  /// Appends a data set without components and returns its number.
  Index add_data_set();
  /// Appends a component with parameters of its own to a data set; returns its first parameter.
  Index add_component(Index data_set, Component component);
  /// Appends a component that shares the parameters beginning at `first_parameter` with another data set's.
  /// Those must come after all of the data set's own. \throws std::invalid_argument if there are not as many
  void share_component(Index data_set, Component component, Index first_parameter);
};

/// A run of the parameter vector: what belongs to one data set alone, or what data sets share.
struct ParameterBlock {
  Index begin = 0, end = 0;
  Index size() const { return end - begin; }
};

/// The parameters of each data set, in their order, then those that data sets share (an empty run if there
/// are none). All are in the last where parameters of a data set are not one run, or shared ones not the
/// last.
PYSCALE_API std::vector<ParameterBlock> parameter_blocks(const JobModel& model);

/// Observations as a structure of arrays. Those from `s0_crystal` on may be empty when nothing needs them.
struct PYSCALE_API ObservationView {
  Span<const std::int32_t> data_set;  ///< (n) number of the data set
  Span<const double> image_z;         ///< (n) array coordinate of the centroid
  Span<const double> half_inv_d2;     ///< (n) 1 / (2 d^2), 1/A^2
  Span<const Vec3> s0_crystal;        ///< (n) or empty
  Span<const Vec3> s1_crystal;        ///< (n) or empty
  Span<const double> x_px;            ///< (n) or empty: place on the detector
  Span<const double> y_px;            ///< (n) or empty
  Span<const double> given_factor;    ///< (n) or empty: a factor of g that no parameter changes

  Index size() const { return data_set.size(); }
  Observation operator[](Index i) const;
  double given(Index i) const { return given_factor.empty() ? 1.0 : given_factor[i]; }
  /// \throws std::invalid_argument for unequal lengths, unknown data sets or parts that a component lacks
  void validate(const JobModel& model) const;
};

/// Inverse scale factors g of observations, in double precision.
PYSCALE_API std::vector<double> inverse_scale_factors(const JobModel& model,
                                                      const ObservationView& observations,
                                                      Span<const double> parameters, int n_threads);

/// Variances of g: j^T C j with j = dg/dp and C the covariance of the parameters (n_parameters^2, row-major).
PYSCALE_API std::vector<double> inverse_scale_factor_variances(const JobModel& model,
                                                               const ObservationView& observations,
                                                               Span<const double> parameters,
                                                               Span<const double> covariance, int n_threads);

/// The same from the covariances inside each data set alone. For each data set the square block of its own
/// parameters and then of the shared ones, as `parameter_blocks` has them; blocks row-major, one after the
/// other.
PYSCALE_API std::vector<double> local_scale_factor_variances(const JobModel& model,
                                                             const ObservationView& observations,
                                                             Span<const double> parameters,
                                                             Span<const double> covariance, int n_threads);

}  // namespace pyscale
