"""The worst offenders: observations that were rejected or nearly so, and what they disagree with."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..dataset import data_set_label
from ..outliers import wilson_expected
from ..progress import checkpoint
from ..symmetry import epsilon_and_centric, to_asu
from ..typing import BoolArray, FloatArray, IndexArray
from .places import detector_places
from .scaled_data import ScaledData

__all__ = ["Rogue", "Rogues", "find_rogues"]

_NEARLY = 0.8
_MOST_LOGGED = 10


@dataclass(frozen=True, kw_only=True)
class Rogue:
    """One observation.

    Attributes
    ----------
    data_set : str
    row : int
        In the table of its data set, partials merged.
    panel, x, y, image : int, float, float, float or None
        Where it was recorded: pixels, and the array coordinate along the scan; None without a detector.
    miller_index, asu_miller_index : list of int
    d : float
        Angstrom.
    intensity, sigma : float
        I/g and sigma'/g.
    mean_of_others : float or None
        Weighted mean of the other merged observations of the group.
    n_others : int
    deviation : float or None
        I/g less that mean, over its standard deviation.
    e : float
        Normalised amplitude.
    rejected : str or None
        The rule that rejected it.
    disputed : bool
        Whether it and its only equivalent disagree and nothing tells which is wrong.
    """

    data_set: str
    row: int
    panel: int | None
    x: float | None
    y: float | None
    image: float | None
    miller_index: list[int]
    asu_miller_index: list[int]
    d: float
    intensity: float
    sigma: float
    mean_of_others: float | None
    n_others: int
    deviation: float | None
    e: float
    rejected: str | None
    disputed: bool


@dataclass(frozen=True, kw_only=True)
class Rogues:
    """The worst observations, in descending order of how far they are beyond the limits.

    Attributes
    ----------
    n_rejected, n_disputed : int
        Of all observations.
    worst : list of Rogue
    labels : dict of str to str
        Short names of their data sets, by identifier.
    """

    n_rejected: int
    n_disputed: int
    worst: list[Rogue]
    labels: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        worst = [asdict(r) for r in self.worst]
        return {"n_rejected": self.n_rejected, "n_disputed": self.n_disputed, "worst": worst}

    def text(self) -> str:
        """Table of the worst ones for the log."""
        if not self.worst:
            return ""
        lines = [
            f"Worst of {self.n_rejected} rejected observations"
            + (f" ({self.n_disputed} in undecided pairs)" if self.n_disputed else ""),
            "data set       h    k    l   image      x      y         I/g       sigma    others   n      z     E  rule",
        ]
        lines += [_line(r, self.labels.get(r.data_set, r.data_set)) for r in self.worst[:_MOST_LOGGED]]
        return "\n".join(lines)

    def warnings(self) -> list[str]:
        """Single observations are nothing to warn of."""
        return []


def find_rogues(data: ScaledData, most: int) -> Rogues | None:
    """Find the worst observations; None if the table is not wanted."""
    if most == 0:
        return None
    job = data.options.scaling_options
    z = data.comparison[2]
    e_squared = _normalised(data)
    checkpoint()
    score = np.nan_to_num(np.abs(z)) / job.outlier_zmax
    if job.emax:
        score = np.maximum(score, np.sqrt(e_squared) / float(job.emax))
    candidates = np.flatnonzero((data.scaled.outlier | data.fit.disputed | (score > _NEARLY)) & _scaled(data))
    rows = candidates[np.argsort(-score[candidates], kind="stable")[:most]]
    return Rogues(
        n_rejected=int(np.count_nonzero(data.scaled.outlier)),
        n_disputed=int(np.count_nonzero(data.fit.disputed)),
        worst=_described(data, rows, np.sqrt(e_squared[rows])),
        labels={
            (name := data.prepared[k].identifier): data_set_label(name, k)
            for k in np.unique(data.observations.data_set[rows]).tolist()
        },
    )


def _scaled(data: ScaledData) -> BoolArray:
    scaled: BoolArray = ~(data.scaled.small_scale | data.observations.absent)
    return scaled


def _normalised(data: ScaledData) -> FloatArray:
    """E^2 of each observation, as rule `wilson` has it; 0 where it has none. (n,) float64."""
    obs = data.observations
    epsilon, _ = epsilon_and_centric(data.space_group, obs.miller_index[obs.offsets[:-1]])
    factors = np.repeat(epsilon.astype(np.float64), np.diff(obs.offsets))
    expected = wilson_expected(obs.intensity, data.scaled.g, obs.d_spacing, factors)
    checkpoint()
    return np.divide(np.maximum(obs.intensity, 0.0), expected, out=np.zeros(len(obs)), where=expected > 0)


def _described(data: ScaledData, rows: IndexArray, e: FloatArray) -> list[Rogue]:
    obs, (mean, _, z) = data.observations, data.comparison
    offsets = obs.target_offsets
    group = np.searchsorted(offsets, rows, side="right") - 1
    n_others = np.array(
        [np.count_nonzero(data.merged[offsets[h] : offsets[h + 1]]) for h in group.tolist()], np.int64
    ) - data.merged[rows].astype(np.int64)
    # As the error model has it, not as enlarged where pairs disagree.
    sigma = np.sqrt(data.fit.sigma_squared[rows]) / data.scaled.g[rows]
    places, asu = detector_places(data, rows), to_asu(data.space_group, obs.miller_index[rows])[0]
    rules = {rule: outlier[rows] for rule, outlier in data.fit.rejected.items()}

    def number(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    return [
        Rogue(
            data_set=data.prepared[obs.data_set[i]].identifier,
            row=int(obs.row[i]),
            panel=None if places.panel[k] < 0 else int(places.panel[k]),
            x=number(places.x[k]),
            y=number(places.y[k]),
            image=number(obs.image_z[i]),
            miller_index=obs.miller_index[i].tolist(),
            asu_miller_index=asu[k].tolist(),
            d=float(obs.d_spacing[i]),
            intensity=float(data.intensity[i]),
            sigma=float(sigma[k]),
            mean_of_others=number(mean[i]),
            n_others=int(n_others[k]),
            deviation=number(z[i]),
            e=float(e[k]),
            rejected=next((rule for rule, outlier in rules.items() if outlier[k]), None),
            disputed=bool(data.fit.disputed[i]),
        )
        for k, i in enumerate(rows.tolist())
    ]


def _line(r: Rogue, label: str) -> str:
    def cell(value: float | None, width: int, digits: int) -> str:
        return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"

    h, k, l = r.miller_index
    others = f"{'-':>10}" if r.mean_of_others is None else f"{r.mean_of_others:>10.4g}"
    return (
        f"{label:<10}{h:>6}{k:>5}{l:>5}{cell(r.image, 8, 1)}{cell(r.x, 7, 0)}{cell(r.y, 7, 0)}"
        f"{r.intensity:>12.4g}{r.sigma:>12.4g}{others}{r.n_others:>4}{cell(r.deviation, 7, 1)}{r.e:>6.2f}  "
        f"{r.rejected or ('undecided' if r.disputed else 'kept')}"
    )
