#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>
#include <pyscale/error.hpp>
#include <pyscale/symmetry.hpp>

using pyscale::Miller;
using pyscale::RotationMatrix;

BOOST_AUTO_TEST_SUITE(symmetry)

BOOST_AUTO_TEST_CASE(operators_are_read_as_the_tables_write_them) {
  const RotationMatrix expected{0, -1, 0, 1, -1, 0, 0, 0, 1};
  BOOST_TEST((pyscale::rotation_from_xyz("-y, x-y, z+1/3") == expected));
  BOOST_TEST((pyscale::rotation_from_xyz("-Y,X-Y,1/3+Z") == expected));
}

BOOST_AUTO_TEST_CASE(what_is_no_operator_is_refused) {
  for (const char* text : {"", "x,y", "x,y,z,x", "x,y,y", "x,y,1/2", "a,b,c", "x,y,z;"})
    BOOST_CHECK_THROW(pyscale::rotation_from_xyz(text), pyscale::DataError);
}

BOOST_AUTO_TEST_CASE(space_groups_have_as_many_rotations_as_their_point_group) {
  const std::map<int, std::size_t> orders{{1, 1},   {4, 2},   {19, 4},  {76, 4},   {96, 8},   {144, 3},
                                          {151, 6}, {154, 6}, {169, 6}, {178, 12}, {198, 12}, {212, 24}};
  for (const auto& [number, order] : orders)
    BOOST_TEST(pyscale::rotations_of_space_group(number).size() == order);
  for (const int number : {0, 2, 10, 62, 225, 231})
    BOOST_CHECK_THROW(pyscale::rotations_of_space_group(number), pyscale::DataError);
}

BOOST_AUTO_TEST_CASE(resolution_of_a_triclinic_cell) {
  // d of (1 0 0) is the volume over the area of the face b x c.
  const pyscale::UnitCell cell{10, 12, 15, 80, 95, 110};
  const double rad = std::acos(-1.0) / 180.0;
  const double ca = std::cos(80 * rad), cb = std::cos(95 * rad), cg = std::cos(110 * rad);
  const double volume = 10 * 12 * 15 * std::sqrt(1 - ca * ca - cb * cb - cg * cg + 2 * ca * cb * cg);
  const double d = volume / (12 * 15 * std::sin(80 * rad));
  const std::vector<Miller> index{{1, 0, 0}, {2, 0, 0}};
  const std::vector<double> found = pyscale::inverse_d_squared(cell, index);
  BOOST_TEST(found[0] == 1 / (d * d), boost::test_tools::tolerance(1e-12));
  BOOST_TEST(found[1] == 4 / (d * d), boost::test_tools::tolerance(1e-12));
  BOOST_CHECK_THROW(pyscale::inverse_d_squared({10, 10, 10, 10, 20, 90}, index), pyscale::DataError);
}

BOOST_AUTO_TEST_SUITE_END()
