"""Observations of an unmerged MTZ file: records summed, with what makes each of them unusable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..flags import Flag
from ..options.importing import InputOptions
from ..typing import BoolArray, FloatArray, IndexArray, IntArray
from .imported import INPUT_FATES, InputDecision
from .mtz_partials import FRACTION_LIMITS, Parts, find_parts
from .mtz_scales import stored_factor

__all__ = ["Observations", "Records", "observations_of", "records_of"]

_LARGEST_INDEX, _LARGEST_BATCH = 2**15, 2**30
_LARGEST_VALUE = 1e30
_LARGEST_PART = 1e6
_INTENSITIES = (("I", "SIGI", "sum", Flag.integrated_sum), ("IPR", "SIGIPR", "prf", Flag.integrated_prf))
_CONSUMED = {"H", "K", "L", "M/ISYM", "M_ISYM", "I", "SIGI", "IPR", "SIGIPR", "XDET", "YDET", "MPART", "FRACTIONCALC"}
_WHOLE_NUMBERS = "BIYH"
_OVERLOADED = 16
"""Bit of FLAG: profile-fitted overload."""


@dataclass(frozen=True)
class Records:
    """The records of a file.

    Attributes
    ----------
    miller_index : (n, 3) int32
        As in the file, mostly in the asymmetric unit.
    m_isym, batch : (n,) int32
    data : (n, n_columns) float32
    kinds : mapping of str to str
        MTZ types of the columns by their labels, in their order.
    """

    miller_index: IntArray
    m_isym: IntArray
    batch: IntArray
    data: NDArray[np.float32]
    kinds: Mapping[str, str]

    @property
    def columns(self) -> dict[str, NDArray[np.float32]]:
        """All columns (n,) by their labels."""
        return dict(zip(self.kinds, self.data.T, strict=True))

    def get(self, label: str) -> FloatArray | None:
        """Return a column as (n,) float64, NaN where it holds nothing sensible, or None."""
        values = self.columns.get(label)
        if values is None:
            return None
        column = values.astype(np.float64)
        with np.errstate(invalid="ignore"):
            if not max(column.max(), -column.min()) <= _LARGEST_VALUE:
                column[~(np.abs(column) <= _LARGEST_VALUE)] = np.nan
        return column

    def arranged(self, rows: IndexArray) -> Records:
        """The records in another order."""
        index = self.miller_index.take(rows, axis=0)
        return Records(index, self.m_isym[rows], self.batch[rows], self.data.take(rows, axis=0), self.kinds)


@dataclass(frozen=True)
class Observations:
    """Observations, each of one record or of several partial ones.

    Attributes
    ----------
    miller_index : (n, 3) int32
        As in the file.
    isym, batch : (n,) int32
        Batch of the record with the largest fraction.
    complete : (n,) bool
    place : (n, 2) float64
        XDET and YDET; NaN where the file has none.
    angle : (n,) float64 or None
        ROT, degrees.
    columns : dict of str to array
        Columns of the reflection table that are ready.
    decisions : list of InputDecision
        Of the whole file.
    """

    miller_index: IntArray
    isym: IntArray
    batch: IntArray
    complete: BoolArray
    place: FloatArray
    angle: FloatArray | None
    columns: dict[str, NDArray[Any]]
    decisions: list[InputDecision] = field(default_factory=list)


def records_of(mtz: Any, path: str) -> Records:
    """Return the records of a `gemmi.Mtz`.

    Raises
    ------
    DataError
        If the file is merged, has no observations, or indices and batches that are no numbers.
    """
    try:
        kinds = {c.label: c.type for c in mtz.columns}
    except UnicodeDecodeError:
        raise DataError(f"{path}: labels of columns are no text; the MTZ file is corrupt") from None
    labels = list(kinds)
    isym = next((name for name in ("M/ISYM", "M_ISYM") if name in labels), None)
    if "BATCH" not in labels or isym is None:
        raise DataError(
            f"{path}: is a merged MTZ file (it has no columns M/ISYM and BATCH); scaling needs unmerged observations, "
            "while a merged file can be given as reference="
        )
    if not any(i in labels and sigma in labels for i, sigma, _, _ in _INTENSITIES):
        raise DataError(f"{path}: has neither columns I and SIGI nor IPR and SIGIPR ({', '.join(labels)})")
    data = np.asarray(mtz.array)
    if data.shape[1] != len(labels):
        raise DataError(f"{path}: two columns have the same label ({', '.join(c.label for c in mtz.columns)})")
    if not len(data):
        raise DataError(f"{path}: the MTZ file has no observations")
    columns = {label: data[:, k] for k, label in enumerate(labels)}
    index = np.stack([_whole(path, name, columns[name], _LARGEST_INDEX) for name in labels[:3]], axis=1)
    m_isym = _whole(path, isym, columns[isym], _LARGEST_BATCH)
    batch = _whole(path, "BATCH", columns["BATCH"], _LARGEST_BATCH)
    return Records(np.ascontiguousarray(index), m_isym, batch, data, kinds)


def _whole(path: str, label: str, values: NDArray[np.float32], largest: int) -> IntArray:
    values = np.ascontiguousarray(values)
    with np.errstate(invalid="ignore"):
        is_sound = max(values.max(), -values.min()) <= largest
        row = 0 if is_sound else int(np.argmin(np.abs(values) <= largest))
    if not is_sound:
        raise DataError(f"{path}: column {label} holds {values[row]:g} in record {row}; the file is corrupt")
    return np.rint(values).astype(np.int32)


def observations_of(records: Records, run: IntArray, options: InputOptions, history: list[str]) -> Observations:
    """Sum partials and say what cannot be used.

    Parameters
    ----------
    run : (n,) int32
        Number of the sweep of each record; those of a reflection are of one sweep.
    history
        Lines of the file's history, newest first, and its title.
    """
    fraction, mpart = records.get("FRACTIONCALC"), records.get("MPART")
    given = {
        name: np.clip(np.nan_to_num(values), -_LARGEST_PART, _LARGEST_PART)
        for name, values in (("FRACTIONCALC", fraction), ("MPART", mpart))
        if values is not None
    }
    # Batches of different sweeps must not follow each other.
    parts = find_parts(records.miller_index, records.m_isym, records.batch + run, given)
    if not parts.are_single:
        records, given = records.arranged(parts.rows), {name: values[parts.rows] for name, values in given.items()}
        parts = parts.arranged()
    weights = np.maximum(given.get("FRACTIONCALC", np.ones(len(run))), 0.0)
    factor, decisions = _factor(records, options, history)
    columns = _intensities(records, parts, factor)
    n_records = parts.n_records
    if (n_records > 1).any() or not parts.complete.all():
        columns["n_records"] = n_records
        decisions.append(_about_partials(parts, fraction is not None or mpart is not None))
    columns |= _passed_through(records, parts, factor is not None)
    if fraction is not None:
        columns["mtz.FRACTIONCALC"] = parts.sums(given["FRACTIONCALC"])
    decisions += _set_aside(columns, parts, records.get("FLAG"), options)
    missing = np.full(len(n_records), np.nan)
    x, y, angle = parts.means([records.get(label) for label in ("XDET", "YDET", "ROT")], weights)
    main = parts.main
    return Observations(
        miller_index=records.miller_index[main],
        isym=records.m_isym[main] % 256,
        batch=records.batch[main],
        complete=parts.complete,
        place=np.stack([missing if x is None else x, missing if y is None else y], axis=1),
        angle=angle,
        columns=columns,
        decisions=decisions,
    )


def _factor(
    records: Records, options: InputOptions, history: list[str]
) -> tuple[FloatArray | None, list[InputDecision]]:
    scale = records.get("SCALEUSED")
    if scale is None:
        return None, []
    intensity, sigma = records.get("I"), records.get("SIGI")
    if intensity is None or sigma is None:
        return None, []
    if options.stored_scale == "keep":
        reason = "option input.stored_scale: intensities are taken as they stand"
        return None, [InputDecision("stored_scale", "kept", reason)]
    factor, reason = stored_factor(intensity, sigma, scale, records.miller_index, history)
    return factor, [InputDecision("stored_scale", "none" if factor is None else "undone", reason)]


def _intensities(records: Records, parts: Parts, factor: FloatArray | None) -> dict[str, NDArray[Any]]:
    """Summed and profile-fitted intensities, variances, and flags of those that are valid."""
    columns: dict[str, NDArray[Any]] = {}
    flags = np.full(parts.starts.size, int(Flag.indexed | Flag.predicted), np.uint64)
    for label, sigma_label, which, bit in _INTENSITIES:
        value, sigma = records.get(label), records.get(sigma_label)
        if value is None or sigma is None:
            continue
        if factor is not None:
            value, sigma = value / factor, sigma / factor
        with np.errstate(invalid="ignore"):
            bad = ~(np.isfinite(value) & np.isfinite(sigma) & (sigma > 0))
        valid = ~parts.any(bad)
        columns[f"intensity.{which}.value"] = parts.sums(value)
        columns[f"intensity.{which}.variance"] = parts.sums(sigma**2)
        flags[valid] |= np.uint64(int(bit))
    columns["flags"] = flags
    return columns


def _about_partials(parts: Parts, is_checked: bool) -> InputDecision:
    n_incomplete = int((~parts.complete).sum())
    low, high = FRACTION_LIMITS
    text = f"{parts.rows.size} records are of {parts.starts.size} reflections"
    if not is_checked:
        text += "; without FRACTIONCALC and MPART all are taken to be complete"
    else:
        text += f", {n_incomplete} of them recorded incompletely (FRACTIONCALC adds up to less than {low} or more "
        text += f"than {high}, or parts are missing) and left out"
    return InputDecision("partials", "summed", text, is_warning=not is_checked)


def _set_aside(
    columns: dict[str, NDArray[Any]], parts: Parts, flag: FloatArray | None, options: InputOptions
) -> list[InputDecision]:
    """Mark what is incomplete or flagged in the columns `flags` and `input_fate`."""
    fate, decisions = np.zeros(parts.starts.size, np.int32), []
    if flag is not None:
        flagged = parts.any(flag > 0)
        overloaded = parts.any((np.clip(np.nan_to_num(flag), 0, 2**31).astype(np.int64) & _OVERLOADED) != 0)
        columns["flags"][overloaded] |= np.uint64(int(Flag.overloaded))
        n = int((flagged & parts.complete).sum())
        if options.flagged == "drop":
            fate[flagged] = INPUT_FATES["flagged_by_integration"]
        if n:
            verb = "left out" if options.flagged == "drop" else "kept"
            reason = f"{n} complete reflections have FLAG > 0 (background, gradient, overload or edge) and are {verb}"
            decisions.append(InputDecision("flagged", options.flagged, reason))
    fate[~parts.complete] = INPUT_FATES["incomplete"]
    if fate.any():
        columns["input_fate"] = fate
        columns["flags"][fate > 0] &= ~np.uint64(int(Flag.integrated))
    return decisions


def _passed_through(records: Records, parts: Parts, is_unscaled: bool) -> dict[str, NDArray[Any]]:
    """All other columns as `mtz.LABEL`, of the main record; NPART counts records."""
    columns: dict[str, NDArray[Any]] = {}
    skipped = _CONSUMED | ({"SCALEUSED", "SIGSCALEUSED"} if is_unscaled else set())
    for label, values in records.columns.items():
        if label in skipped:
            continue
        mine = values[parts.main]
        with np.errstate(invalid="ignore"):
            is_whole = records.kinds[label] in _WHOLE_NUMBERS and bool((np.abs(mine) < 2**24).all())
            columns[f"mtz.{label}"] = np.rint(mine).astype(np.int32) if is_whole else mine.astype(np.float64)
    if "mtz.NPART" not in columns and (parts.n_records > 1).any():
        columns["mtz.NPART"] = parts.n_records
    return columns
