"""Data sets ready for scaling: rows of many of them in common arrays, with the fate of every row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .dataset import DataSet
from .integration import integrated_intensities
from .intensity_choice import IntegratedIntensities, combined_intensities
from .progress import checkpoint
from .reflections import ReflectionTable
from .typing import BoolArray, ByteArray, FloatArray, IndexArray, IntArray

__all__ = ["Fate", "PreparedDataSet", "PreparedRows", "blocks_of", "choose_intensities"]

_ALL = slice(None)


@dataclass(frozen=True)
class Fate:
    """What became of some rows: `kind` is filtered, user_excluded or rejected."""

    kind: str
    reason: str
    rows: BoolArray


@dataclass(kw_only=True, eq=False)
class PreparedRows:
    """The rows of several data sets, one after the other; all arrays have one element per row of `table`.

    Attributes
    ----------
    data_sets : sequence of DataSet
    table : ReflectionTable
        What of the input is left once partials are merged.
    offsets : (n_data_sets + 1,) int64
        First row of each data set.
    n_read : (n_data_sets,) int64
        Rows of the input; of files whose records were summed in reading, records.
    d_spacing : (n,) float64, Angstrom
        From the best unit cell of the job.
    image_z : (n,) float64
        Array coordinate of the centroid, where image k covers [k - 1, k].
    absent, was_outlier, suitable : (n,) bool
        See `PreparedDataSet`.
    imids : (n_data_sets,) float64
        Crossovers between profile-fitted and summed intensities.
    with_saturated_sums : bool
        Whether summed intensities of overloaded reflections are used.
    reasons : list of (kind, reason)
        Why rows left, in the order in which they did.
    fate : (n,) uint8
        Number of the reason, from 1; 0 for rows that stay.
    """

    data_sets: Sequence[DataSet]
    table: ReflectionTable
    offsets: IndexArray
    n_read: IndexArray
    d_spacing: FloatArray
    image_z: FloatArray
    absent: BoolArray
    was_outlier: BoolArray
    imids: FloatArray
    suitable: BoolArray
    fate: ByteArray
    with_saturated_sums: bool = True
    reasons: list[tuple[str, str]] = field(default_factory=list)
    given_factor: FloatArray | None = None
    _integrated: IntegratedIntensities | None = field(default=None, repr=False)
    _chosen: tuple[FloatArray, FloatArray] | None = field(default=None, repr=False)

    @property
    def integrated(self) -> IntegratedIntensities:
        """Both integration results."""
        if self._integrated is None:
            self._integrated = integrated_intensities(self.table, with_saturated_sums=self.with_saturated_sums)
        return self._integrated

    @property
    def chosen(self) -> tuple[FloatArray, FloatArray]:
        """Intensity and variance with the crossover, two (n,) float64."""
        if self._chosen is None:
            integrated = self.integrated
            checkpoint()
            self._chosen = combined_intensities(integrated, self.spread(self.imids))
        return self._chosen

    def choose_intensities(self, imids: FloatArray) -> None:
        """Take the intensities of other crossovers between profile fitting and summation, (n_data_sets,) float64."""
        if (imids != self.imids).any():
            self.imids, self._chosen = imids, None

    def factors(self) -> FloatArray:
        """Factor of g that is known beforehand, (n,) float64."""
        return np.ones(len(self.table)) if self.given_factor is None else self.given_factor

    def forget_intensities(self) -> None:
        """Free the memory of what can be computed again from the table."""
        self._integrated = self._chosen = None

    def numbers(self) -> IntArray:
        """Number of the data set of each row, (n,) int32."""
        return np.repeat(np.arange(len(self.data_sets), dtype=np.int32), np.diff(self.offsets))

    def spread(self, per_data_set: FloatArray) -> FloatArray:
        """A quantity of the data sets for each row: (n,), or () where it is the same for all."""
        first = per_data_set[:1]
        if (per_data_set == first).all():
            return np.asarray(first[0] if first.size else 0.0)
        return np.repeat(per_data_set, np.diff(self.offsets))

    def discard(self, kind: str, reason: str, rows: BoolArray, part: slice = _ALL) -> None:
        """Take rows (of a part) out for a reason; those already gone keep their first one."""
        rows = rows & self.suitable[part]
        if not rows.any():
            return
        self.suitable[part] &= ~rows
        self.fate[part][rows] = self._number_of(kind, reason)

    def attribute(self, kind: str, reason: str, to: str, rows: BoolArray, part: slice = _ALL) -> None:
        """Give those of some rows (of a part) that left for one reason another one of the same kind."""
        if (kind, reason) in self.reasons:
            rows = rows & (self.fate[part] == self._number_of(kind, reason))
            if rows.any():
                self.fate[part][rows] = self._number_of(kind, to)

    def _number_of(self, kind: str, reason: str) -> int:
        if (kind, reason) not in self.reasons:
            self.reasons.append((kind, reason))
        return 1 + self.reasons.index((kind, reason))

    def counts(self) -> IndexArray:
        """How many rows of each data set left for each reason, (n_data_sets, n_reasons) int64."""
        n = len(self.reasons) + 1
        key = self.numbers().astype(np.int64) * n + self.fate
        return np.bincount(key, minlength=n * len(self.data_sets)).reshape(-1, n)[:, 1:]


class PreparedDataSet:
    """A data set ready for scaling: its part of the rows that were prepared together.

    Attributes
    ----------
    block : PreparedRows
        The rows.
    number : int
        Position of the data set among those of the block.
    part : slice
        Its rows.
    """

    def __init__(self, block: PreparedRows, number: int) -> None:
        self.block, self.number = block, number
        self.part = slice(int(block.offsets[number]), int(block.offsets[number + 1]))

    @property
    def data_set(self) -> DataSet:
        """The data set."""
        return self.block.data_sets[self.number]

    @property
    def identifier(self) -> str:
        """Identifier of the data set."""
        return self.data_set.identifier

    @property
    def table(self) -> ReflectionTable:
        """Its rows of the table; columns that are replaced in it are not replaced in the block."""
        table = self.block.table.select(self.part)
        table.source = self.data_set.reflections.source
        return table

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.part.stop - self.part.start

    @property
    def integrated(self) -> IntegratedIntensities:
        """Both integration results."""
        return self.block.integrated.part(self.part)

    @property
    def intensity(self) -> FloatArray:
        """The chosen intensity after Lorentz-polarisation, efficiency and partiality, before division by g, (n,)."""
        return self.block.chosen[0][self.part]

    @property
    def variance(self) -> FloatArray:
        """Its variance, (n,) float64."""
        return self.block.chosen[1][self.part]

    @property
    def d_spacing(self) -> FloatArray:
        """Resolution from the best unit cell of the job, (n,) float64, Angstrom."""
        return self.block.d_spacing[self.part]

    @property
    def image_z(self) -> FloatArray:
        """Array coordinate of the centroid, where image k covers [k - 1, k], (n,) float64."""
        return self.block.image_z[self.part]

    @property
    def suitable(self) -> BoolArray:
        """Rows that may take part in the fit and get a scale, (n,) bool."""
        return self.block.suitable[self.part]

    @property
    def absent(self) -> BoolArray:
        """Systematic absences: they get a scale, but are neither fitted nor merged, and flagged as excluded."""
        return self.block.absent[self.part]

    @property
    def was_outlier(self) -> BoolArray:
        """Rows that an earlier job rejected; they are judged anew. (n,) bool."""
        return self.block.was_outlier[self.part]

    @property
    def given_factor(self) -> FloatArray:
        """Factor of g that is known beforehand: the column `analytical_correction`, 1 without it. (n,) float64."""
        return self.block.factors()[self.part]

    @property
    def n_read(self) -> int:
        """Rows read."""
        return int(self.block.n_read[self.number])

    @property
    def n_partials_merged(self) -> int:
        """How many of them went into other rows."""
        return self.n_read - self.n_rows

    @property
    def fates(self) -> list[Fate]:
        """Disjoint sets of rows that left, in the order in which they did."""
        fate = self.block.fate[self.part]
        found = [(self.block.reasons[k - 1], fate == k) for k in np.unique(fate[fate > 0]).tolist()]
        return [Fate(kind, reason, rows) for (kind, reason), rows in found]

    def coordinates(self, rows: BoolArray) -> dict[str, FloatArray]:
        """Coordinates along which corrections may vary, of some rows."""
        centroid = self.table.centroids()
        return {
            "image_z": self.image_z[rows],
            "inv_d2": 1.0 / self.d_spacing[rows] ** 2,
            "x_px": centroid[rows, 0],
            "y_px": centroid[rows, 1],
        }

    def use_analytical_correction(self) -> None:
        """Take the column `analytical_correction` as a factor of g; rows without a positive one leave.

        Raises
        ------
        DataError
            If there is no such column.
        """
        factor = np.asarray(self.table.require("analytical_correction"), dtype=np.float64)
        with np.errstate(invalid="ignore"):
            sound = np.isfinite(factor) & (factor > 0)
        self.block.given_factor = self.block.factors()
        self.block.given_factor[self.part] = np.where(sound, factor, 1.0)
        self.discard("filtered", "no_analytical_correction", ~sound)

    def discard(self, kind: str, reason: str, rows: BoolArray) -> None:
        """Take rows out for a reason; those already gone keep their first one."""
        self.block.discard(kind, reason, rows, self.part)


def blocks_of(prepared: Sequence[PreparedDataSet]) -> list[PreparedRows]:
    """The rows of all data sets of a job, in their order."""
    return list({id(p.block): p.block for p in prepared}.values())


def choose_intensities(prepared: Sequence[PreparedDataSet], imids: FloatArray) -> None:
    """Take the intensities of other crossovers for the data sets of a job, (n_data_sets,) float64."""
    numbers: dict[int, list[int]] = {}
    for k, p in enumerate(prepared):
        numbers.setdefault(id(p.block), []).append(k)
    for chosen in numbers.values():
        block = prepared[chosen[0]].block
        of_block = block.imids.copy()
        of_block[[prepared[k].number for k in chosen]] = imids[chosen]
        block.choose_intensities(of_block)
