"""Whether Friedel mates differ by more than noise, and to which resolution."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..half_sets import Splits
from ..merging import SortedObservations
from ..normal_probability import NormalProbability, normal_probability
from ..statistics import MergingStatistics, sorted_statistics
from ..symmetry import UnitCellLike, group_operations
from ..unit_cells import group_wavelengths, wavelength_tolerance, wavelengths
from .anomalous_shells import AnomalousShell, anomalous_pairs, anomalous_shell
from .anomalous_verdict import judge_signal
from .wilson import ELECTRONS_BELOW_ANGSTROM

if TYPE_CHECKING:
    from .scaled_data import ScaledData

__all__ = ["AnomalousAnalysis", "AnomalousSignal", "anomalous_analysis", "anomalous_signal"]


@dataclass(frozen=True)
class AnomalousSignal:
    """The signal of the data at one wavelength.

    Attributes
    ----------
    wavelength : float
        A.
    data_sets : tuple of str
    verdict : str
        "none", "weak", "clear" or "cannot tell".
    d_min : float or None
        A, resolution to which a clear signal reaches; None without one.
    by : str
        What told: "halves" (CC_anom) or "errors" (differences over their errors, where there are few pairs of halves).
    overall : AnomalousShell
    shells : tuple of AnomalousShell
    slope : float or None
        Of the normal probability plot of (I(+) - I(-)) / sigma.
    normal_probability : NormalProbability or None
        That plot; None for very few pairs.
    """

    wavelength: float
    data_sets: tuple[str, ...]
    verdict: str
    d_min: float | None
    by: str
    overall: AnomalousShell
    shells: tuple[AnomalousShell, ...]
    slope: float | None
    normal_probability: NormalProbability | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plot = self.normal_probability
        return asdict(replace(self, normal_probability=None)) | {"normal_probability": plot and plot.to_dict()}


@dataclass(frozen=True)
class AnomalousAnalysis:
    """The anomalous signal at each wavelength.

    Attributes
    ----------
    applicable : bool
        Whether mates can differ: neither centres of inversion nor electrons.
    reason : str
        Why not.
    mates_apart : bool
        Whether the fit kept I(+) and I(-) apart (`anomalous=True`).
    wavelengths : tuple of AnomalousSignal
    """

    applicable: bool
    reason: str
    mates_apart: bool
    wavelengths: tuple[AnomalousSignal, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(replace(self, wavelengths=())) | {"wavelengths": [w.to_dict() for w in self.wavelengths]}

    def text(self) -> str:
        """Lines for the log."""
        if not self.applicable:
            return f"Anomalous signal: not applicable ({self.reason})"
        return "\n".join(_line(s, several=len(self.wavelengths) > 1) for s in self.wavelengths)

    def warnings(self) -> list[str]:
        """Advise to keep mates apart where they clearly differ."""
        clear = [s for s in self.wavelengths if s.verdict == "clear"]
        if self.mates_apart or not clear:
            return []
        best = min(clear, key=lambda s: s.d_min or math.inf)
        return [
            f"The anomalous signal is clear, to {best.d_min:.1f} A, but Friedel mates were scaled as equivalents, so "
            "that their differences count as errors and outliers. Scale again with anomalous=True."
        ]


def anomalous_analysis(data: ScaledData) -> AnomalousAnalysis:
    """Look for an anomalous signal in scaled data, each wavelength for itself."""
    apart = data.observations.is_anomalous
    experiments = [p.data_set.experiment for p in data.prepared]
    values = np.array(wavelengths(experiments))
    if values.max() < ELECTRONS_BELOW_ANGSTROM:
        return AnomalousAnalysis(False, "electrons", apart, ())
    if group_operations(data.space_group).is_centrosymmetric():
        return AnomalousAnalysis(False, "the space group has centres of inversion", apart, ())
    groups = group_wavelengths(values, wavelength_tolerance(experiments))
    found = []
    for members in groups:
        obs, statistics = data.merged_observations, data.statistics
        if len(groups) > 1:
            member = np.zeros(len(values), np.bool_)
            member[members] = True
            rows = data.merged & member[data.observations.data_set]
            if not rows.any():
                continue
            obs = data.sorted_observations(rows)
            statistics = _statistics(data, obs)
        names = tuple(data.prepared[k].identifier for k in members.tolist())
        found.append(
            anomalous_signal(
                obs,
                statistics,
                data.unit_cell,
                wavelength=float(values[members].mean()),
                names=names,
                seed=data.options.scaling_options.seed,
                n_threads=data.n_threads,
            )
        )
    return AnomalousAnalysis(True, "", apart, tuple(found))


def _statistics(data: ScaledData, obs: SortedObservations) -> MergingStatistics:
    options = data.options
    merging = options.output.merging
    splits = Splits(options.scaling_options.seed, merging.n_splits)
    return sorted_statistics(
        obs, data.unit_cell, data.space_group, True, merging.nbins, splits=splits, n_threads=data.n_threads
    )


def anomalous_signal(
    obs: SortedObservations,
    statistics: MergingStatistics,
    unit_cell: UnitCellLike,
    *,
    wavelength: float = math.nan,
    names: tuple[str, ...] = (),
    seed: int = 42,
    n_threads: int = 1,
) -> AnomalousSignal:
    """Judge the differences of mates.

    Parameters
    ----------
    obs : SortedObservations
    statistics : MergingStatistics
        Of the same observations, those of mates apart included.
    seed : int
        Key of the random halves.
    """
    assert statistics.anomalous is not None
    pairs = anomalous_pairs(obs, unit_cell, seed, n_threads)
    apart = statistics.anomalous
    whole = anomalous_shell(pairs, statistics.overall, apart.overall)
    shells = tuple(anomalous_shell(pairs, s, a) for s, a in zip(statistics.shells, apart.shells, strict=True))
    verdict, d_min, by = judge_signal(whole, shells)
    slope = statistics.overall.anomalous_slope
    used = pairs.inside(statistics.overall)
    plot = normal_probability(observed=pairs.deviates[used])
    return AnomalousSignal(
        wavelength, names, verdict, d_min, by, whole, shells, slope if math.isfinite(slope) else None, plot
    )


def _line(s: AnomalousSignal, *, several: bool) -> str:
    place = f" at {s.wavelength:.4f} A" if several else ""
    reach = f" to {s.d_min:.2f} A" if s.d_min is not None else ""
    o = s.overall

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    return (
        f"Anomalous signal{place}: {s.verdict}{reach} (CC_anom {number(o.cc_anom)}, |dI|/sigma "
        f"{number(o.difference_over_sigma)} and {number(o.without_signal)} without a signal, slope {number(s.slope)})"
    )
