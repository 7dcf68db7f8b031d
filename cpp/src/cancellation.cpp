#include <pyscale/cancellation.hpp>
#include <utility>

namespace pyscale {
namespace {

constexpr std::chrono::milliseconds kBetweenPolls{50};

thread_local CancellationScope* innermost_scope = nullptr;

}  // namespace

CancellationScope::CancellationScope(const Cancellation* request, Poll poll)
    : request_(request), poll_(std::move(poll)), outer_(innermost_scope) {
  innermost_scope = this;
}

CancellationScope::~CancellationScope() { innermost_scope = outer_; }

CancellationScope* CancellationScope::innermost() noexcept { return innermost_scope; }

bool CancellationScope::is_requested() const noexcept {
  for (const CancellationScope* s = this; s != nullptr; s = s->outer_)
    if (s->request_ != nullptr && s->request_->is_cancelled()) return true;
  return false;
}

bool CancellationScope::is_requested_or_polled() {
  if (is_requested()) return true;
  const auto now = Clock::now();
  for (CancellationScope* s = this; s != nullptr; s = s->outer_) {
    if (!s->poll_ || now < s->next_poll_) continue;
    s->next_poll_ = now + kBetweenPolls;
    if (s->poll_()) return true;
  }
  return false;
}

void throw_if_cancelled() {
  CancellationScope* scope = CancellationScope::innermost();
  if (scope != nullptr && scope->is_requested_or_polled()) throw Cancelled();
}

}  // namespace pyscale
