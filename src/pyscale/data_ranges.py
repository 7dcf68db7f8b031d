"""Ranges of the reflections of a data set: resolution, images, I/sigma."""

from __future__ import annotations

import numpy as np

from .errors import DataError
from .experiment import Experiment
from .integration import integrated
from .reflections import ReflectionTable
from .symmetry import d_spacing
from .typing import BoolArray, FloatArray

__all__ = ["data_set_ranges"]


def data_set_ranges(experiment: Experiment, table: ReflectionTable) -> list[str]:
    """Number of the data set, measured reflections, resolution, images, mean I/sigma, share of strong ones, as text."""
    i_over_sigma, measured = _i_over_sigma(table)
    return [
        str(experiment.index),
        str(int(measured.sum())),
        _resolution(experiment, table, measured),
        _images(experiment, table, measured),
        f"{i_over_sigma.mean():.2f}" if i_over_sigma.size else "-",
        f"{100.0 * np.mean(i_over_sigma > 3):.1f} %" if i_over_sigma.size else "-",
    ]


def _i_over_sigma(table: ReflectionTable) -> tuple[FloatArray, BoolArray]:
    """I/sigma of the reflections that have one, profile-fitted if possible; and which these are, (n,) bool."""
    measured = np.zeros(len(table), np.bool_)
    ratio = np.zeros(len(table))
    types = table.types()
    if types.get("flags") not in ("std::size_t", "int"):
        return ratio[:0], measured
    for which in ("sum", "prf"):
        names = [f"intensity.{which}.{x}" for x in ("value", "variance")]
        if all(types.get(name) == "double" for name in names):
            value, variance = (table[name] for name in names)
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                own = value / np.sqrt(variance)
                sound = integrated(table["flags"].astype(np.uint64), which) & np.isfinite(own) & (variance > 0)
            ratio[sound] = own[sound]
            measured |= sound
    return ratio[measured], measured


def _resolution(experiment: Experiment, table: ReflectionTable, measured: BoolArray) -> str:
    if experiment.crystal is None or table.types().get("miller_index") != "cctbx::miller::index<>":
        return "-"
    index = table["miller_index"][measured]
    index = np.ascontiguousarray(index[(index != 0).any(axis=1)])
    if not len(index):
        return "-"
    try:
        d = d_spacing(experiment.recalculated_unit_cell or experiment.unit_cell, index)
    except DataError:
        return "-"
    return f"{d.max():.2f} to {d.min():.2f} Å"


def _images(experiment: Experiment, table: ReflectionTable, measured: BoolArray) -> str:
    try:
        if experiment.is_still:
            return "-"
        z = table.centroids()[measured, 2]
    except DataError:
        return "-"
    z = z[np.isfinite(z)]
    return f"{int(np.floor(z.min())) + 1}-{int(np.floor(z.max())) + 1}" if z.size else "-"
