// Which data sets have reflections in common.
#pragma once
#include <cstdint>
#include <pyscale/export.hpp>
#include <pyscale/span.hpp>
#include <vector>

namespace pyscale {

/// Links between data sets by groups of equivalents.
struct Connectivity {
  std::vector<std::int32_t> component;  ///< (n_data_sets) connected parts, numbered by their first data set
  std::vector<Index> shared;   ///< (n_data_sets, n_shells) groups that a data set has in common with another
  std::vector<Index> linking;  ///< (n_shells) groups of two or more data sets
};

/// Connected components of the graph of data sets and groups, and counts of the groups that link.
/// \param data_set (n) number of the data set of each observation, sorted by group
/// \param offsets (n_groups + 1) first row of each group
/// \param use (n) zero: leave the observation out
/// \param shell_of_group (n_groups) resolution shell, or -1: leave the group out
/// \throws std::invalid_argument when sizes or offsets do not fit, or a number is out of range
PYSCALE_API Connectivity connectivity(Span<const std::int32_t> data_set, Span<const Index> offsets,
                                      Span<const std::uint8_t> use, Span<const std::int32_t> shell_of_group,
                                      Index n_data_sets, Index n_shells);

}  // namespace pyscale
