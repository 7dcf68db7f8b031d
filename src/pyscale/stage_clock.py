"""Wall seconds per stage of a job, and who is told which stage begins."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .progress import report_progress

__all__ = ["StageClock"]

_logger = logging.getLogger(__name__)

_STAGES = {
    "read": (0.0, "reading files"),
    "prepare": (0.02, "preparing observations"),
    "select": (0.1, "finding reflections in common"),
    "fit": (0.0, "fitting scales"),
    "model_choice": (0.0, "comparing models"),
    "limits": (0.7, "finding resolution limits"),
    "statistics": (0.75, "merging statistics"),
    "analyses": (0.8, "analyses of the scaled data"),
}
"""Where in the job (fit and model_choice: in that part of it) a stage begins, and what it does."""


@dataclass
class StageClock:
    """Wall seconds per stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, shown: str | None = None) -> Iterator[None]:
        """Count the time of a block for a stage of progress (`shown`, if that differs), and begin a part of the log.

        Raises
        ------
        Cancelled
            Before the block, if this thread was asked to stop.
        """
        fraction, message = _STAGES[shown or name]
        report_progress(shown or name, fraction, message)
        _logger.info(message.capitalize(), extra={"stage": shown or name})
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
