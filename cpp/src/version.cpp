#include <pyscale/version.hpp>

namespace pyscale {

const char* version() { return PYSCALE_VERSION_STRING; }

}  // namespace pyscale
