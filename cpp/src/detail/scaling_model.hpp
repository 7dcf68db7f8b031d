// The scaling models of a job's data sets, their restraints and what the data say about these.
#pragma once
#include <pyscale/fit_problem.hpp>
#include <string>
#include <vector>

#include "scaling_data.hpp"

namespace pyscale::detail {

/// One component in the parameter vector.
struct ModelPart {
  const char* name;
  Index data_set, first, size;
  double null_value;
  std::vector<int> shape;  ///< nodes along each axis, the fastest first; empty where there are none
  bool is_scale_like;      ///< carries the overall scale of its data set
  bool is_decay_like;      ///< adds to its B
  double weight = 0, lowest = 0, highest = 0;  ///< of the restraint to the null value, and its limits
  double smooth_weight = 0;                    ///< of differences between neighbours, fixed
};

/// Models of all data sets over one parameter vector.
struct ModelLayout {
  JobModel core;
  std::vector<ModelPart> parts;
  std::vector<double> start;
};

/// What the rules look at; of each data set.
struct SweepFacts {
  double range_deg = 0;  ///< rotation, whole images
  double largest_angle_cosine = 1;
};

std::vector<SweepFacts> sweep_facts(const Reflections& reflections);

/// The kind and whether there is an absorption surface or grid, of each data set.
struct ModelPlan {
  ModelKind kind;
  bool absorption;
};

std::vector<ModelPlan> plan_models(const Reflections& reflections, const ModelOptions& options,
                                   const std::vector<SweepFacts>& facts);

ModelLayout lay_out(const Reflections& reflections, const ModelOptions& options, const ScalingData& data,
                    const std::vector<SweepFacts>& facts, const std::vector<ModelPlan>& plans);

/// Restraints of the components, and of neighbours by the information (p) that the data have on parameters;
/// around some parameters (p).
Restraints component_restraints(const ModelLayout& layout, const std::vector<double>& parameters,
                                const std::vector<double>& information);

/// Keeps the mean of scales of each connected component of data sets, label (n_data_sets), as it is.
void add_scale_restraints(const ModelLayout& layout, const std::vector<double>& parameters,
                          const std::vector<double>& information, const std::vector<std::int32_t>& label,
                          Restraints& restraints);

/// Diagonal of the restraints' part of the normal matrix (p).
std::vector<double> restraint_diagonal(const Restraints& restraints, Index n_parameters);

/// One step of each free restraint weight towards the most probable one (MacKay, 1992); returns the largest
/// change of a logarithm times the number of parameters that the data determine.
/// \param covariance (p, p) inverse of the normal matrix, \param chi_squared variance of unit weight
double update_restraints(ModelLayout& layout, const std::vector<double>& parameters,
                         const std::vector<double>& covariance, double chi_squared);

}  // namespace pyscale::detail
