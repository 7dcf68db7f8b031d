"""Following and stopping jobs: what a thread reports, and the places where it may be stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeAlias

from ._core import Cancellation, CancellationScope, throw_if_cancelled

__all__ = [
    "Cancel",
    "Cancellation",
    "Progress",
    "ProgressCallback",
    "cancellable",
    "checkpoint",
    "following",
    "part_of_job",
    "report_progress",
]


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes
    ----------
    stage : str
        `read`, `prepare`, `select`, `fit`, `model_choice`, `limits`, `statistics`, `analyses`, `merge`, `amplitudes`,
        `done`, ...: for programs; more may come.
    fraction : float
        Of the whole job, from 0 to 1: an estimate that never goes back.
    message : str
        What is being done, for people.
    """

    stage: str
    fraction: float
    message: str


ProgressCallback: TypeAlias = Callable[[Progress], None]
Cancel: TypeAlias = Cancellation | Callable[[], bool]


@dataclass
class _Reporter:
    """Who is told, and which part of the whole job is being done."""

    callback: ProgressCallback
    begin: float = 0.0
    end: float = 1.0
    reached: float = 0.0


_reporter: ContextVar[_Reporter | None] = ContextVar("pyscale_progress", default=None)


@contextmanager
def cancellable(cancel: Cancel | None = None) -> Iterator[None]:
    """Let the calling thread be stopped while the block runs; for `pyscale.stages`, alone or several together.

    Parameters
    ----------
    cancel : Cancellation or callable, optional
        A callable is asked every 50 ms or so, in this thread: true stops. Without it the block can still be
        interrupted by Ctrl-C in loops of the core.

    Raises
    ------
    Cancelled
        From whatever function of pyscale runs when it was asked for.
    """
    scope = CancellationScope(cancel) if isinstance(cancel, Cancellation) else CancellationScope(poll=cancel)
    with scope:
        throw_if_cancelled()
        yield


checkpoint = throw_if_cancelled
"""A place where this thread may be stopped; a job of a million observations has one every 0.1 s."""


@contextmanager
def following(progress: ProgressCallback | None, cancel: Cancel | None) -> Iterator[None]:
    """Tell `progress` what the block does, and let `cancel` stop it."""
    token = _reporter.set(None if progress is None else _Reporter(progress))
    try:
        with cancellable(cancel):
            yield
            report_progress("done", 1.0, "done")
    finally:
        _reporter.reset(token)


@contextmanager
def part_of_job(begin: float, end: float) -> Iterator[None]:
    """Let fractions that the block reports stand for a part of what they would be otherwise."""
    reporter = _reporter.get()
    if reporter is None:
        yield
        return
    outer = reporter.begin, reporter.end
    size = outer[1] - outer[0]
    reporter.begin, reporter.end = outer[0] + begin * size, outer[0] + end * size
    try:
        yield
    finally:
        reporter.begin, reporter.end = outer


def report_progress(stage: str, fraction: float, message: str) -> None:
    """Say what this thread does next, and stop here if that was asked for.

    Raises
    ------
    Cancelled
        Or what the callback raises, which ends the job too.
    """
    throw_if_cancelled()
    reporter = _reporter.get()
    if reporter is None:
        return
    reached = reporter.begin + fraction * (reporter.end - reporter.begin)
    reporter.reached = max(reporter.reached, min(reached, 1.0))
    reporter.callback(Progress(stage, reporter.reached, message))
