"""The result of merging: numbers for programs, files, and a summary for people."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._core import __version__
from .data_frames import ColumnSource
from .errors import UsageError
from .io.atomic import OutputSet
from .io.merged_mtz import merged_data_sets_mtz
from .io.mtz import write_mtz
from .merged_data_set import MergedDataSet
from .merging import MergedReflections
from .notebook import merge_html, merge_line
from .options.merge import MergeOptions
from .preparation import UnitCell
from .scaled_rows import ScaledRows
from .screw_axes import ScrewAssessment
from .statistics_data import MergingStatistics
from .statistics_text import shell_table, summary_table
from .typing import IndexArray, IntArray

__all__ = ["FreeFlags", "MergeResult"]

JSON_VERSION = 1
#: Shorter wavelengths (Å) are of electrons.
_ELECTRONS = 0.1


@dataclass(frozen=True)
class FreeFlags:
    """Free-R flags of all reflections in any of the merged data sets.

    Attributes
    ----------
    miller_index : (n, 3) int32
        One of all equivalents, as in `MergedReflections`.
    flag : (n,) int64
        0 is free; -1 without a flag.
    n_sets : int
    source : str
        Where they come from.
    """

    miller_index: IntArray
    flag: IndexArray
    n_sets: int
    source: str

    @property
    def n_free(self) -> int:
        """Number of free reflections."""
        return int(np.count_nonzero(self.flag == 0))

    def of(self, miller_index: IntArray) -> IndexArray:
        """Flags of some of the reflections (m, 3), in their order, (m,) int64; -1 without one."""
        known, asked = (
            np.ascontiguousarray(h, np.int32).view([("", np.int32)] * 3).ravel()
            for h in (self.miller_index, miller_index)
        )
        order = np.argsort(known)
        at = order[np.minimum(np.searchsorted(known, asked, sorter=order), known.size - 1)]
        return np.where(known[at] == asked, self.flag[at], -1)


@dataclass(kw_only=True, repr=False)
class MergeResult(ColumnSource):
    """What merging found.

    Attributes
    ----------
    options : MergeOptions
    unit_cell, space_group
    rows : ScaledRows
        The observations, and what was left out.
    data_sets : list of MergedDataSet
        One for each wavelength, in ascending order of it.
    scale_errors : str
        common or independent.
    free_flags : FreeFlags or None
    screw_axes : ScrewAssessment or None
    seconds : dict of str to float
        Wall seconds per stage.
    """

    options: MergeOptions
    unit_cell: UnitCell
    space_group: Any
    rows: ScaledRows
    data_sets: list[MergedDataSet]
    scale_errors: str
    free_flags: FreeFlags | None = None
    screw_axes: ScrewAssessment | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return merge_line(self)

    def _repr_html_(self) -> str:
        return merge_html(self)

    @property
    def merged(self) -> MergedReflections:
        """Merged reflections where there is one wavelength; else see `data_sets`.

        Raises
        ------
        UsageError
            If there are several.
        """
        return self._only().merged

    @property
    def statistics(self) -> MergingStatistics:
        """Merging statistics, likewise."""
        return self._only().statistics

    def _only(self) -> MergedDataSet:
        if len(self.data_sets) > 1:
            raise UsageError(f"there are {len(self.data_sets)} wavelengths: take one of data_sets")
        return self.data_sets[0]

    def to_columns(self) -> dict[str, NDArray[Any]]:
        """Return merged reflections of all wavelengths, one after the other, each column (n,).

        `h`, `k`, `l`, `wavelength` (Å), the arrays of `MergedReflections` and, where they were made, those of
        `Amplitudes` and `free_flag` (-1 without one).
        """
        parts = [self._columns(d) for d in self.data_sets]
        return {name: np.concatenate([part[name] for part in parts if name in part]) for name in parts[0]}

    def _columns(self, d: MergedDataSet) -> dict[str, NDArray[Any]]:
        columns = d.merged.to_columns()
        columns["wavelength"] = np.full(len(d.merged), d.wavelength)
        if all(other.amplitudes is not None for other in self.data_sets):
            amplitudes = vars(d.amplitudes)
            columns |= {name if "amplitude" in name else f"amplitude_{name}": v for name, v in amplitudes.items()}
        if self.free_flags is not None:
            columns["free_flag"] = self.free_flags.of(d.merged.miller_index)
        return columns

    @property
    def n_merged(self) -> int:
        """Number of observations that were merged."""
        return sum(int(d.merged.n_obs.sum()) for d in self.data_sets)

    @property
    def left_out(self) -> dict[str, int]:
        """How many rows were not merged, by reason."""
        absences = len(self.rows.intensity) - self.n_merged
        return self.rows.left_out | ({"systematic_absence": absences} if absences else {})

    def write_mtz(self, path: str | os.PathLike[str]) -> None:
        """Write a merged MTZ file, whole or not at all; an existing one is replaced.

        Raises
        ------
        UsageError
            If it cannot be written.
        """
        with OutputSet() as outputs:
            self._write_mtz(outputs.stage(path))

    def _write_mtz(self, path: Path) -> None:
        stamp = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
        flags = None if self.free_flags is None else (self.free_flags.miller_index, self.free_flags.flag)
        mtz = merged_data_sets_mtz(
            self.data_sets,
            self.space_group,
            project=self.options.output.project_name,
            anomalous=self.options.anomalous,
            free_flags=flags,
            history=[f"From pyscale {__version__}, merged on {stamp}"],
        )
        write_mtz(path, mtz)

    def write_outputs(
        self, output: Any, inputs: Iterable[str | os.PathLike[str]] = (), named_outputs: Collection[str] = ()
    ) -> None:
        """Write all files that the options ask for, all or none.

        Raises
        ------
        UsageError
            If an output cannot be written or would overwrite an input that is not named as output.
        """
        from .exports import write_json

        reference = self.options.r_free_flags.reference
        with OutputSet([*inputs, *([reference] if reference else [])]) as outputs:
            if output.mtz is not None:
                self._write_mtz(outputs.stage(output.mtz, named_as_output="output.mtz" in named_outputs))
            if output.json is not None:
                path = outputs.stage(output.json, named_as_output="output.json" in named_outputs)
                write_json(self, path)

    def to_dict(self) -> dict[str, Any]:
        """The document that `output.json` holds."""
        flags = self.free_flags
        return {
            "version": JSON_VERSION,
            "program_version": __version__,
            "options": self.options.to_dict(),
            "unit_cell": list(self.unit_cell),
            "space_group": self.space_group.xhm(),
            "scale_errors": self.scale_errors,
            "ledger": {"read": self.rows.n_read, "left_out": self.left_out, "merged": self.n_merged},
            "wavelengths": [_data_set_document(d) for d in self.data_sets],
            "free_flags": None
            if flags is None
            else {"source": flags.source, "n_sets": flags.n_sets, "n_free": flags.n_free, "n": len(flags.flag)},
            "screw_axes": None if self.screw_axes is None else self.screw_axes.to_dict(),
            "seconds": self.seconds,
        }

    def summary(self) -> str:
        """Statistics and decisions as text."""
        lines = [self.counts()]
        for d in self.data_sets:
            lines += ["", f"Wavelength {d.wavelength:.5f} A, {len(d.data_sets)} data sets", *_tables(d, self.options)]
        if self.screw_axes is not None:
            lines += ["", "Screw axes", self.screw_axes.table()]
        return "\n".join([*lines, "", *self.remarks()])

    def counts(self) -> str:
        """How many rows were merged, and why not the others."""
        left = ", ".join(f"{n} {reason}" for reason, n in self.left_out.items())
        return f"{self.n_merged} of {self.rows.n_read} rows merged" + (f"; left out: {left}" if left else "")

    def remarks(self) -> list[str]:
        """Return what is to be said of screw axes and free-R flags."""
        lines = [] if self.screw_axes is None else self._verdict()
        if self.free_flags is not None:
            f = self.free_flags
            lines += [
                f"Free-R flags: {f.n_free} of {len(f.flag)} reflections are free (set 0 of {f.n_sets}); {f.source}"
            ]
        return lines

    def _verdict(self) -> list[str]:
        assert self.screw_axes is not None
        best, own = self.screw_axes.best, self.space_group.xhm()
        found_absent = any(axis.verdict == "absent" for axis in self.screw_axes.axes)
        if found_absent and min(d.wavelength for d in self.data_sets) < _ELECTRONS:
            return ["Electrons scatter more than once, which fills forbidden reflections: absent axes may be there"]
        if own in best or not self.screw_axes.is_certain:
            return []
        return [f"The files say {own}; the axial reflections {' or '.join(best)}: set it by space_group="]


def _data_set_document(d: MergedDataSet) -> dict[str, Any]:
    return {
        "wavelength": d.wavelength,
        "name": d.name,
        "crystal": d.crystal,
        "data_sets": list(d.data_sets),
        "n_reflections": len(d.merged.n_obs),
        "amplitudes": d.amplitudes is not None,
        "merging_statistics": d.statistics.to_dict(),
    }


def _tables(d: MergedDataSet, options: MergeOptions) -> list[str]:
    lines = ["Merging statistics by resolution bin", shell_table(d.statistics)]
    if options.merging.anomalous and d.statistics.anomalous is not None:
        lines += ["", "The same with I(+) and I(-) apart", shell_table(d.statistics.anomalous)]
    return [*lines, "", "Summary of merging statistics", summary_table(d.statistics)]
