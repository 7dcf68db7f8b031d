"""Observations whose scatter error models are found from."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pyscale import _core
from pyscale._equivalents import Repeated
from pyscale.error_model import ErrorModel, expected_intensity
from pyscale.outliers import find_outliers, leave_one_out_z
from pyscale.typing import BoolArray, FloatArray, IndexArray

__all__ = ["Equivalents", "needed_multiplicity"]

# Relative uncertainty of a strong group's mean up to which it is taken for the expected intensity, and the
# number of rows for which less multiplicity will do.
_MEAN_PRECISION, _ENOUGH = 0.15, 2000


@dataclass(frozen=True, kw_only=True)
class Equivalents:
    """Observations whose scatter is looked at, sorted by group.

    Attributes
    ----------
    intensity, variance, inverse_scale_factor, conversion : (n,) float64
        I and V = sigma^2 before division by g, and the intensity per count. Rows with g <= 0, V <= 0 or no finite
        value are not used.
    offsets, anomalous_offsets : (n_groups + 1,) int64
        Groups for expected intensities (Friedel mates together) and for the scatter (apart).
    excluded : (n,) bool
        Rows not to use, as outliers.
    n_threads : int
    """

    intensity: FloatArray
    variance: FloatArray
    inverse_scale_factor: FloatArray
    conversion: FloatArray
    offsets: IndexArray
    anomalous_offsets: IndexArray
    excluded: BoolArray
    n_threads: int = 1

    def weight(self, model: ErrorModel, expected: FloatArray) -> FloatArray:
        """1/sigma'^2, 0 for rows without a variance."""
        sigma_squared = model.sigma_squared(self.variance, expected, self.conversion, self.n_threads)
        weight: FloatArray = 1.0 / np.where(self.variance > 0, sigma_squared, np.inf)
        return weight

    def expected(self, weight: FloatArray, excluded: BoolArray) -> FloatArray:
        """Return expected unscaled intensities with some weights."""
        args = (self.intensity, weight, self.inverse_scale_factor, self.offsets)
        return expected_intensity(*args, excluded=excluded, n_threads=self.n_threads)

    def sample(self, one_in: int) -> tuple[Equivalents, IndexArray | None]:
        """Return one in so many whole groups, evenly over the indices, and their rows; None: all."""
        if one_in < 2:
            return self, None
        starts, sizes = self.offsets[:-1:one_in], np.diff(self.offsets)[::one_in]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        rows = np.repeat(starts - offsets[:-1], sizes) + np.arange(offsets[-1])
        number = np.searchsorted(self.anomalous_offsets, rows, side="right")
        last = np.flatnonzero(np.append(number[1:] != number[:-1], True)) + 1
        names = ("intensity", "variance", "inverse_scale_factor", "conversion", "excluded")
        part = replace(
            self,
            **{name: getattr(self, name)[rows] for name in names},
            offsets=offsets,
            anomalous_offsets=np.concatenate([[0], last]).astype(np.int64),
        )
        return part, rows

    def repeated(self, expected: FloatArray, excluded: BoolArray, needed: int) -> Repeated:
        """Rows of groups whose mean is precise enough to serve as expected intensity, if there are enough.

        That takes some multiplicity.

        A noisy mean in the place of I_e makes b too small and a too large (regression dilution).
        """
        args = (
            self.intensity,
            self.variance,
            self.inverse_scale_factor,
            expected,
            self.conversion,
            self.anomalous_offsets,
            excluded.view(np.uint8),
        )
        largest = int(np.diff(self.anomalous_offsets).max(initial=2))
        multiplicity = min(needed, largest)
        while multiplicity > 2:
            repeated = Repeated(*_core.repeated_observations(*args, multiplicity))
            if repeated.row.size >= _ENOUGH:
                return repeated
            multiplicity = max(2, multiplicity // 2)
        return Repeated(*_core.repeated_observations(*args, 2))

    def discordant(self, weight: FloatArray, zmax: float) -> BoolArray:
        """Outliers, and pairs that disagree, of which one cannot tell which is wrong."""
        args = (self.intensity, weight, self.inverse_scale_factor, self.offsets)
        outlier = find_outliers(*args, zmax=zmax, excluded=self.excluded, n_threads=self.n_threads)
        z = leave_one_out_z(*args, excluded=self.excluded | outlier, n_threads=self.n_threads)
        return outlier | (z > zmax)


def needed_multiplicity(model: ErrorModel) -> int:
    """Multiplicity at which the mean of a strong group may serve as expected intensity."""
    return max(2, math.ceil((model.a * model.b / _MEAN_PRECISION) ** 2))
