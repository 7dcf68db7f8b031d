// Deterministic parallelism: chunk edges depend on the data only, partial results merge in a fixed tree.
#pragma once
#include <algorithm>
#include <atomic>
#include <exception>
#include <pyscale/cancellation.hpp>
#include <pyscale/span.hpp>
#include <utility>
#include <vector>

namespace pyscale {

/// Splits groups into at most `n_chunks` runs holding about equally many rows.
/// `offsets` (n_groups + 1) are the first rows of the groups. Returns group edges, first 0, last n_groups.
inline std::vector<Index> balanced_group_edges(Span<const Index> offsets, Index n_chunks) {
  const Index n_groups = offsets.size() > 0 ? offsets.size() - 1 : 0;
  std::vector<Index> edges{0};
  if (n_groups == 0) return edges;
  const Index first = offsets[0], n_rows = offsets[n_groups] - first;
  for (Index c = 1; c < n_chunks; ++c) {
    const Index target = first + n_rows * c / n_chunks;
    const Index group = std::lower_bound(offsets.begin(), offsets.end(), target) - offsets.begin();
    if (group > edges.back() && group < n_groups) edges.push_back(group);
  }
  edges.push_back(n_groups);
  return edges;
}

/// Splits n rows into runs of `size` rows (the last may be shorter).
inline std::vector<Index> fixed_size_edges(Index n, Index size) {
  std::vector<Index> edges{0};
  for (Index i = size; i < n; i += size) edges.push_back(i);
  if (n > 0) edges.push_back(n);
  return edges;
}

/// Calls body(chunk, begin, end) for every chunk on `n_threads` threads. The exception of the lowest chunk is
/// rethrown after all chunks ended, so that errors do not depend on scheduling either.
/// \throws Cancelled between chunks, if the scope of the calling thread asks for it
template <class Body>
void for_each_chunk(const std::vector<Index>& edges, int n_threads, Body&& body) {
  const int n = static_cast<int>(edges.size()) - 1;
  if (n <= 0) return;
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(n));
  CancellationScope* const scope = CancellationScope::innermost();
  std::atomic<bool> stopped{false};
  const auto must_stop = [&] {
    if (scope == nullptr || stopped.load(std::memory_order_relaxed)) return scope != nullptr;
    const bool is_caller = CancellationScope::innermost() == scope;
    return is_caller ? scope->is_requested_or_polled() : scope->is_requested();
  };
#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic, 1) num_threads(std::max(1, n_threads))
#else
  (void)n_threads;
#endif
  for (int c = 0; c < n; ++c) {
    try {
      if (must_stop()) {
        stopped.store(true, std::memory_order_relaxed);
        continue;
      }
    } catch (...) {  // of a poll: the other chunks are of no use either
      stopped.store(true, std::memory_order_relaxed);
      errors[c] = std::current_exception();
      continue;
    }
    try {
      body(static_cast<Index>(c), edges[c], edges[c + 1]);
    } catch (...) {
      errors[c] = std::current_exception();
    }
  }
  for (auto& error : errors)
    if (error) std::rethrow_exception(error);
  if (stopped.load(std::memory_order_relaxed)) throw Cancelled();
}

/// Merges partial results pairwise in a tree that depends on their number only. T has merge(const T&).
template <class T>
T tree_merge(std::vector<T> parts) {
  for (std::size_t step = 1; step < parts.size(); step *= 2)
    for (std::size_t i = 0; i + step < parts.size(); i += 2 * step) parts[i].merge(parts[i + step]);
  return std::move(parts.front());
}

}  // namespace pyscale
