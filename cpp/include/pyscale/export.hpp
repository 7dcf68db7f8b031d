// What a shared library exports: only what is marked here, all else is hidden.
#pragma once

/// Marks functions and classes of the public interface. PYSCALE_SHARED is set by the CMake target where
/// the library is a shared one; a static one exports nothing, not even from a shared library that it is
/// linked into, so that two programs' copies in one process do not meet.
#if defined(PYSCALE_SHARED)
#define PYSCALE_API __attribute__((visibility("default")))
#else
#define PYSCALE_API
#endif
