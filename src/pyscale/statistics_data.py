"""Merging statistics as plain data. `docs/reference/statistics.md` holds every definition."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data_frames import ColumnSource

__all__ = ["MergingStatistics", "ShellStatistics"]


@dataclass(frozen=True)
class ShellStatistics:
    """Statistics of one resolution shell, or of all data. What the data do not define is NaN.

    Attributes
    ----------
    d_max, d_min : float
        Resolution limits (A).
    n_obs, n_unique, n_possible : int
        Observations, merged reflections, reflections that symmetry and resolution allow.
    multiplicity, completeness : float
        n_obs / n_unique; n_unique / n_possible, 0 to 1.
    mean_intensity, i_over_sigma, unmerged_i_over_sigma : float
        Means over merged reflections of I and of I/sigma, and over observations of I/sigma.
    r_merge, r_meas, r_pim : float
        Over reflections with two or more observations.
    chi_square : float
        sum (I - <I>)^2 / variance per degree of freedom.
    r_split : float
        Deviation of random half sets from each other, divided by 2^1/2.
    cc_half, cc_half_low, cc_half_high : float
        Correlation of random half sets, the mean over several splits, and its 95 % confidence interval.
    cc_half_sigma_tau : float
        Its estimate from variances.
    n_half_pairs : int
        Reflections with two or more observations.
    cc_half_significant : bool
        cc_half exceeds zero at p = 0.01 (Student's t).
    r_anom : float
        ``sum |I+ - I-| / sum |(I+ + I-)/2|``.
    n_anomalous_pairs : int
        Acentric reflections with both mates.
    anomalous_completeness : float
        n_anomalous_pairs / acentric reflections possible.
    cc_anom, cc_anom_low, cc_anom_high : float
        Correlation of I+ - I- between random half sets, likewise, and its 95 % confidence interval.
    n_anomalous_half_pairs : int
        Pairs with two or more observations of each mate.
    cc_anom_significant : bool
    anomalous_signal : float
        (2 <(F+ - F-)^2> / <F+^2 + F-^2>)^1/2, "dF/F".
    anomalous_difference_over_sigma : float
        ``<|I+ - I-|> / <sigma(I+ - I-)>``.
    anomalous_slope : float
        Slope of the normal probability plot of (I+ - I-)/sigma between -0.9 and 0.9; for all data only.
    """

    d_max: float
    d_min: float
    n_obs: int
    n_unique: int
    n_possible: int
    multiplicity: float
    completeness: float
    mean_intensity: float
    i_over_sigma: float
    unmerged_i_over_sigma: float
    r_merge: float
    r_meas: float
    r_pim: float
    chi_square: float
    r_split: float
    cc_half: float
    cc_half_low: float
    cc_half_high: float
    cc_half_sigma_tau: float
    n_half_pairs: int
    cc_half_significant: bool
    r_anom: float
    n_anomalous_pairs: int
    anomalous_completeness: float
    cc_anom: float
    cc_anom_low: float
    cc_anom_high: float
    n_anomalous_half_pairs: int
    cc_anom_significant: bool
    anomalous_signal: float
    anomalous_difference_over_sigma: float
    anomalous_slope: float

    def line(self) -> str:
        """The numbers by which data are judged, in one line."""
        r_meas, r_pim, cc_half = (f"{x:.3f}" for x in (self.r_meas, self.r_pim, self.cc_half))
        return (
            f"{self.n_obs} observations of {self.n_unique} unique, {self.d_max:.2f}-{self.d_min:.2f} Å, "
            f"completeness {100 * self.completeness:.1f} %, I/σ {self.i_over_sigma:.1f}, R_meas {r_meas}, "
            f"R_pim {r_pim}, CC½ {cc_half}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: null in place of NaN."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }


@dataclass(frozen=True, repr=False)
class MergingStatistics(ColumnSource):
    """Statistics of all data and of shells from low to high resolution, Friedel mates merged.

    Attributes
    ----------
    overall : ShellStatistics
    shells : tuple of ShellStatistics
    anomalous : MergingStatistics or None
        The same with I(+) and I(-) as reflections of their own.
    """

    overall: ShellStatistics
    shells: tuple[ShellStatistics, ...]
    anomalous: MergingStatistics | None = None

    def __repr__(self) -> str:
        return f"<MergingStatistics: {len(self.shells)} shells; {self.overall.line()}>"

    def _repr_html_(self) -> str:
        from .notebook import statistics_html

        return statistics_html(self)

    def to_columns(self) -> dict[str, NDArray[Any]]:
        """Return every number of `ShellStatistics` under its name, each (n_shells,), low to high resolution."""
        shells = [asdict(shell) for shell in self.shells]
        return {f.name: np.array([shell[f.name] for shell in shells]) for f in fields(ShellStatistics)}

    def to_dict(self) -> dict[str, Any]:
        """Keys `overall`, `shells` and, where known, `anomalous`, ready for JSON."""
        result: dict[str, Any] = {
            "overall": self.overall.to_dict(),
            "shells": [shell.to_dict() for shell in self.shells],
        }
        if self.anomalous is not None:
            result["anomalous"] = self.anomalous.to_dict()
        return result
