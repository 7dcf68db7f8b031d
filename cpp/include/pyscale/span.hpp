// Non-owning views of contiguous arrays, and the index types of the core.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace pyscale {

using Index = std::int64_t;
using Miller = std::array<std::int32_t, 3>;
using Vec3 = std::array<double, 3>;

/// View of `size()` contiguous elements; the caller keeps them alive.
template <class T>
class Span {
 public:
  constexpr Span() = default;
  constexpr Span(T* data, Index size) : data_(data), size_(size) {}
  template <class Allocator>
  Span(std::vector<std::remove_const_t<T>, Allocator>& v)
      : data_(v.data()), size_(static_cast<Index>(v.size())) {}
  template <class Allocator, class U = T, std::enable_if_t<std::is_const_v<U>, int> = 0>
  Span(const std::vector<std::remove_const_t<T>, Allocator>& v)
      : data_(v.data()), size_(static_cast<Index>(v.size())) {}
  template <class U, std::enable_if_t<std::is_same_v<const U, T>, int> = 0>
  constexpr Span(Span<U> other) : data_(other.data()), size_(other.size()) {}

  constexpr T* data() const { return data_; }
  constexpr Index size() const { return size_; }
  constexpr bool empty() const { return size_ == 0; }
  constexpr T& operator[](Index i) const { return data_[i]; }
  constexpr T* begin() const { return data_; }
  constexpr T* end() const { return data_ + size_; }

 private:
  T* data_ = nullptr;
  Index size_ = 0;
};

}  // namespace pyscale
