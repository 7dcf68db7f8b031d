"""Libraries that take long to load, loaded when they are first needed."""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any

from .progress import checkpoint

__all__ = ["slow_import"]

_BETWEEN_POLLS = 0.05


def slow_import(name: str) -> Any:
    """Return a module; a job that loads it first can be stopped meanwhile (scipy.ndimage takes 0.4 s).

    Raises
    ------
    Cancelled
        If this thread was asked to stop; the module is loaded all the same.
    """
    if name not in sys.modules:
        thread = threading.Thread(target=importlib.import_module, args=(name,), name=f"pyscale-import-{name}")
        thread.start()
        while thread.is_alive():
            thread.join(_BETWEEN_POLLS)
            checkpoint()
    return importlib.import_module(name)
