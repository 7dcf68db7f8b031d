// The only file that compiles the test framework itself: it takes longer than all tests together.
#define BOOST_TEST_MODULE pyscale
#include <boost/test/included/unit_test.hpp>
