# Eigen is a pinned build requirement (the wheel cmeel-eigen), never the system's: see docs/developing/dependencies.md.
# PYSCALE_EIGEN_DIR names an unpacked Eigen for builds without pip.
set(PYSCALE_EIGEN_DIR "" CACHE PATH "Directory that holds Eigen/Core; overrides the pinned build requirement")
if(NOT PYSCALE_EIGEN_DIR)
  find_package(Python REQUIRED COMPONENTS Interpreter)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c
      "import importlib.metadata as m; print(m.distribution('cmeel-eigen').locate_file('cmeel.prefix'))"
    OUTPUT_VARIABLE _eigen_prefix OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE _eigen_missing)
  if(_eigen_missing)
    message(FATAL_ERROR "The build requirement cmeel-eigen is not installed for ${Python_EXECUTABLE}; "
      "install it with pip, or set PYSCALE_EIGEN_DIR to a directory that holds Eigen/Core.")
  endif()
  find_package(Eigen3 3.4 REQUIRED CONFIG PATHS "${_eigen_prefix}" NO_DEFAULT_PATH)
  get_target_property(PYSCALE_EIGEN_INCLUDE Eigen3::Eigen INTERFACE_INCLUDE_DIRECTORIES)
else()
  set(PYSCALE_EIGEN_INCLUDE "${PYSCALE_EIGEN_DIR}")
endif()
if(NOT EXISTS "${PYSCALE_EIGEN_INCLUDE}/Eigen/Core")
  message(FATAL_ERROR "No Eigen/Core under '${PYSCALE_EIGEN_INCLUDE}'.")
endif()
add_library(pyscale_eigen INTERFACE)
target_include_directories(pyscale_eigen SYSTEM INTERFACE "${PYSCALE_EIGEN_INCLUDE}")
target_compile_definitions(pyscale_eigen INTERFACE EIGEN_DONT_PARALLELIZE EIGEN_MPL2_ONLY)

if(PYSCALE_OPENMP)
  find_package(OpenMP COMPONENTS CXX)
endif()
