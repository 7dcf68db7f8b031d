#include <algorithm>
#include <cctype>
#include <cmath>
#include <pyscale/error.hpp>
#include <pyscale/symmetry.hpp>
#include <string>

namespace pyscale {
namespace {

double cosine(double degrees) { return degrees == 90.0 ? 0.0 : std::cos(degrees * (M_PI / 180.0)); }

/// 1/d^2 = h^2 aa + k^2 bb + l^2 cc + 2 (k l bc + h l ac + h k ab).
struct ReciprocalMetric {
  double aa, bb, cc, bc, ac, ab;
};

ReciprocalMetric reciprocal_metric(const UnitCell& cell) {
  const double ca = cosine(cell.alpha), cb = cosine(cell.beta), cg = cosine(cell.gamma);
  const double a = cell.a, b = cell.b, c = cell.c;
  const double shape = 1.0 - ca * ca - cb * cb - cg * cg + 2.0 * ca * cb * cg;
  if (!(a > 0 && b > 0 && c > 0 && shape > 0) || !std::isfinite(a * b * c))
    throw DataError(cat("unit cell ", a, " ", b, " ", c, " ", cell.alpha, " ", cell.beta, " ", cell.gamma,
                        " has no volume: give lengths in Angstrom and angles in degrees"));
  return {(1.0 - ca * ca) / (a * a * shape), (1.0 - cb * cb) / (b * b * shape),
          (1.0 - cg * cg) / (c * c * shape), (cb * cg - ca) / (b * c * shape),
          (ca * cg - cb) / (a * c * shape),  (ca * cb - cg) / (a * b * shape)};
}

[[noreturn]] void refuse(std::string_view text) {
  throw DataError(
      cat("'", std::string(text), "' is no symmetry operator: it must look like '-y, x-y, z+1/3'"));
}

/// One of the three parts of an operator; translations are read over.
std::array<std::int32_t, 3> row_of(std::string_view part, std::string_view text) {
  std::array<std::int32_t, 3> row{0, 0, 0};
  std::int32_t sign = 1;
  bool is_empty = true;
  for (const char raw : part) {
    const char c = static_cast<char>(std::tolower(static_cast<unsigned char>(raw)));
    if (c == '+' || c == '-') {
      sign = c == '-' ? -1 : 1;
    } else if (c >= 'x' && c <= 'z') {
      row[c - 'x'] += sign;
      is_empty = false;
    } else if (!(std::isdigit(static_cast<unsigned char>(c)) || c == '/' || c == '.' || c == ' ')) {
      refuse(text);
    }
  }
  if (is_empty) refuse(text);
  return row;
}

RotationMatrix product(const RotationMatrix& a, const RotationMatrix& b) {
  RotationMatrix result{};
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 3; ++k) result[3 * i + j] += a[3 * i + k] * b[3 * k + j];
  return result;
}

std::int32_t determinant(const RotationMatrix& m) {
  return m[0] * (m[4] * m[8] - m[5] * m[7]) - m[1] * (m[3] * m[8] - m[5] * m[6]) +
         m[2] * (m[3] * m[7] - m[4] * m[6]);
}

/// Space groups of one point group and its generators.
struct Generators {
  int first, last;
  std::vector<const char*> operators;
};

const std::vector<Generators>& generators() {
  static const std::vector<Generators> table = {
      {1, 1, {"x,y,z"}},
      {3, 5, {"-x,y,-z"}},
      {16, 24, {"-x,-y,z", "-x,y,-z"}},
      {75, 80, {"-y,x,z"}},
      {89, 98, {"-y,x,z", "-x,y,-z"}},
      {143, 146, {"-y,x-y,z"}},
      {149, 149, {"-y,x-y,z", "-y,-x,-z"}},
      {150, 150, {"-y,x-y,z", "y,x,-z"}},
      {151, 151, {"-y,x-y,z", "-y,-x,-z"}},
      {152, 152, {"-y,x-y,z", "y,x,-z"}},
      {153, 153, {"-y,x-y,z", "-y,-x,-z"}},
      {154, 155, {"-y,x-y,z", "y,x,-z"}},
      {168, 173, {"x-y,x,z"}},
      {177, 182, {"x-y,x,z", "y,x,-z"}},
      {195, 199, {"-x,-y,z", "-x,y,-z", "z,x,y"}},
      {207, 214, {"-y,x,z", "-x,y,-z", "z,x,y"}},
  };
  return table;
}

/// The group that some operators generate: every member is multiplied by all, those that it brings included.
std::vector<RotationMatrix> closure(std::vector<RotationMatrix> members) {
  for (std::size_t i = 0; i < members.size(); ++i)
    for (std::size_t j = 0; j < members.size(); ++j) {
      const RotationMatrix next = product(members[i], members[j]);
      if (std::find(members.begin(), members.end(), next) == members.end()) members.push_back(next);
    }
  return members;
}

}  // namespace

std::vector<double> inverse_d_squared(const UnitCell& cell, Span<const Miller> miller_index) {
  const ReciprocalMetric m = reciprocal_metric(cell);
  std::vector<double> result(static_cast<std::size_t>(miller_index.size()));
  for (Index i = 0; i < miller_index.size(); ++i) {
    const double h = miller_index[i][0], k = miller_index[i][1], l = miller_index[i][2];
    const double mixed = k * l * m.bc + h * l * m.ac + h * k * m.ab;
    result[i] = h * h * m.aa + k * k * m.bb + l * l * m.cc + 2.0 * mixed;
  }
  return result;
}

RotationMatrix rotation_from_xyz(std::string_view text) {
  RotationMatrix result{};
  std::string_view rest = text;
  for (int i = 0; i < 3; ++i) {
    const std::size_t comma = rest.find(',');
    if ((comma == std::string_view::npos) != (i == 2)) refuse(text);
    const auto row = row_of(rest.substr(0, comma), text);
    std::copy(row.begin(), row.end(), result.begin() + 3 * i);
    rest = i < 2 ? rest.substr(comma + 1) : std::string_view{};
  }
  const std::int32_t d = determinant(result);
  if (d != 1 && d != -1) refuse(text);
  return result;
}

std::vector<RotationMatrix> rotations_of_space_group(int number) {
  for (const Generators& g : generators()) {
    if (number < g.first || number > g.last) continue;
    std::vector<RotationMatrix> members{rotation_from_xyz("x,y,z")};
    for (const char* text : g.operators) {
      const RotationMatrix m = rotation_from_xyz(text);
      if (m != members.front()) members.push_back(m);
    }
    return closure(std::move(members));
  }
  throw DataError(cat("space group number ", number,
                      " is not one of the 65 without mirrors and inversions: give its operators"));
}

}  // namespace pyscale
