"""What data sets lack, and which models and corrections that rules out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import DataError
from .experiment import Experiment
from .input_checks import without_beam_direction
from .reflections import ReflectionTable

__all__ = ["missing_for_models"]

_NEEDED = {"miller_index": "Miller indices", "flags": "flags of integration"}


def missing_for_models(experiments: Sequence[Experiment], tables: Sequence[ReflectionTable]) -> list[str]:
    """Sentences on what data sets lack for which model, each with how many of them lack it; empty: nothing is missing.

    Parameters
    ----------
    experiments, tables
        Of each data set.
    """
    found: dict[str, int] = {}
    for experiment, table in zip(experiments, tables, strict=True):
        for lack in _lacks(experiment, table):
            found[lack] = found.get(lack, 0) + 1
    n = len(experiments)
    return [text if count == n else f"{text} ({count} of {n} data sets)" for text, count in found.items()]


def _lacks(experiment: Experiment, table: ReflectionTable) -> list[str]:
    lacks = [f"no {what} (column {name}): nothing can be scaled" for name, what in _NEEDED.items() if name not in table]
    if not any({f"intensity.{x}.value", f"intensity.{x}.variance"} <= set(table.names()) for x in ("prf", "sum")):
        lacks.append("no intensities with variances: nothing can be scaled")
    if experiment.crystal is None:
        lacks.append("no unit cell: nothing can be scaled")
    elif "space_group_hall_symbol" not in experiment.crystal:
        lacks.append("no space group: nothing can be scaled")
    if _is_still(experiment):
        lacks.append("no rotation angles: model=KB, one scale and one B, is the only one possible")
    elif "s1" not in table or without_beam_direction(table).all():
        lacks.append("no directions of diffracted beams (s1): no absorption surface")
    if not _has_places(table):
        lacks.append("no places on the detector: no absorption and modulation of model=array, no exclude_regions")
    return lacks


def _is_still(experiment: Experiment) -> bool:
    try:
        return experiment.is_still
    except DataError:
        return False


def _has_places(table: ReflectionTable) -> bool:
    try:
        return len(table) == 0 or bool(np.isfinite(table.centroids()[:, :2]).all(axis=1).any())
    except DataError:
        return False
