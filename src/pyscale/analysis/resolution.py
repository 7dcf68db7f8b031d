"""Estimated resolution limits: where CC1/2, I/sigma, completeness and R factors pass their thresholds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..symmetry import inverse_d_squared
from ..typing import FloatArray, IndexArray
from .crossings import Crossing, LogisticCurve, cc_half_curve, curve_crossing
from .merged_groups import MergedGroups

if TYPE_CHECKING:
    from ..options.limits import ResolutionOptions

__all__ = ["Resolution", "ResolutionLimit", "ResolutionShells", "estimate_resolution"]

#: Unique reflections of one shell, as long as there are enough for eight shells, and the most shells.
_PER_SHELL = 150
_LEAST_SHELLS, _MOST_SHELLS = 8, 60
_LEAST_PER_SHELL = 20
#: A limit is suggested if it is worse than that of the data by more than this (A), and by two standard errors.
_RELEVANT = 0.005

_NAMES = {
    "cc_half": "CC1/2",
    "i_over_sigma": "mean I/sigma",
    "shell_completeness": "completeness of a shell",
    "r_meas": "R_meas",
    "r_pim": "R_pim",
}


@dataclass(frozen=True)
class ResolutionShells:
    """Narrow shells of equal numbers of unique reflections, low to high resolution, each value (n,).

    Attributes
    ----------
    d_max, d_min : float64
        Limits, A.
    d_star_sq : float64
        Mean 1/d^2, A^-2.
    n_unique, n_possible, n_pairs : int64
        Reflections measured, possible, and measured twice or more.
    cc_half, i_over_sigma, i_over_sigma_variance, r_meas, r_pim, completeness : float64
        Statistics; NaN where not defined. The variance is that of the mean.
    """

    d_max: FloatArray
    d_min: FloatArray
    d_star_sq: FloatArray
    n_unique: IndexArray
    n_possible: IndexArray
    n_pairs: IndexArray
    cc_half: FloatArray
    i_over_sigma: FloatArray
    i_over_sigma_variance: FloatArray
    r_meas: FloatArray
    r_pim: FloatArray
    completeness: FloatArray


@dataclass(frozen=True)
class ResolutionLimit:
    """One limit.

    Attributes
    ----------
    criterion : str
        cc_half, i_over_sigma, shell_completeness, r_meas or r_pim.
    threshold : float
    state : str
        reached; data_end: the data end before; nowhere: beyond the threshold at all resolutions; undetermined: too
        few data, or a standard error above 10 %.
    d_min, sigma : float or None
        The limit (A): that of the data where these end before, None where there is none; its standard error if it
        was reached.
    """

    criterion: str
    threshold: float
    state: str
    d_min: float | None
    sigma: float | None

    @property
    def name(self) -> str:
        """The criterion in words."""
        return f"{_NAMES[self.criterion]} = {self.threshold:g}"

    def text(self) -> str:
        """The limit in words."""
        if self.state == "reached":
            return f"{self.d_min:.2f} +- {self.sigma:.2f} A"
        if self.state == "data_end":
            return f"{self.d_min:.2f} A, where the data end before it is reached"
        if self.state == "nowhere":
            return "none: not met at any resolution"
        return "not determined by the data"


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """Resolution limits of the scaled data, before any of them is applied.

    Attributes
    ----------
    data_d_min : float
        Resolution of the data, A.
    limits : tuple of ResolutionLimit
    criterion : str
        The one that is suggested, and applied by d_min=auto.
    shells : ResolutionShells
    cc_half_curve : LogisticCurve or None
        The fit to CC1/2.
    """

    data_d_min: float
    limits: tuple[ResolutionLimit, ...]
    criterion: str
    shells: ResolutionShells
    cc_half_curve: LogisticCurve | None

    @property
    def chosen(self) -> ResolutionLimit | None:
        """The limit of the chosen criterion, the first of several; None if it was switched off."""
        return next((limit for limit in self.limits if limit.criterion == self.criterion), None)

    @property
    def suggested(self) -> ResolutionLimit | None:
        """The chosen limit where it is relevantly worse than that of the data."""
        limit = self.chosen
        if limit is None or limit.state != "reached" or limit.d_min is None or limit.sigma is None:
            return None
        return limit if limit.d_min - self.data_d_min > max(_RELEVANT, 2.0 * limit.sigma) else None

    def to_dict(self) -> dict[str, Any]:
        """Limits, the suggested one, the curve of CC1/2 and the shells, NaN included."""
        curve, suggested = self.cc_half_curve, self.suggested
        return {
            "data_d_min": self.data_d_min,
            "limits": [asdict(limit) for limit in self.limits],
            "criterion": self.criterion,
            "suggested_d_min": None if suggested is None else suggested.d_min,
            "cc_half_curve": None if curve is None else {"s0": curve.s0, "r": curve.r},
            "shells": list(_rows(self.shells)),
        }

    def text(self) -> str:
        """One line for each limit, and the suggestion."""
        width = max((len(limit.name) for limit in self.limits), default=0)
        lines = [f"  {limit.name:<{width}}  {limit.text()}" for limit in self.limits if limit.state != "data_end"]
        if beyond := [limit.name for limit in self.limits if limit.state == "data_end"]:
            lines.append(f"  not reached before the data end: {', '.join(beyond)}")
        if (limit := self.suggested) is not None:
            lines.append(
                f"Suggested: {limit.d_min:.2f} A by {limit.name}; the data go to {self.data_d_min:.2f} A "
                "(d_min=auto applies it)"
            )
        return "\n".join([f"Estimated resolution limits (the data go to {self.data_d_min:.2f} A):", *lines])

    def warnings(self) -> list[str]:
        """Say where the chosen criterion is met nowhere."""
        limit = self.chosen
        if limit is None or limit.state != "nowhere":
            return []
        return [
            f"resolution: {limit.name} is not met at any resolution; check space group and indexing, or judge the data "
            "by another resolution.criterion"
        ]


def estimate_resolution(groups: MergedGroups, options: ResolutionOptions) -> Resolution | None:
    """Estimate all limits that the options ask for; None with too few reflections for shells."""
    n_shells = min(max(len(groups) // _PER_SHELL, _LEAST_SHELLS), _MOST_SHELLS)
    if len(groups) < n_shells * _LEAST_PER_SHELL:
        return None
    shells = _make_shells(groups, n_shells)
    edge = float(groups.d_star_sq.max())
    curve = cc_half_curve(shells.d_star_sq, shells.cc_half, shells.n_pairs)
    limits = [
        _limit(criterion, threshold, _crossing(shells, curve, criterion, threshold, edge), edge)
        for criterion in _NAMES
        for threshold in _thresholds(options, criterion)
    ]
    return Resolution(
        data_d_min=edge**-0.5,
        limits=tuple(limits),
        criterion=options.criterion,
        shells=shells,
        cc_half_curve=curve,
    )


def _thresholds(options: ResolutionOptions, criterion: str) -> tuple[float, ...]:
    value = getattr(options, criterion)
    return value if isinstance(value, tuple) else () if value is None else (value,)


def _limit(criterion: str, threshold: float, crossing: Crossing, edge: float) -> ResolutionLimit:
    if crossing.state == "reached":
        return ResolutionLimit(criterion, threshold, crossing.state, float(crossing.d), float(crossing.sigma_d))
    d = edge**-0.5 if crossing.state == "data_end" else None
    return ResolutionLimit(criterion, threshold, crossing.state, d, None)


def _crossing(
    shells: ResolutionShells, curve: LogisticCurve | None, criterion: str, threshold: float, edge: float
) -> Crossing:
    x = shells.d_star_sq
    if criterion == "cc_half":
        return Crossing("undetermined") if curve is None else curve.crossing(threshold, edge)
    if criterion == "i_over_sigma":
        return curve_crossing(x, shells.i_over_sigma, shells.i_over_sigma_variance, threshold, edge)
    if criterion == "shell_completeness":
        share = np.clip(shells.completeness, 0.02, 0.98)
        variance = share * (1.0 - share) / np.maximum(shells.n_possible, 1)
        return curve_crossing(x, shells.completeness, variance, threshold, edge, link="identity")
    values = shells.r_meas if criterion == "r_meas" else shells.r_pim
    values = np.where(shells.n_pairs > 0, values, math.nan)
    # Their scatter about the line tells the size; that of a sum of |deviations| falls with the number of terms.
    variance = 2.0 * values**2 / np.maximum(shells.n_pairs, 1)
    return curve_crossing(x, values, variance, threshold, edge, rises=True)


def _make_shells(groups: MergedGroups, n: int) -> ResolutionShells:
    x, z = groups.d_star_sq, groups.i_over_sigma
    # Not at a reflection itself, whose equivalents may differ in the last bit.
    edges = np.quantile(x, np.linspace(0.0, 1.0, n + 1)) * (1.0 - 1e-7)

    def shell_of(values: FloatArray) -> IndexArray:
        return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, n - 1).astype(np.int64)

    where = shell_of(x)
    statistics = _core.shell_statistics(groups.statistics, where, n)[:-1]
    halves = groups.half_set_correlations(where, n)
    count = np.bincount(where, minlength=n).astype(np.int64)
    n_possible = np.bincount(shell_of(inverse_d_squared(groups.unit_cell, groups.possible)), minlength=n)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(where, z, n) / count
        square = np.bincount(where, (z - mean[where]) ** 2, n) / (count - 1)
        d_star_sq = np.bincount(where, x, n) / count
        completeness = np.minimum(count / n_possible, 1.0)
    return ResolutionShells(
        d_max=edges[:-1] ** -0.5,
        d_min=edges[1:] ** -0.5,
        d_star_sq=d_star_sq,
        n_unique=count,
        n_possible=n_possible.astype(np.int64),
        n_pairs=np.array([h.n_pairs for h in halves], np.int64),
        cc_half=np.array([h.correlation for h in halves]),
        i_over_sigma=mean,
        i_over_sigma_variance=square / count,
        r_meas=np.array([s.r_meas for s in statistics]),
        r_pim=np.array([s.r_pim for s in statistics]),
        completeness=completeness,
    )


def _rows(shells: ResolutionShells) -> Iterator[dict[str, Any]]:
    names = ("d_max", "d_min", "n_unique", "n_possible", "n_pairs", "cc_half", "i_over_sigma", "completeness")
    columns = [getattr(shells, name).tolist() for name in (*names, "r_meas", "r_pim")]
    for values in zip(*columns, strict=True):
        yield dict(zip((*names, "r_meas", "r_pim"), values, strict=True))
