"""How far a job is: a line that is drawn anew on a terminal, and now and then a plain line elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .terminal import can_show, cells, is_live, write_error

if TYPE_CHECKING:
    from rich.text import Text

    from pyscale.progress import Progress

__all__ = ["JobProgress", "ProgressHandler", "clock", "shown_progress"]

_FIRST_ESTIMATE = (2.0, 0.05)
"""Seconds, and part of the job, after which the time left is told."""

_BAR = 20
_SLOW = 0.3
"""Least time left, relative to what was needed for as large a part of the job."""

_FIRST_LINE, _NEXT_LINE = 10.0, 30.0
"""Seconds after which a job without a terminal says where it is, and between such lines."""


@dataclass
class JobProgress:
    """Where a job is.

    Attributes
    ----------
    text : str
        What is being done.
    step : str
        Of the minimisation.
    cost : float or None
        Of the fit.
    share : float
        Part of the job that is done, 0 to 1; 0 as long as nothing tells.
    """

    text: str = "starting"
    step: str = ""
    cost: float | None = None
    share: float = 0.0
    started: float = field(default_factory=time.monotonic)
    _end: float = 0.0

    def report(self, progress: Progress) -> None:
        """Take what a job tells those who follow it."""
        if progress.stage == "read":
            self.started = time.monotonic()  # the libraries have been loaded
        if progress.message != self.text:
            self.text, self.step, self.cost = progress.message, "", None
        self._advance(progress.fraction)

    def update(self, record: logging.LogRecord) -> None:
        """Take `step` and `cost` of a record of the fit; or a record's `fraction` of the job and its message."""
        if (number := getattr(record, "step", None)) is not None:
            self.step, self.cost = f"step {number}", getattr(record, "cost", None)
        if (fraction := getattr(record, "fraction", None)) is not None:
            self.text = record.getMessage().partition("\n")[0]
            self._advance(float(fraction))

    def _advance(self, share: float) -> None:
        if share > self.share:
            self.share, self._end = share, self.elapsed / share

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def times(self) -> str:
        """Time since the start, and an estimate of the time left."""
        elapsed, share = self.elapsed, self.share
        if elapsed < _FIRST_ESTIMATE[0] or not _FIRST_ESTIMATE[1] <= share < 1.0:
            return clock(elapsed)
        # A stage that takes longer than it was expected to does not promise the end for the next second.
        left = max(self._end - elapsed, _SLOW * elapsed * (1.0 - share))
        return f"{clock(elapsed)}, about {clock(max(left, 1.0))} left"

    def parts(self) -> list[str]:
        """Return what is being done, how much is done, times, step and cost, the most important first."""
        done = f"{100 * self.share:.0f} %" if self.share > 0.0 else ""
        cost = "" if self.cost is None else f"cost {self.cost:.5g}"
        return [part for part in (self.text, done, self.times(), self.step, cost) if part]


def clock(seconds: float) -> str:
    """A time as minutes and seconds, with hours where there are any."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


class ProgressHandler(logging.Handler):
    """Follows the records of a job; without a terminal it says where a long one is, in plain lines."""

    def __init__(self, progress: JobProgress, has_lines: bool) -> None:
        super().__init__(logging.INFO)
        self.progress, self._next = progress, _FIRST_LINE if has_lines else float("inf")

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        self.progress.update(record)
        if self.progress.elapsed >= self._next:
            self._next = self.progress.elapsed + _NEXT_LINE
            write_error(", ".join(self.progress.parts()))


@contextmanager
def shown_progress(*, is_wanted: bool) -> Iterator[ProgressHandler]:
    """Show progress on standard error while the block runs.

    Parameters
    ----------
    is_wanted
        Whether anything is shown: a line that is drawn anew if standard error is a terminal, else plain lines.

    Yields
    ------
    ProgressHandler
        To be given the records of the job.
    """
    progress = JobProgress()
    if not (is_wanted and is_live(sys.stderr)):
        yield ProgressHandler(progress, has_lines=is_wanted)
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    line = _Line(progress, can_show("⠋━╌·", sys.stderr))
    with Live(
        console=console,
        get_renderable=lambda: line.render(console.width),
        refresh_per_second=8,
        transient=True,
        redirect_stdout=False,
    ):
        yield ProgressHandler(progress, has_lines=False)


class _Line:
    """The line of a terminal."""

    def __init__(self, progress: JobProgress, has_symbols: bool) -> None:
        self._progress = progress
        self._spinner, self._bar, self._between = ("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "━╌", " · ") if has_symbols else ("|/-\\", "=.", " - ")

    def render(self, width: int) -> Text:
        """As many parts as there is room for."""
        from rich.text import Text

        p = self._progress
        line = self._spinner[int(8 * p.elapsed) % len(self._spinner)] + " "
        for number, part in enumerate(p.parts()):
            added = (self._between if number else "") + part
            if number and cells(line + added) >= width:
                break
            line += added
        if p.share > 0.0 and cells(line) + _BAR + 3 < width:
            filled = round(_BAR * p.share)
            line += f"  {self._bar[0] * filled}{self._bar[1] * (_BAR - filled)}"
        return Text(line, no_wrap=True, overflow="crop", end="")
