#include "arrays.hpp"

#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace {

template <class T>
std::vector<T> read(const std::string& path) {
  if (!std::filesystem::exists(path)) return {};
  std::vector<T> values(std::filesystem::file_size(path) / sizeof(T));
  std::ifstream in(path, std::ios::binary);
  in.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(T)));
  if (!in) throw std::runtime_error("cannot read " + path);
  return values;
}

template <class T>
void put(const std::vector<T>& values, const std::string& path) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(values.data()),
            static_cast<std::streamsize>(values.size() * sizeof(T)));
  if (!out) throw std::runtime_error("cannot write " + path);
}

void put_statistics(const pyscale::ScalingResult& result, const std::string& path) {
  std::vector<double> rows;
  std::vector<pyscale::ResolutionShell> shells = result.shells;
  shells.push_back(result.overall);
  for (const pyscale::ResolutionShell& s : shells) {
    const pyscale::ShellStatistics& m = s.merging;
    rows.insert(rows.end(),
                {s.d_max, s.d_min, static_cast<double>(m.n_obs), static_cast<double>(m.n_unique),
                 m.i_over_sigma, m.r_merge, m.r_meas, m.r_pim, m.cc_half_sigma_tau, s.half_sets.correlation});
  }
  put(rows, path);
}

}  // namespace

Arrays::Arrays(const std::string& directory)
    : miller_index(read<pyscale::Miller>(directory + "/miller_index")),
      intensity(read<double>(directory + "/intensity")),
      variance(read<double>(directory + "/variance")),
      image_z(read<double>(directory + "/image_z")),
      x_px(read<double>(directory + "/x_px")),
      y_px(read<double>(directory + "/y_px")),
      data_set(read<std::int32_t>(directory + "/data_set")),
      s1(read<pyscale::Vec3>(directory + "/s1")),
      group(read<pyscale::Index>(directory + "/group")) {}

pyscale::Reflections Arrays::view() const {
  pyscale::Reflections r;
  r.miller_index = miller_index;
  r.intensity = intensity;
  r.variance = variance;
  r.image_z = image_z;
  r.x_px = x_px;
  r.y_px = y_px;
  r.data_set = data_set;
  r.s1 = s1;
  r.group = group;
  return r;
}

void write(const pyscale::ScalingResult& result, const std::string& directory) {
  const auto path = [&](const char* name) { return directory + "/out_" + name; };
  put(result.inverse_scale_factor, path("g"));
  put(result.inverse_scale_factor_variance, path("g_variance"));
  put(result.variance, path("variance"));
  put(result.outlier, path("outlier"));
  put(result.disputed, path("disputed"));
  put(result.merged_row, path("merged_row"));
  put(result.model.parameters, path("parameters"));
  put(result.model.sigma, path("sigma"));
  put(std::vector<double>{result.error_model.a, result.error_model.b, result.chi_squared,
                          static_cast<double>(result.rounds.size())},
      path("numbers"));
  put(result.merged.miller_index, path("merged_index"));
  put(result.merged.intensity, path("merged_intensity"));
  put(result.merged.sigma, path("merged_sigma"));
  put(result.anomalous.miller_index, path("anomalous_index"));
  put(result.anomalous.intensity, path("anomalous_intensity"));
  put(result.anomalous.sigma, path("anomalous_sigma"));
  put_statistics(result, path("statistics"));
}
