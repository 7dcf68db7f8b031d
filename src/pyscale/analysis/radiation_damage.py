"""Radiation damage: differences between equivalents, and relative B, against dose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core
from ..plain_numbers import plain_list
from ..typing import FloatArray, IndexArray
from .agreement import divided
from .by_image import ByImage
from .decay import Decay, decay_lines, decay_of_sweeps
from .dose import Doses, doses_of
from .scaled_data import ScaledData

__all__ = ["DifferenceTrend", "RadiationDamage", "radiation_damage"]

N_BINS = 20
#: Parts of the reflections, each left out once for the standard error of the slope.
N_PARTS = 24
#: A trend counts that exceeds so many standard errors ...
SIGNIFICANT = 5.0
#: ... and raises R_d over the whole dose by this part of its value at no difference.
RELEVANT_RISE = 0.3
#: Images are not to be spared before this part of the final completeness.
NEARLY_COMPLETE = 0.95
_LEAST_IMAGES = 10
_DIGITS = 5


@dataclass(frozen=True, kw_only=True)
class DifferenceTrend:
    """The line R_d = start (1 + rise * difference / span), fitted by least squares weighted with the intensities.

    Attributes
    ----------
    start : float
        R_d without a difference in dose.
    rise, rise_sigma : float
        Relative increase over the whole dose, and its standard error by a jackknife over reflections.
    """

    start: float
    rise: float
    rise_sigma: float

    @property
    def is_significant(self) -> bool:
        """Whether the rise cannot be chance, and matters."""
        return self.rise > SIGNIFICANT * self.rise_sigma and self.rise > RELEVANT_RISE


@dataclass(frozen=True, kw_only=True)
class RadiationDamage:
    """What equivalents and models say of radiation damage; arrays (n_bins,), NaN where there are no pairs.

    Attributes
    ----------
    doses : Doses
        Of the sweeps, and their unit.
    width : float
        Dose of one bin.
    r_d : float64
        Mean difference of equivalents by their difference in dose, over their mean intensity (Diederichs 2006).
    n_pairs : int64
    r_cp : float64
        The same for all pairs up to a dose (Winter 2009).
    completeness : float64
        Up to this dose, 0 to 1.
    trend : DifferenceTrend or None
        Of R_d; None if there are too few pairs.
    decay : sequence of Decay
        Relative B along each sweep.
    d_min : float
    """

    doses: Doses
    width: float
    r_d: FloatArray
    n_pairs: IndexArray
    r_cp: FloatArray
    completeness: FloatArray
    trend: DifferenceTrend | None
    decay: Sequence[Decay]
    d_min: float

    @property
    def dose(self) -> FloatArray:
        """Middle of each bin: of the difference for R_d; R_cp and completeness reach to half a bin beyond."""
        return np.asarray((np.arange(self.r_d.size) + 0.5) * self.width, dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        trend = self.trend
        return {
            "unit": self.doses.unit,
            "shared_crystal": self.doses.shared,
            "first_dose": self.doses.first,
            "bin_width": self.width,
            "difference": plain_list(self.dose, _DIGITS),
            "r_d": plain_list(self.r_d, _DIGITS),
            "n_pairs": plain_list(self.n_pairs),
            "dose": plain_list(self.doses.first + self.dose + 0.5 * self.width, _DIGITS),
            "r_cp": plain_list(self.r_cp, _DIGITS),
            "completeness": plain_list(self.completeness, _DIGITS),
            "r_d_start": trend and trend.start,
            "r_d_rise": trend and trend.rise,
            "r_d_rise_sigma": trend and trend.rise_sigma,
            "site_specific": bool(trend and trend.is_significant),
            "sparing": self.sparing,
            "sweeps": [d.to_dict() | {"exclude": self._excluding(d)} for d in self.decay],
        }

    def text(self) -> str:
        """The curves, and what they say."""
        lines = [f"Radiation damage: dose in {self.doses.unit}", f"{'dose':>10}{'R_d':>9}{'R_cp':>9}{'%comp':>8}"]
        for k, dose in enumerate(self.dose + 0.5 * self.width):
            columns = _number(self.r_d[k], 9, 4) + _number(self.r_cp[k], 9, 4)
            lines.append(f"{dose:>10.4g}{columns}{_number(100 * self.completeness[k], 8, 1)}")
        if self.trend is not None:
            t = self.trend
            lines.append(
                f"R_d rises by {100 * t.rise:.1f} +- {100 * t.rise_sigma:.1f} % over the whole dose, "
                f"from {t.start:.4f} without a difference in dose."
            )
        return "\n".join([*lines, *decay_lines(self.decay)])

    def warnings(self) -> list[str]:
        """Return what must be done about damage that shows."""
        told = []
        trend = self.trend
        if trend is not None and trend.is_significant:
            told.append(
                f"Site-specific radiation damage: equivalents differ the more, the more dose lies between them (R_d "
                f"rises by {100 * trend.rise:.0f} +- {100 * trend.rise_sigma:.0f} %), which no scale corrects. "
                f"{self._remedy()}"
            )
        weak = [d for d in self.decay if d.is_relevant(self.d_min)]
        if weak:
            worst = min(weak, key=lambda d: d.change)
            others = f" (and {len(weak) - 1} more sweeps)" if len(weak) > 1 else ""
            told.append(
                f"{worst.identifier}{others}: relative B falls by {-worst.change:.1f} +- {worst.sigma:.1f} A^2 from "
                f"the first to the last image, so that intensities at {self.d_min:.2f} A fall to "
                f"{100 * worst.remaining(self.d_min):.0f} %: radiation damage, or diffraction that depends on "
                f"direction. See whether statistics at high resolution improve with {self._excluding(worst)}."
            )
        return told

    def _excluding(self, sweep: Decay) -> str | None:
        """The option that leaves out the images of a sweep that decayed; None if it did not."""
        if not sweep.is_relevant(self.d_min):
            return None
        return f"exclude_images={sweep.identifier}:{sweep.image_of_half(self.d_min) + 1}:{sweep.last_image}"

    @property
    def _last_bin(self) -> int:
        """Bin by which R_d has risen relevantly and the data are nearly complete; the last one: nothing is spared."""
        assert self.trend is not None
        nearly = int(np.argmax(self.completeness >= NEARLY_COMPLETE * self.completeness[-1]))
        return max(math.ceil(min(RELEVANT_RISE / self.trend.rise, 1.0) * N_BINS) - 1, nearly)

    @property
    def sparing(self) -> str | None:
        """The option that leaves out what suffered from site-specific damage; None without, or if all is needed."""
        if self.trend is None or not self.trend.is_significant or self._last_bin >= N_BINS - 1:
            return None
        return self.doses.excluding((self._last_bin + 1) / N_BINS)

    def _remedy(self) -> str:
        """Which images to leave out."""
        if self.sparing is None:
            return "No images can be spared: completeness needs them all. Mind this in phasing and difference maps."
        k = self._last_bin
        return (
            f"The first {100 * (k + 1) / N_BINS:.0f} % of the dose are {100 * self.completeness[k]:.0f} % complete: "
            f"for phasing and difference maps, see whether the data are better without the rest ({self.sparing})."
        )


def _number(value: float, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if math.isnan(value) else f"{value:{width}.{digits}f}"


def radiation_damage(data: ScaledData, images: ByImage | None) -> RadiationDamage | None:
    """Analyse the sweeps of a job; None without sweeps of some images."""
    doses = doses_of(data)
    if images is None or doses is None or doses.n_images < _LEAST_IMAGES:
        return None
    width = doses.span / N_BINS
    rows = data.merged
    series = np.where(rows, doses.series[data.observations.data_set], -1).astype(np.int32)
    dose = doses.of_rows(data) - doses.first
    (difference, intensity, n_pairs), of_dose = _core.pair_differences(
        data.intensity, dose, series, data.observations.anomalous_offsets, 0.0, width, N_BINS, N_PARTS, data.n_threads
    )
    parts = tuple(v.reshape(N_PARTS, N_BINS) for v in (difference, intensity))
    return RadiationDamage(
        doses=doses,
        width=width,
        r_d=divided(parts[0].sum(axis=0), parts[1].sum(axis=0)),
        n_pairs=n_pairs.reshape(N_PARTS, N_BINS).sum(axis=0),
        r_cp=divided(np.cumsum(of_dose[0]), np.cumsum(of_dose[1])),
        completeness=_completeness(data, np.where(series >= 0, dose, np.inf), width),
        trend=_trend(*parts),
        decay=decay_of_sweeps(data, doses, images),
        d_min=data.statistics.overall.d_min,
    )


def _trend(difference: FloatArray, intensity: FloatArray) -> DifferenceTrend | None:
    """Line through R_d, its error from leaving out one part of the reflections after another.

    What is neither a line nor a parabola is an error of the scales that all reflections have in common: it widens the
    error as its excess over that of the values.
    """
    total = difference.sum(axis=0), intensity.sum(axis=0)
    whole = _line(*total)
    others = [_line(total[0] - d, total[1] - i) for d, i in zip(difference, intensity, strict=True)]
    rises = [found[1] for found in others if found is not None]
    if whole is None or len(rises) < N_PARTS:
        return None
    sigma = math.sqrt((N_PARTS - 1) * float(np.var(rises)))
    values = divided(total[0] - difference, total[1] - intensity)
    excess = _excess_scatter(divided(*total), (N_PARTS - 1) * np.var(values, axis=0))
    return DifferenceTrend(start=whole[0], rise=whole[1], rise_sigma=sigma * math.sqrt(excess))


def _excess_scatter(values: FloatArray, variance: FloatArray) -> float:
    """chi^2 per degree of freedom of a parabola through the values of all bins, at least 1."""
    used = np.isfinite(values) & (variance > 0)
    if used.sum() < 5:
        return 1.0
    x, y, w = np.arange(N_BINS)[used] / N_BINS, values[used], variance[used] ** -0.5
    residual = w * (y - np.polyval(np.polyfit(x, y, 2, w=w), x))
    return max(1.0, float(residual @ residual) / (int(used.sum()) - 3))


def _line(difference: FloatArray, intensity: FloatArray) -> tuple[float, float] | None:
    """Start and relative rise of R_d over the whole dose."""
    used = intensity > 0
    x = ((np.arange(N_BINS) + 0.5) / N_BINS)[used]
    y, w = difference[used] / intensity[used], intensity[used]
    if x.size < 3:
        return None
    mean_x, mean_y = np.average(x, weights=w), np.average(y, weights=w)
    slope = float((w * (x - mean_x)) @ (y - mean_y) / ((w * (x - mean_x)) @ (x - mean_x)))
    start = float(mean_y - slope * mean_x)
    return (start, slope / start) if start > 0 else None


def _completeness(data: ScaledData, dose: FloatArray, width: float) -> FloatArray:
    """Share of the possible reflections observed up to the end of each bin of dose."""
    first = np.minimum.reduceat(dose, data.offsets[:-1])
    first = first[np.isfinite(first)]
    bins = np.clip((first / width).astype(np.int64), 0, N_BINS - 1)
    seen = np.cumsum(np.bincount(bins, minlength=N_BINS))
    completeness: FloatArray = seen / max(data.statistics.overall.n_possible, 1)
    return completeness
