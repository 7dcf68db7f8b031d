# Eigen is a pinned build requirement (the wheel cmeel-eigen), never the system's: see docs/developing/dependencies.md.
# For builds without pip PYSCALE_EIGEN_DIR names an unpacked Eigen, or PYSCALE_FETCH_EIGEN=ON fetches the same release.
set(PYSCALE_EIGEN_DIR "" CACHE PATH "Directory that holds Eigen/Core; overrides the pinned build requirement")
option(PYSCALE_FETCH_EIGEN "Fetch the pinned release of Eigen instead of the build requirement cmeel-eigen" OFF)
set(PYSCALE_EIGEN_URL "https://gitlab.com/libeigen/eigen/-/archive/3.4.1/eigen-3.4.1.tar.gz" CACHE STRING
  "Where PYSCALE_FETCH_EIGEN finds Eigen 3.4.1; a mirror or a file will do, its hash is checked")
if(PYSCALE_FETCH_EIGEN AND NOT PYSCALE_EIGEN_DIR)
  include(FetchContent)
  FetchContent_Declare(pyscale_eigen_source URL "${PYSCALE_EIGEN_URL}"
    URL_HASH SHA256=b93c667d1b69265cdb4d9f30ec21f8facbbe8b307cf34c0b9942834c6d4fdbe2 SOURCE_SUBDIR none
    DOWNLOAD_EXTRACT_TIMESTAMP ON)
  FetchContent_MakeAvailable(pyscale_eigen_source)
  set(PYSCALE_EIGEN_INCLUDE "${pyscale_eigen_source_SOURCE_DIR}")
elseif(NOT PYSCALE_EIGEN_DIR)
  find_package(Python REQUIRED COMPONENTS Interpreter)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c
      "import importlib.metadata as m; print(m.distribution('cmeel-eigen').locate_file('cmeel.prefix'))"
    OUTPUT_VARIABLE _eigen_prefix OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE _eigen_missing)
  if(_eigen_missing)
    message(FATAL_ERROR "The build requirement cmeel-eigen is not installed for ${Python_EXECUTABLE}; "
      "install it with pip, set PYSCALE_EIGEN_DIR to a directory that holds Eigen/Core, or PYSCALE_FETCH_EIGEN=ON.")
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
