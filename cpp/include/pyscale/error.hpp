// Exceptions of the core: misuse throws, numerical outcomes are reported.
#pragma once
#include <pyscale/export.hpp>
#include <sstream>
#include <stdexcept>
#include <string>

namespace pyscale {

/// Unusable input; the message names array, position and value.
class PYSCALE_API DataError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Concatenates anything printable into one string.
template <class... Args>
std::string cat(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

/// Throws std::invalid_argument when two array lengths that must agree do not.
inline void require_size(const char* name, long long actual, long long expected) {
  if (actual != expected)
    throw std::invalid_argument(cat(name, " must have ", expected, " elements, got ", actual));
}

}  // namespace pyscale
