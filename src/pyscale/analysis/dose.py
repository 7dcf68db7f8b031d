"""The dose that sweeps had taken up when their observations were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..typing import FloatArray, IndexArray
from .scaled_data import ScaledData

__all__ = ["Doses", "doses_of"]


@dataclass(frozen=True, kw_only=True)
class Doses:
    """Doses of the sweeps of a job; arrays over its data sets, (n_data_sets,).

    Attributes
    ----------
    identifier : sequence of str
    series : int64
        Equivalents are compared within a series: a sweep, or all sweeps of one crystal; -1 for stills.
    start, per_image : float64
        Dose before the first image, and of one image.
    images : (n_data_sets, 2) int64
        First and last image.
    unit : str
    shared : bool
        Whether all sweeps are of one crystal.
    """

    identifier: Sequence[str]
    series: IndexArray
    start: FloatArray
    per_image: FloatArray
    images: IndexArray
    unit: str
    shared: bool

    @property
    def n_images(self) -> int:
        """Images of the longest sweep."""
        length = self.images[:, 1] - self.images[:, 0] + 1
        return int(length[self.series >= 0].max(initial=0))

    @property
    def end(self) -> FloatArray:
        """Dose after the last image, (n_data_sets,) float64."""
        end: FloatArray = self.start + self.per_image * (self.images[:, 1] - self.images[:, 0] + 1)
        return end

    @property
    def first(self) -> float:
        """The least dose of all sweeps."""
        return float(self.start[self.series >= 0].min())

    @property
    def span(self) -> float:
        """Dose from the least to the greatest of all sweeps."""
        return float(self.end[self.series >= 0].max()) - self.first

    def of_rows(self, data: ScaledData) -> FloatArray:
        """Dose at the centroid of each observation, (n,) float64."""
        at = data.observations.data_set
        dose: FloatArray = self.start[at] + self.per_image[at] * (data.observations.image_z - (self.images[at, 0] - 1))
        return dose

    def excluding(self, share: float) -> str:
        """Return the option that leaves out what came after a share of the dose."""
        limit = self.first + share * self.span
        commands = []
        for k in np.flatnonzero((self.series >= 0) & (self.end > limit)).tolist():
            first, last = self.images[k].tolist()
            kept = int(max(0.0, (limit - self.start[k]) / self.per_image[k])) if self.per_image[k] > 0 else 0
            if first + kept <= last:
                commands.append(f"exclude_images={self.identifier[k]}:{first + kept}:{last}")
        return " ".join(commands[:3]) + (" ..." if len(commands) > 3 else "")


def doses_of(data: ScaledData) -> Doses | None:
    """Doses by the options; None without sweeps.

    One unit for each image unless `dose_decay.dose_per_image` tells; sweeps of one crystal (`same_crystal=True`) follow
    each other unless `dose_decay.dose_at_start` tells.
    """
    options, experiments = data.options, [p.data_set.experiment for p in data.prepared]
    n = len(experiments)
    images = np.array([e.image_range or (0, -1) if not e.is_still else (0, -1) for e in experiments], np.int64)
    is_sweep = images[:, 1] > images[:, 0]
    if not is_sweep.any():
        return None
    per_image = _of_data_sets(options.dose_decay.dose_per_image, n, 1.0)
    shared = options.same_crystal is True
    taken_up = np.where(is_sweep, per_image * (images[:, 1] - images[:, 0] + 1), 0.0)
    if not (taken_up[is_sweep] > 0).all():
        return None
    start = np.concatenate([[0.0], np.cumsum(taken_up)[:-1]]) if shared else np.zeros(n)
    if options.dose_decay.dose_at_start is not None:
        start = _of_data_sets(options.dose_decay.dose_at_start, n, 0.0)
    return Doses(
        identifier=[p.identifier for p in data.prepared],
        series=np.where(is_sweep, 0 if shared else np.arange(n), -1).astype(np.int64),
        start=start,
        per_image=per_image,
        images=images,
        unit="images" if options.dose_decay.dose_per_image is None else "the unit of dose_per_image",
        shared=shared,
    )


def _of_data_sets(given: tuple[float, ...] | None, n: int, default: float) -> FloatArray:
    """One value for each data set, of one for all."""
    values = np.array(given or (default,), np.float64)
    return np.full(n, values[0]) if values.size != n else values
