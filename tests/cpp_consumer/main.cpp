// Usage: consumer DIRECTORY MODEL N_THREADS ANOMALOUS CELL(6) SPACE_GROUP IMAGE_WIDTH N_SWEEPS
// Scales the arrays in a directory and writes the results beside them; then sees to it that errors and
// requests to stop arrive as documented.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <pyscale/scaling.hpp>
#include <pyscale/version.hpp>
#include <stdexcept>
#include <string>

#include "arrays.hpp"

#if PYSCALE_VERSION_NUMBER < 1000
#error "the version macros make no sense"
#endif

namespace {

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

pyscale::ModelKind kind_of(const std::string& name) {
  static const std::map<std::string, pyscale::ModelKind> kinds{{"auto", pyscale::ModelKind::automatic},
                                                               {"KB", pyscale::ModelKind::KB},
                                                               {"physical", pyscale::ModelKind::physical},
                                                               {"array", pyscale::ModelKind::array}};
  return kinds.at(name);
}

template <class Error, class Function>
void require_throws(const char* what, Function function) {
  try {
    function();
  } catch (const Error&) {
    return;
  }
  throw std::runtime_error(what);
}

/// Requests to stop and unusable input, as scaling.hpp documents them.
void check_exceptions(pyscale::Reflections r, const pyscale::ModelOptions& model,
                      pyscale::ScalingOptions options) {
  require_throws<pyscale::Cancelled>("a callback did not stop the job", [&] {
    pyscale::scale(r, model, options, [](const pyscale::Progress&) { return false; });
  });
  require_throws<pyscale::Cancelled>("a request did not stop the job", [&] {
    pyscale::Cancellation request;
    const pyscale::CancellationScope scope(&request);
    pyscale::scale(r, model, options, [&](const pyscale::Progress&) {
      request.cancel();
      return true;
    });
  });
  require_throws<std::logic_error>("an exception of a callback was lost", [&] {
    pyscale::scale(r, model, options,
                   [](const pyscale::Progress&) -> bool { throw std::logic_error("mine"); });
  });
  options.n_threads = 0;
  require_throws<std::invalid_argument>("no threads", [&] { pyscale::scale(r, model, options); });
  options.n_threads = 1;
  const std::vector<double> zeros(static_cast<std::size_t>(r.variance.size()), 0.0);
  r.variance = zeros;
  require_throws<pyscale::DataError>("variances of zero", [&] { pyscale::scale(r, model, options); });
}

}  // namespace

int main(int argc, char** argv) {
  try {
    require(argc == 14, "usage");
    const std::string directory = argv[1];
    const Arrays arrays(directory);
    pyscale::Reflections reflections = arrays.view();
    double cell[6];
    for (int i = 0; i < 6; ++i) cell[i] = std::atof(argv[5 + i]);
    reflections.unit_cell = {cell[0], cell[1], cell[2], cell[3], cell[4], cell[5]};
    reflections.rotations = pyscale::rotations_of_space_group(std::atoi(argv[11]));
    pyscale::RotationGeometry sweep;
    sweep.image_width_deg = std::atof(argv[12]);
    reflections.sweeps.assign(static_cast<std::size_t>(std::atoi(argv[13])), sweep);
    pyscale::ModelOptions model;
    model.kind = kind_of(argv[2]);
    pyscale::ScalingOptions options;
    options.n_threads = std::atoi(argv[3]);
    options.anomalous = std::string(argv[4]) == "1";
    require(std::string(pyscale::version()) == PYSCALE_VERSION_STRING, "the headers are not the library's");
    write(pyscale::scale(reflections, model, options), directory);
    check_exceptions(reflections, model, options);
    std::printf("pyscale %s\n", pyscale::version());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "consumer: %s\n", error.what());
    return 1;
  }
  return 0;
}
