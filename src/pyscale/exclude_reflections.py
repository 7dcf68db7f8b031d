"""Resolution shells and detector regions that are left out of a job."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .dataset_selection import DataSetNames, split_words
from .errors import DataError, UsageError
from .prepared import PreparedDataSet
from .typing import BoolArray

__all__ = ["DetectorRegion", "ResolutionShell", "exclude_reflections", "parse_regions", "parse_shells"]

_logger = logging.getLogger(__name__)

_NUMBER = r"[+-]?\d{1,9}(?:\.\d{0,9})?"
_SHELL = re.compile(rf"({_NUMBER}):({_NUMBER})", re.ASCII)
_REGION = re.compile(rf"(?:(.*):)?(\d{{1,6}}):({_NUMBER}):({_NUMBER}):({_NUMBER}):({_NUMBER})", re.ASCII | re.DOTALL)


@dataclass(frozen=True)
class ResolutionShell:
    """Reflections between two resolutions, both inclusive.

    Attributes
    ----------
    text : str
        As the user wrote it, with the name of the option.
    d_min, d_max : float
        Angstrom.
    """

    text: str
    d_min: float
    d_max: float

    reason = "exclude_resolution"

    def rows(self, p: PreparedDataSet) -> BoolArray:
        """Which rows of a data set are meant, (n,) bool."""
        with np.errstate(invalid="ignore"):
            result: BoolArray = (p.d_spacing >= self.d_min) & (p.d_spacing <= self.d_max)
        return result

    def check(self, prepared: Sequence[PreparedDataSet]) -> None:
        """Nothing about a shell depends on the data."""


@dataclass(frozen=True)
class DetectorRegion:
    """Reflections whose centroid lies in a rectangle of a detector's panel, edges included.

    Attributes
    ----------
    text : str
        As the user wrote it, with the name of the option.
    identifier : str or None
        The data set; None for all.
    panel : int
        Number of the panel, from 0.
    x, y : (float, float)
        Limits along the panel's fast and slow axis, pixels.
    """

    text: str
    identifier: str | None
    panel: int
    x: tuple[float, float]
    y: tuple[float, float]

    reason = "exclude_regions"

    def rows(self, p: PreparedDataSet) -> BoolArray:
        """Which rows of a data set are meant, (n,) bool."""
        if self.identifier not in (None, p.identifier) or self.panel >= len(p.data_set.experiment.panels):
            return np.zeros(len(p.table), dtype=np.bool_)
        centroid = p.table.centroids()
        with np.errstate(invalid="ignore"):
            inside: BoolArray = (
                (_panel(p) == self.panel)
                & (centroid[:, 0] >= self.x[0])
                & (centroid[:, 0] <= self.x[1])
                & (centroid[:, 1] >= self.y[0])
                & (centroid[:, 1] <= self.y[1])
            )
        return inside

    def check(self, prepared: Sequence[PreparedDataSet]) -> None:
        """Raise UsageError if no data set that is meant has such a place on its detector."""
        meant = [p for p in prepared if self.identifier in (None, p.identifier)]
        panels = [p.data_set.experiment.panels for p in meant]
        having = [each[self.panel] for each in panels if self.panel < len(each)]
        if meant and not having:
            raise UsageError(f"option {self.text}: the detector has only panels 0 to {max(map(len, panels)) - 1}")
        sizes = [_size(panel) for panel in having]
        if having and not any(
            self.x[1] >= 0 and self.y[1] >= 0 and self.x[0] <= w and self.y[0] <= h for w, h in sizes
        ):
            raise UsageError(
                f"option {self.text}: lies wholly outside panel {self.panel}, which has {sizes[0][0]:g} x "
                f"{sizes[0][1]:g} pixels"
            )


def _size(panel: dict[str, object]) -> tuple[float, float]:
    size = panel.get("image_size")
    if isinstance(size, list) and len(size) == 2 and all(type(n) in (int, float) for n in size):
        return float(size[0]), float(size[1])
    return math.inf, math.inf


def _panel(p: PreparedDataSet) -> np.ndarray:
    panel = p.table.get("panel")
    if panel is not None:
        return panel
    if len(p.data_set.experiment.panels) > 1:
        raise DataError(f"{p.table.source}: column 'panel' is missing, which exclude_regions needs")
    return np.zeros(len(p.table), dtype=np.uint64)


def parse_shells(texts: Sequence[str]) -> list[ResolutionShell]:
    """Read resolution shells `d:d` in Angstrom, the limits in any order.

    Raises
    ------
    UsageError
        If a text has another form, or is no shell.
    """
    shells = []
    for word in split_words(texts):
        text = f"cut_data.exclude_resolution={word[:60]}"
        match = _SHELL.fullmatch(word)
        if match is None:
            raise UsageError(f"option {text}: expected two resolutions in Angstrom, for example 3.93:3.87")
        low, high = sorted(float(limit) for limit in match.groups())
        if low <= 0 or low == high:
            reason = "resolutions are positive" if low <= 0 else "the shell has no width"
            raise UsageError(f"option {text}: {reason}")
        shells.append(ResolutionShell(text, low, high))
    return shells


def parse_regions(texts: Sequence[str], names: DataSetNames) -> list[DetectorRegion]:
    """Read detector regions `panel:x_min:x_max:y_min:y_max` in pixels, with `data set:` in front for one only.

    Raises
    ------
    UsageError
        If a text has another form, a limit is back to front, or there is no such data set.
    """
    regions = []
    for word in split_words(texts):
        option = "cut_data.exclude_regions"
        text = f"{option}={word[:60]}"
        match = _REGION.fullmatch(word)
        if match is None:
            raise UsageError(f"option {text}: expected panel:x_min:x_max:y_min:y_max in pixels, or data set: before it")
        label, panel = match[1], int(match[2])
        x_min, x_max, y_min, y_max = (float(limit) for limit in match.groups()[2:])
        if x_min >= x_max or y_min >= y_max:
            raise UsageError(f"option {text}: each upper limit must be greater than its lower one")
        everywhere = label is None or (label == "*" and label not in names.identifiers)
        identifier = None if everywhere else names.identifiers[names.position(label, option)]
        regions.append(DetectorRegion(text, identifier, panel, (x_min, x_max), (y_min, y_max)))
    return regions


def exclude_reflections(
    prepared: Sequence[PreparedDataSet], commands: Sequence[ResolutionShell | DetectorRegion]
) -> None:
    """Take reflections out of prepared data sets, and tell in the log what each command removed.

    Raises
    ------
    UsageError
        If a region lies on no detector.
    """
    for command in commands:
        command.check(prepared)
        n_removed = 0
        for p in prepared:
            rows = command.rows(p)
            n_removed += int((rows & p.suitable).sum())
            p.discard("user_excluded", command.reason, rows)
        if n_removed:
            _logger.info("%s: removed %d reflections", command.text, n_removed)
        else:
            _logger.info("%s: no reflection was there to remove", command.text, extra={"notice": True})
