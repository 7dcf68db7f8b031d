// Arrays in files of their own, as numpy's tofile writes them.
#pragma once
#include <pyscale/scaling.hpp>
#include <string>

/// Owns what a pyscale::Reflections looks at.
struct Arrays {
  std::vector<pyscale::Miller> miller_index;
  std::vector<double> intensity, variance, image_z, x_px, y_px;
  std::vector<std::int32_t> data_set;
  std::vector<pyscale::Vec3> s1;
  std::vector<pyscale::Index> group;

  explicit Arrays(const std::string& directory);
  pyscale::Reflections view() const;
};

void write(const pyscale::ScalingResult& result, const std::string& directory);
