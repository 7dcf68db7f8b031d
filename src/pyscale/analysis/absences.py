"""Whether systematic absences agree with the space group that data are merged in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..screw_axes import AxialReflections, ScrewAssessment, assess_reflections, rank_by_absences
from ..symmetry import epsilon_and_centric, inverse_d_squared

if TYPE_CHECKING:
    from .scaled_data import ScaledData

__all__ = ["AbsenceAnalysis", "absence_analysis"]

#: Logarithm of the odds against the absences of the space group that count as a contradiction.
_CONTRADICTION = -7.0
_PRESENT, _FEWEST_PRESENT = 4.0, 3
_MAX_NAMES = 4


@dataclass(frozen=True)
class AbsenceAnalysis:
    """What forbidden and axial reflections say of the space group.

    Attributes
    ----------
    space_group : str
        In use.
    n_forbidden, n_present : int
        Measured reflections that it forbids; those of them above 4 sigma.
    log_odds : float
        Logarithm of the odds for their absence.
    contradicted : bool
        Whether forbidden reflections are clearly present.
    suggestions : tuple of str
        Space groups that agree with the data better, where one pattern of absences is nearly certain.
    screw_axes : ScrewAssessment or None
        As `pyscale merge` has it; None where the space group has mirrors or inversions.
    """

    space_group: str
    n_forbidden: int
    n_present: int
    log_odds: float
    contradicted: bool
    suggestions: tuple[str, ...]
    screw_axes: ScrewAssessment | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "space_group": self.space_group,
            "n_forbidden": self.n_forbidden,
            "n_present": self.n_present,
            "log_odds": self.log_odds,
            "contradicted": self.contradicted,
            "suggestions": list(self.suggestions),
            "screw_axes": None if self.screw_axes is None else self.screw_axes.to_dict(),
        }

    def text(self) -> str:
        """Table of the screw axes for the log."""
        return "" if self.screw_axes is None else f"Systematic absences\n{self.screw_axes.table()}"

    def warnings(self) -> list[str]:
        """Warn of forbidden reflections that are present, and of screw axes that the space group does not have."""
        names = " or ".join(f'"{name}"' for name in self.suggestions[:_MAX_NAMES])
        if self.contradicted:
            remedy = f"The data agree with space_group={names}" if names else "Check it and the indexing"
            return [
                f"{self.n_present} of {self.n_forbidden} measured reflections that {self.space_group} forbids are "
                f"present; they are left out. {remedy}."
            ]
        if not self.suggestions:
            return []
        assert self.screw_axes is not None
        seen = [axis.name for axis in self.screw_axes.axes if axis.verdict == "present"]
        shown = f" ({', '.join(seen)})" if seen else ""
        return [
            f"Axial reflections are absent as screw axes make them{shown}, which {self.space_group} does not have: "
            f"scale again with space_group={names}, or give it to pyscale merge."
        ]


def absence_analysis(data: ScaledData) -> AbsenceAnalysis:
    """Compare forbidden and axial reflections with Wilson's distribution and with noise (`pyscale.screw_axes`)."""
    own = data.space_group
    tested, forbidden = _tested(data)
    odds = tested.log_odds
    z = tested.intensity / tested.sigma
    log_odds = float(odds[forbidden].sum())
    present = int((forbidden & (z > _PRESENT)).sum())
    contradicted = log_odds < _CONTRADICTION and present >= _FEWEST_PRESENT
    axes = assess_reflections(tested, own)
    suggestions: tuple[str, ...] = ()
    if contradicted:
        ranked = ScrewAssessment((), rank_by_absences(tested, own))
        suggestions = ranked.best if ranked.is_certain else ()
    elif axes is not None and axes.is_certain:
        suggestions = axes.best
    if own.xhm() in suggestions:
        suggestions = ()
    return AbsenceAnalysis(own.xhm(), int(forbidden.sum()), present, log_odds, contradicted, suggestions, axes)


def _tested(data: ScaledData) -> tuple[AxialReflections, Any]:
    """Axial and forbidden reflections with their expected intensities, and which are forbidden."""
    normal = data.normalised
    intensity, sigma = normal.z * normal.expected, normal.sigma * normal.expected
    parts = [(normal.miller_index, intensity, sigma, normal.expected, normal.is_centric)]
    rows = data.observations.absent & ~data.scaled.small_scale & (data.variance > 0)
    if rows.any():
        obs = data.sorted_observations(rows)
        _, intensity, sigma = _core.merge(obs.intensity, obs.variance, obs.offsets, False, data.n_threads)
        epsilon, centric = epsilon_and_centric(data.space_group, obs.asu_index)
        order = np.argsort(normal.d_star_sq)
        known = (normal.expected / normal.epsilon)[order]
        x = inverse_d_squared(data.unit_cell, obs.asu_index)
        expected = epsilon * np.interp(x, normal.d_star_sq[order], known)
        parts.append((obs.asu_index, intensity, sigma, expected, centric))
    forbidden = np.repeat([False, True][: len(parts)], [len(p[0]) for p in parts])
    whole = AxialReflections(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    chosen = forbidden | whole.on_axes(data.space_group)
    return whole.select(chosen), forbidden[chosen]
