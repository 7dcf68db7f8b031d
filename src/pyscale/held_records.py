"""What threads log, held back, so that a log does not depend on which of them was faster."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["HeldRecords", "held_records"]

T = TypeVar("T")


class HeldRecords(logging.Filter):
    """Keeps the records of tasks from handlers, and remembers their warnings."""

    def __init__(self) -> None:
        super().__init__()
        self._here = threading.local()
        self._of_task: dict[int, list[tuple[str, str]]] = {}

    def of_task(self, task: Callable[[int], T]) -> Callable[[int], T]:
        """Return a numbered task whose records are held, whatever thread runs it."""

        def held(number: int) -> T:
            self._here.messages = self._of_task.setdefault(number, [])
            try:
                return task(number)
            finally:
                self._here.messages = None

        return held

    def messages(self) -> list[str]:
        """Return the first warning of each kind in the order of the tasks, and how many more there are."""
        found: dict[str, list[str]] = {}
        for number in sorted(self._of_task):
            for kind, message in self._of_task[number]:
                found.setdefault(kind, []).append(message)
        return [m[0] + (f" (and {len(m) - 1} more like it)" if len(m) > 1 else "") for m in found.values()]

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is none of a task's."""
        messages: list[tuple[str, str]] | None = getattr(self._here, "messages", None)
        if messages is None:
            return True
        if record.levelno >= logging.WARNING and not getattr(record, "is_held", False):
            record.is_held = True  # another handler may ask about the same record
            messages.append((str(record.msg), record.getMessage()))
        return False


@contextmanager
def held_records(name: str) -> Iterator[HeldRecords]:
    """Keep what tasks log from the handlers of a logger and of those above it."""
    held = HeldRecords()
    handlers: list[logging.Handler] = [] if logging.lastResort is None else [logging.lastResort]
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        handlers += logger.handlers
        logger = logger.parent if logger.propagate else None
    for handler in handlers:
        handler.addFilter(held)
    try:
        yield held
    finally:
        for handler in handlers:
            handler.removeFilter(held)
