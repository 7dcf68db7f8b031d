"""What integration says of each row: which intensities are valid, and both of them."""

from __future__ import annotations

import numpy as np

from .input_checks import scalable_intensity, scalable_variance
from .intensity_choice import IntegratedIntensities
from .reflections import Flag, ReflectionTable
from .typing import BoolArray, FloatArray

__all__ = ["column_or", "detector_efficiency", "has_any", "integrated", "integrated_intensities"]


def integrated(flags: np.ndarray, which: str) -> BoolArray:
    """Rows whose summed ("sum") or profile-fitted ("prf") intensity is valid, (n,) bool."""
    return has_any(flags, Flag.integrated_prf if which == "prf" else Flag.integrated_sum)


def has_any(flags: np.ndarray, bits: Flag) -> BoolArray:
    """Rows that have any of some bits, (n,) bool."""
    result: BoolArray = (flags & np.uint64(int(bits))) != 0
    return result


def column_or(table: ReflectionTable, name: str, default: float) -> FloatArray:
    """Return a column, or a constant in its place. (n,) float64."""
    values = table.get(name)
    if values is None:
        return np.full(len(table), default)
    return np.asarray(values, dtype=np.float64)


def detector_efficiency(table: ReflectionTable) -> FloatArray:
    """Quantum efficiency of the detector, from `qe` or the older `dqe`; 1 without either. (n,) float64."""
    return column_or(table, "qe" if "qe" in table else "dqe", 1.0)


def integrated_intensities(table: ReflectionTable, *, with_saturated_sums: bool = True) -> IntegratedIntensities:
    """Profile-fitted and summed intensities of each row, NaN where flags say that there is none.

    The summed intensity is divided by the partiality; where the table has `partiality.inv.variance`, that of 1/p
    is propagated. Sums of overloaded reflections are too low; they may be left out.
    """
    flags = table["flags"]
    nothing = np.full(len(table), np.nan)
    values = dict.fromkeys(("prf", "sum"), (nothing, nothing))
    for which in values:
        if f"intensity.{which}.value" in table:
            use = integrated(flags, which)
            if which == "sum" and not with_saturated_sums:
                use &= ~has_any(flags, Flag.overloaded)
            columns = (table[f"intensity.{which}.value"], table[f"intensity.{which}.variance"])
            values[which] = (np.where(use, columns[0], np.nan), np.where(use, columns[1], np.nan))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        partiality = column_or(table, "partiality", 1.0)
        total, variance = values["sum"]
        spread = total**2 * column_or(table, "partiality.inv.variance", 0.0)
        summation, summation_variance = total / partiality, variance / partiality**2 + spread
        sound = scalable_intensity(summation) & scalable_variance(summation_variance)
        return IntegratedIntensities(
            profile=values["prf"][0],
            profile_variance=values["prf"][1],
            summation=np.where(sound, summation, np.nan),
            summation_variance=np.where(sound, summation_variance, np.nan),
            conversion=column_or(table, "lp", 1.0) / detector_efficiency(table),
        )
