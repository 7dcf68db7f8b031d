"""How the relative B of a sweep's model changes along it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..scaling_model import DataSetModel
from ..typing import FloatArray, IndexArray
from .by_image import ByImage
from .dose import Doses
from .scaled_data import ScaledData

__all__ = ["Decay", "decay_lines", "decay_of_sweeps"]

#: A fall counts that exceeds so many standard errors and takes intensities at d_min to less than this part.
SIGNIFICANT, RELEVANT_PART = 4.0, 0.5
_LEAST_BINS = 5
_MOST_LISTED = 4
#: Waves that a line is asked to rise above, where the model has no nodes of its own.
_INDEPENDENT = 10


@dataclass(frozen=True, kw_only=True)
class Decay:
    """Line through the relative B of a sweep.

    Attributes
    ----------
    identifier : str
    first_image, last_image : int
    slope, slope_sigma : float
        A^2 per unit of dose; the standard error holds those of the parameters and what is not linear.
    change, sigma : float
        The same from the first to the last image, A^2.
    """

    identifier: str
    first_image: int
    last_image: int
    slope: float
    slope_sigma: float
    change: float
    sigma: float

    def remaining(self, d: float) -> float:
        """Intensity at resolution d on the last image over that on the first."""
        return math.exp(min(self.change / (2.0 * d * d), 700.0))

    def is_relevant(self, d_min: float) -> bool:
        """Whether the fall cannot be chance, and matters."""
        return -self.change > SIGNIFICANT * self.sigma and self.remaining(d_min) < RELEVANT_PART

    def image_of_half(self, d: float) -> int:
        """Image up to which intensities at d are more than the relevant part of those on the first."""
        share = 2.0 * d * d * math.log(RELEVANT_PART) / self.change
        return self.first_image + int(share * (self.last_image - self.first_image))

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "identifier": self.identifier,
            "first_image": self.first_image,
            "last_image": self.last_image,
            "b_slope": self.slope,
            "b_slope_sigma": self.slope_sigma,
            "b_change": self.change,
            "b_change_sigma": self.sigma,
        }

    def line(self) -> str:
        """One line for the log."""
        return f"Relative B of {self.identifier} changes by {self.change:.2f} +- {self.sigma:.2f} A^2 along the sweep."


def decay_lines(decays: Sequence[Decay]) -> list[str]:
    """Lines for the log; of many sweeps the range and the largest falls."""
    if len(decays) <= _MOST_LISTED:
        return [d.line() for d in decays]
    changes = sorted(d.change for d in decays)
    falling = sorted(decays, key=lambda d: d.change)[:_MOST_LISTED]
    return [
        f"Relative B changes by {changes[0]:.2f} to {changes[-1]:.2f} A^2 along {len(decays)} sweeps, median "
        f"{changes[len(changes) // 2]:.2f} A^2; it falls most in these:",
        *(d.line() for d in falling),
    ]


def decay_of_sweeps(data: ScaledData, doses: Doses, images: ByImage) -> list[Decay]:
    """Trend of B of all sweeps that have one."""
    found = []
    bins = images.bins
    for k, number in enumerate(bins.data_set.tolist()):
        part = slice(*bins.offsets[k : k + 2].tolist())
        known = np.flatnonzero(np.isfinite(images.relative_b[part]) & (images.n_obs[part] > 0))
        if known.size < _LEAST_BINS or doses.series[number] < 0:
            continue
        first, last = int(bins.first[part][0]), int(bins.last[part][-1])
        middle = np.asarray(0.5 * (bins.first[part] + bins.last[part])[known], dtype=np.float64)
        sigma, n_nodes = _of_nodes(data.fit.models[number])
        slope, error = _line(middle, images.relative_b[part][known], images.n_obs[part][known], sigma, n_nodes)
        if slope == 0.0 and error == 0.0:
            continue
        per_image, length = float(doses.per_image[number]), last - first
        found.append(
            Decay(
                identifier=images.identifier[k],
                first_image=first,
                last_image=last,
                slope=slope / per_image,
                slope_sigma=error / per_image,
                change=slope * length,
                sigma=error * length,
            )
        )
    return found


def _of_nodes(model: DataSetModel) -> tuple[float, int]:
    """Typical standard uncertainty of the B parameters of a model (0 if unknown), and how many they are."""
    for component in model.components:
        if component.kind == "smooth_decay":
            sigmas = component.sigmas
            finite = np.zeros(0) if sigmas is None else sigmas[np.isfinite(sigmas)]
            return (float(np.median(finite)) if finite.size else 0.0), component.n_parameters
    return 0.0, _INDEPENDENT


def _line(x: FloatArray, y: FloatArray, weight: IndexArray, sigma: float, n_nodes: int) -> tuple[float, float]:
    """Slope and its standard error, where n_nodes of the values are independent and each known to sigma."""
    w = weight / weight.sum()
    x, y = x - w @ x, y - w @ y
    spread = float(w @ (x * x))
    slope = float(w @ (x * y)) / spread
    scatter = float(w @ (y - slope * x) ** 2)
    freedom = max(min(n_nodes, x.size) - 2, 1)
    variance = (scatter / freedom + sigma**2 / min(n_nodes, x.size)) / spread
    return slope, math.sqrt(variance)
