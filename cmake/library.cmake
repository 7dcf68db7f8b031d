# pyscale::pyscale, the C++ library: in this build, and as an installed CMake package.
configure_file(cmake/version.hpp.in include/pyscale/version.hpp @ONLY)

add_library(pyscale)
add_library(pyscale::pyscale ALIAS pyscale)
target_sources(pyscale PRIVATE $<TARGET_OBJECTS:pyscale_core>)
set_target_properties(pyscale PROPERTIES LINKER_LANGUAGE CXX VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
target_include_directories(pyscale INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/cpp/include> $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>
  $<INSTALL_INTERFACE:include>)
target_compile_features(pyscale INTERFACE cxx_std_17)
if(OpenMP_CXX_FOUND)
  # Linked, but no flag for those who use the library: its headers do not look at OpenMP.
  target_link_libraries(pyscale PRIVATE
    $<BUILD_INTERFACE:OpenMP::OpenMP_CXX> $<INSTALL_INTERFACE:pyscale::openmp>)
endif()
if(BUILD_SHARED_LIBS)
  target_compile_definitions(pyscale INTERFACE PYSCALE_SHARED)
  if(NOT APPLE)
    # Templates of the standard library are visible whatever the flags say.
    set(_exported "${PROJECT_SOURCE_DIR}/cmake/exported.map")
    target_link_options(pyscale PRIVATE "LINKER:--version-script=${_exported}")
    set_property(TARGET pyscale APPEND PROPERTY LINK_DEPENDS "${_exported}")
  endif()
endif()

# The public headers: what scaling.hpp is made of, and the stages that it calls.
set(PYSCALE_PUBLIC_HEADERS cancellation components connectivity covariance crystal_frame error error_model export
  fit_problem french_wilson grid groups half_sets harmonics large_vector levmar merging model normal_operator
  observation outliers restraints scale_errors scaling scaling_options scaling_result smoother span symmetry)

if(PYSCALE_INSTALL)
  include(CMakePackageConfigHelpers)
  set(_package lib/cmake/pyscale)
  set(PYSCALE_NEEDS_OPENMP OFF)
  if(OpenMP_CXX_FOUND)
    set(PYSCALE_NEEDS_OPENMP ON)
  endif()
  list(TRANSFORM PYSCALE_PUBLIC_HEADERS PREPEND "${PROJECT_SOURCE_DIR}/cpp/include/pyscale/" OUTPUT_VARIABLE _headers)
  list(TRANSFORM _headers APPEND ".hpp")
  install(FILES ${_headers} "${PROJECT_BINARY_DIR}/include/pyscale/version.hpp" DESTINATION include/pyscale)
  install(TARGETS pyscale EXPORT pyscale ARCHIVE DESTINATION lib LIBRARY DESTINATION lib)
  install(EXPORT pyscale FILE pyscale-targets.cmake NAMESPACE pyscale:: DESTINATION ${_package})
  configure_package_config_file(cmake/pyscale-config.cmake.in pyscale-config.cmake INSTALL_DESTINATION ${_package})
  write_basic_package_version_file(pyscale-config-version.cmake COMPATIBILITY SameMinorVersion)
  install(FILES "${PROJECT_BINARY_DIR}/pyscale-config.cmake" "${PROJECT_BINARY_DIR}/pyscale-config-version.cmake"
    DESTINATION ${_package})
endif()
