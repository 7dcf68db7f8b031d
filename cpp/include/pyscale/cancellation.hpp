// Stopping long functions from outside: a flag that any thread may set, polled between blocks of work.
#pragma once
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <pyscale/export.hpp>

namespace pyscale {

/// Thrown by a function that was stopped; what it was to return is lost, its arguments are unchanged.
class PYSCALE_API Cancelled : public std::exception {
 public:
  const char* what() const noexcept override { return "cancelled"; }
};

/// A request to stop. Any thread, and a signal handler, may make it; it cannot be taken back.
class Cancellation {
 public:
  void cancel() noexcept { cancelled_.store(true, std::memory_order_relaxed); }
  bool is_cancelled() const noexcept { return cancelled_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> cancelled_{false};
};

/// While it lives, functions of this library that are called from the same thread throw Cancelled soon after
/// the request. Scopes nest: a request to any of them counts. Results do not depend on whether there is one.
class PYSCALE_API CancellationScope {
 public:
  /// Called from the scope's own thread, at most every 50 ms; true stops, and so does an exception, which
  /// the stopped function rethrows.
  using Poll = std::function<bool()>;

  /// Both may be missing. The request must outlive the scope.
  explicit CancellationScope(const Cancellation* request, Poll poll = {});
  ~CancellationScope();
  CancellationScope(const CancellationScope&) = delete;
  CancellationScope& operator=(const CancellationScope&) = delete;

  /// The innermost scope of the calling thread, null without one.
  static CancellationScope* innermost() noexcept;

  /// Whether a request was made to this scope or one around it; any thread may ask.
  bool is_requested() const noexcept;

  /// The same, and polls where that is due. For the scope's own thread.
  bool is_requested_or_polled();

 private:
  using Clock = std::chrono::steady_clock;
  const Cancellation* request_;
  Poll poll_;
  CancellationScope* outer_;
  Clock::time_point next_poll_{};
};

/// A place where a long function may be stopped: throws Cancelled if that was requested.
PYSCALE_API void throw_if_cancelled();

}  // namespace pyscale
