"""Statistics along the images of each sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..plain_numbers import plain_list
from ..typing import FloatArray, IndexArray
from .agreement import Agreement, Pairs
from .scaled_data import ScaledData

__all__ = ["ByImage", "ImageBins", "by_image"]

#: Bins of one sweep, and of all sweeps of a job, at most.
MAX_BINS, MAX_BINS_OF_JOB = 360, 20_000
_DIGITS = 5


@dataclass(frozen=True)
class ImageBins:
    """Runs of consecutive images of about equal length, those of sweep s from `offsets[s]` on.

    Attributes
    ----------
    data_set : (n_sweeps,) int64
        Data set of each sweep: those with a scan, if they are few enough for bins at all.
    offsets : (n_sweeps + 1,) int64
    first, last : (n_bins,) int64
        Images, counted as in the experiment.
    of_row : (n,) int64
        Bin of each row, -1 for none.
    """

    data_set: IndexArray
    offsets: IndexArray
    first: IndexArray
    last: IndexArray
    of_row: IndexArray

    def __len__(self) -> int:
        return int(self.first.size)

    @classmethod
    def of(cls, data: ScaledData) -> ImageBins:
        """Divide the images of all sweeps."""
        experiments = [p.data_set.experiment for p in data.prepared]
        sweeps = [
            k
            for k, e in enumerate(experiments)
            if not e.is_still and e.image_range is not None and e.image_range[1] > e.image_range[0]
        ]
        if len(sweeps) > MAX_BINS_OF_JOB // 2:
            sweeps = []
        images = np.array([experiments[k].image_range for k in sweeps], np.int64).reshape(-1, 2)
        n_images = images[:, 1] - images[:, 0] + 1
        n_bins = np.minimum(n_images, min(MAX_BINS, MAX_BINS_OF_JOB // max(len(sweeps), 1)))
        offsets = np.concatenate([[0], np.cumsum(n_bins)]).astype(np.int64)
        sweep = np.repeat(np.arange(len(sweeps)), n_bins)
        k = np.arange(offsets[-1]) - offsets[sweep]
        # Bin k begins with image ceil(k n / m) of the sweep: the first that falls into it below.
        first = -(-k * n_images[sweep] // n_bins[sweep])
        following = -(-(k + 1) * n_images[sweep] // n_bins[sweep])
        of_row = _bins_of_rows(data, sweeps, images, n_bins, offsets)
        data_set = np.array(sweeps, np.int64)
        return cls(data_set, offsets, images[sweep, 0] + first, images[sweep, 0] + following - 1, of_row)


def _bins_of_rows(
    data: ScaledData, sweeps: Sequence[int], images: IndexArray, n_bins: IndexArray, offsets: IndexArray
) -> IndexArray:
    n_sets = len(data.prepared)
    before, n_images, bins, start = np.zeros(n_sets, np.int64), *np.ones((2, n_sets), np.int64), np.full(n_sets, -1)
    before[sweeps], n_images[sweeps] = images[:, 0] - 1, images[:, 1] - images[:, 0] + 1
    bins[sweeps], start[sweeps] = n_bins, offsets[:-1]
    at = data.observations.data_set
    image = np.clip(np.floor(data.observations.image_z).astype(np.int64) - before[at], 0, n_images[at] - 1)
    result: IndexArray = np.where(start[at] >= 0, start[at] + image * bins[at] // n_images[at], -1)
    return result


@dataclass(frozen=True, kw_only=True)
class ByImage:
    """Statistics of runs of images, each array (n_bins,); NaN where a run defines nothing.

    Attributes
    ----------
    bins : ImageBins
    identifier : sequence of str
        Of each sweep.
    n_obs : int64
        Merged observations.
    scale, relative_b : float64
        K and B (A^2) of ln g = ln K + B / (2 d^2) over the observations.
    i_over_sigma : float64
        Mean of I/sigma of observations.
    r_merge : float64
        sum |I - <I>| / sum I with the means of all data sets.
    cc : float64
        Correlation of observations with the mean of the others of their group.
    rejected : float64
        Share of outliers, 0 to 1.
    mean_deviation : float64
        Mean deviation from the mean of the others of a group, as in `Parts.mean_deviation`.
    completeness : float64
        Of all images of the sweep up to here, 0 to 1.
    """

    bins: ImageBins
    identifier: Sequence[str]
    n_obs: IndexArray
    scale: FloatArray
    relative_b: FloatArray
    i_over_sigma: FloatArray
    r_merge: FloatArray
    cc: FloatArray
    rejected: FloatArray
    mean_deviation: FloatArray
    completeness: FloatArray

    def to_dict(self) -> dict[str, Any]:
        """Columns with a value for each run of images, by sweep."""
        names = [f.name for f in fields(self) if f.name not in ("bins", "identifier")]
        edges = list(zip(self.bins.offsets[:-1].tolist(), self.bins.offsets[1:].tolist(), strict=True))
        return {
            "sweeps": [
                {
                    "identifier": identifier,
                    "first_image": plain_list(self.bins.first[begin:end]),
                    "last_image": plain_list(self.bins.last[begin:end]),
                    **{name: plain_list(getattr(self, name)[begin:end], _DIGITS) for name in names},
                }
                for identifier, (begin, end) in zip(self.identifier, edges, strict=True)
            ]
        }

    def text(self) -> str:
        """Return nothing: the report draws it."""
        return ""

    def warnings(self) -> list[str]:
        """Return nothing."""
        return []


def by_image(data: ScaledData, agreement: Agreement, pairs: Pairs, bins: ImageBins) -> ByImage | None:
    """Compute the statistics of the images of all sweeps at once; None without sweeps."""
    if len(bins) == 0:
        return None
    parts = agreement.over(bins.of_row, len(bins))
    scale, relative_b = parts.scale_and_b()
    return ByImage(
        bins=bins,
        identifier=[data.prepared[k].identifier for k in bins.data_set.tolist()],
        n_obs=parts.n_obs,
        scale=scale,
        relative_b=relative_b,
        i_over_sigma=parts.i_over_sigma(),
        r_merge=parts.r_merge(),
        cc=parts.correlation(),
        rejected=parts.rejected(),
        mean_deviation=parts.mean_deviation(),
        completeness=_cumulative_completeness(data, pairs, bins),
    )


def _cumulative_completeness(data: ScaledData, pairs: Pairs, bins: ImageBins) -> FloatArray:
    """Share of the possible reflections that a sweep has measured up to the end of each run of images."""
    first = pairs.first(bins.of_row.astype(np.float64))
    seen = np.cumsum(np.bincount(first[first >= 0].astype(np.int64), minlength=len(bins)))
    before = np.concatenate([[0], seen])[bins.offsets[:-1]]
    own = seen - np.repeat(before, np.diff(bins.offsets))
    completeness: FloatArray = own / max(data.statistics.overall.n_possible, 1)
    return completeness
