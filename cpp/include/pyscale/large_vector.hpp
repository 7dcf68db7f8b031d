// Vectors for columns of many rows.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace pyscale {

/// Leaves new elements as they are, and asks for large pages: setting millions of rows to zero, page by page
/// on one thread, takes as long as filling them.
template <class T>
struct LargeAllocator {
  using value_type = T;

  LargeAllocator() = default;
  template <class U>
  LargeAllocator(const LargeAllocator<U>&) {}

  T* allocate(std::size_t n) {
    constexpr std::size_t page = std::size_t{1} << 21;
    const std::size_t size = n * sizeof(T);
    if (size < 2 * page) return static_cast<T*>(checked(std::malloc(size > 0 ? size : 1)));
#ifdef __linux__
    const std::size_t whole = (size + page - 1) / page * page;
    void* const memory = checked(std::aligned_alloc(page, whole));
    madvise(memory, whole, MADV_HUGEPAGE);
    return static_cast<T*>(memory);
#else
    return static_cast<T*>(checked(std::malloc(size)));
#endif
  }

  void deallocate(T* memory, std::size_t) { std::free(memory); }

  template <class U>
  void construct(U* place) {
    ::new (static_cast<void*>(place)) U;
  }
  template <class U, class... Values>
  void construct(U* place, Values&&... values) {
    ::new (static_cast<void*>(place)) U(std::forward<Values>(values)...);
  }

  friend bool operator==(const LargeAllocator&, const LargeAllocator&) { return true; }
  friend bool operator!=(const LargeAllocator&, const LargeAllocator&) { return false; }

 private:
  static void* checked(void* memory) {
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
  }
};

/// A vector whose elements `resize` leaves as they are.
template <class T>
using LargeVector = std::vector<T, LargeAllocator<T>>;

}  // namespace pyscale
