# Boost.Test, header-only, from the test requirement libboost-headers; never the system's: see docs/developing/dependencies.md.
# PYSCALE_BOOST_DIR names the directory that holds boost/ for builds without pip.
set(PYSCALE_BOOST_DIR "" CACHE PATH "Directory that holds boost/test; overrides the wheel libboost-headers")
set(_boost_include "${PYSCALE_BOOST_DIR}")
if(NOT _boost_include)
  find_package(Python REQUIRED COMPONENTS Interpreter)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c
      "import importlib.metadata as m; print(m.distribution('libboost-headers').locate_file('libboost_headers/include'))"
    OUTPUT_VARIABLE _boost_include OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE _boost_missing)
  if(_boost_missing)
    message(FATAL_ERROR "The test requirement libboost-headers is not installed for ${Python_EXECUTABLE}; "
      "install it with pip, or set PYSCALE_BOOST_DIR to a directory that holds boost/test.")
  endif()
endif()
if(NOT EXISTS "${_boost_include}/boost/test/included/unit_test.hpp")
  message(FATAL_ERROR "No boost/test/included/unit_test.hpp under '${_boost_include}'.")
endif()
add_library(pyscale_boost_test INTERFACE)
target_include_directories(pyscale_boost_test SYSTEM INTERFACE "${_boost_include}")
