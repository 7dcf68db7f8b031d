"""Which screw axes the axial reflections show, and which space groups have them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cached_property, reduce
from typing import Any

import gemmi
import numpy as np

from . import _core
from .french_wilson import wilson_prior
from .merging import SortedObservations
from .statistics_text import intensity_text
from .symmetry import (
    SpaceGroupLike,
    UnitCellLike,
    epsilon_and_centric,
    find_space_group,
    inverse_d_squared,
    rotation_matrices,
    systematic_absences,
)
from .typing import BoolArray, FloatArray, IntArray

__all__ = [
    "AxialReflections",
    "ScrewAssessment",
    "ScrewAxis",
    "SpaceGroupCandidate",
    "assess_reflections",
    "assess_screw_axes",
    "candidate_space_groups",
    "rank_by_absences",
]

#: Forbidden reflections: shares of those with nothing but noise, a little intensity, and as much as any other.
_ABSENT_SHARES = (0.88, 0.10, 0.02)
_LITTLE = 0.02
_CERTAIN = 0.95
_SCREWS = {
    (2, 2): "21",
    (3, 3): "31, 32",
    (4, 2): "42",
    (4, 4): "41, 43",
    (6, 2): "63",
    (6, 3): "62, 64",
    (6, 6): "61, 65",
}


@dataclass(frozen=True)
class ScrewAxis:
    """One possible screw axis.

    Attributes
    ----------
    name : str
        For example "21 along b".
    n_present, n_absent : int
        Axial reflections that it allows and forbids, as far as measured.
    mean_intensity_present, mean_intensity_absent, i_over_sigma_present, i_over_sigma_absent : float
        Means; NaN without reflections.
    probability : float
        That the forbidden ones are absent, from even odds; 0.5 without any.
    """

    name: str
    n_present: int
    n_absent: int
    mean_intensity_present: float
    mean_intensity_absent: float
    i_over_sigma_present: float
    i_over_sigma_absent: float
    probability: float

    @property
    def verdict(self) -> str:
        """present, absent or undetermined."""
        if self.n_absent == 0 or 1 - _CERTAIN < self.probability < _CERTAIN:
            return "undetermined"
        return "present" if self.probability >= _CERTAIN else "absent"


@dataclass(frozen=True)
class SpaceGroupCandidate:
    """A space group and the probability of its absences, which several may share."""

    name: str
    probability: float


@dataclass(frozen=True)
class ScrewAssessment:
    """Screw axes, and space groups from the most to the least probable.

    Attributes
    ----------
    axes : tuple of ScrewAxis
    candidates : tuple of SpaceGroupCandidate
    """

    axes: tuple[ScrewAxis, ...]
    candidates: tuple[SpaceGroupCandidate, ...]

    @property
    def is_certain(self) -> bool:
        """Whether one pattern of absences has nearly all the probability."""
        return self.candidates[0].probability >= _CERTAIN

    @property
    def best(self) -> tuple[str, ...]:
        """The most probable space groups: those that share the absences of the first."""
        top = self.candidates[0].probability
        return tuple(c.name for c in self.candidates if c.probability == top)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: null in place of NaN."""

        def plain(item: Any) -> dict[str, Any]:
            values = asdict(item)
            return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}

        return {
            "axes": [plain(axis) | {"verdict": axis.verdict} for axis in self.axes],
            "candidates": [plain(candidate) for candidate in self.candidates],
        }

    def table(self) -> str:
        """Both tables for people."""
        lines = [
            f"{'':20}{'-------- allowed --------':>28}{'------- forbidden -------':>28}",
            f"{'Screw axis':20}{'n':>7}{'<I>':>12}{'<I/sI>':>9}{'n':>7}{'<I>':>12}{'<I/sI>':>9}  probability  verdict",
        ]
        for a in self.axes:
            allowed = (a.n_present, a.mean_intensity_present, a.i_over_sigma_present)
            forbidden = (a.n_absent, a.mean_intensity_absent, a.i_over_sigma_absent)
            cells = "".join(f"{n:7}{intensity_text(i, 12)}{t:9.2f}" for n, i, t in (allowed, forbidden))
            cells = cells.replace("nan", "  -")
            lines.append(f"{a.name:20}{cells}{a.probability:13.3f}  {a.verdict}")
        lines += ["", "Space group    probability of its absences"]
        return "\n".join(lines + [f"{c.name:15}{c.probability:12.3f}" for c in self.candidates])


def candidate_space_groups(space_group: SpaceGroupLike) -> list[Any]:
    """Space groups (`gemmi.SpaceGroup`) without mirrors and inversions, of the same rotations and centring.

    Empty where the space group itself has such elements.
    """
    own = find_space_group(space_group)
    if not own.is_sohncke():
        return []
    rotations = _rotation_set(own)
    centring = {tuple(c) for c in own.operations().cen_ops}
    axial = np.array([k * row for row, _ in _rows(rotation_matrices(own)) for k in range(1, 13)], dtype=np.int32)
    found: dict[tuple[int, bytes], Any] = {}
    for group in [own, *gemmi.spacegroup_table()]:
        if group.point_group_hm() != own.point_group_hm() or not group.is_sohncke():
            continue
        same = {tuple(c) for c in group.operations().cen_ops} == centring and _rotation_set(group) == rotations
        if same:
            # Another origin of the same group has the same absences.
            key = (group.number, systematic_absences(group, axial).tobytes() if len(axial) else b"")
            found.setdefault(key, group)
    return list(found.values())


def _rotation_set(group: Any) -> set[tuple[int, ...]]:
    return {tuple(r) for r in rotation_matrices(group).reshape(-1, 9).tolist()}


def assess_screw_axes(
    obs: SortedObservations, unit_cell: UnitCellLike, space_group: SpaceGroupLike, n_threads: int = 1
) -> ScrewAssessment | None:
    """Compare axial reflections with what each screw axis forbids.

    The likelihood of a reflection that is present is Wilson's distribution at its resolution with the error of the
    measurement; that of a forbidden one is noise, with some room for intensity that has come from elsewhere. All
    patterns of absences are equally probable beforehand.

    Parameters
    ----------
    obs : SortedObservations
        Scaled observations, those absent in the present label included.
    unit_cell, space_group

    Returns
    -------
    ScrewAssessment or None
        None where nothing can be told: there is one candidate only, or the label has mirrors or inversions.
    """
    groups = candidate_space_groups(space_group)
    if len(groups) < 2:
        return None
    _, intensity, sigma = _core.merge(obs.intensity, obs.variance, obs.offsets, False, n_threads)
    index = obs.asu_index
    factor, _ = epsilon_and_centric(space_group, index)
    epsilon = factor.astype(np.float64)
    prior = wilson_prior(intensity, sigma, epsilon, obs.is_centric, inverse_d_squared(unit_cell, index))
    reflections = AxialReflections(index, intensity, sigma, prior, obs.is_centric)
    return assess_reflections(reflections.select(reflections.on_axes(space_group)), space_group)


@dataclass(frozen=True)
class AxialReflections:
    """Merged reflections to be tested for absence, those absent in the present label included.

    Attributes
    ----------
    miller_index : (n, 3) int32
    intensity, sigma : (n,) float64
    prior : (n,) float64
        Expected intensity of a reflection that is present.
    is_centric : (n,) bool
    """

    miller_index: IntArray
    intensity: FloatArray
    sigma: FloatArray
    prior: FloatArray
    is_centric: BoolArray

    def select(self, rows: BoolArray) -> AxialReflections:
        """Return some of them."""
        index = np.ascontiguousarray(self.miller_index[rows])
        return AxialReflections(index, self.intensity[rows], self.sigma[rows], self.prior[rows], self.is_centric[rows])

    def on_axes(self, space_group: SpaceGroupLike) -> BoolArray:
        """Whether a rotation of the point group leaves each where it is, (n,) bool."""
        return _on_axes(self.miller_index, rotation_matrices(space_group))

    @cached_property
    def scores(self) -> tuple[FloatArray, FloatArray]:
        """Logarithm of the likelihood of each if it is present, and if it is forbidden, two (n,) float64."""
        return _scores(self.intensity, self.sigma, self.prior, self.is_centric)

    @property
    def log_odds(self) -> FloatArray:
        """Logarithm of the odds of each that it is forbidden, (n,) float64."""
        present, forbidden = self.scores
        result: FloatArray = forbidden - present
        return result


def assess_reflections(axial: AxialReflections, space_group: SpaceGroupLike) -> ScrewAssessment | None:
    """Do what `assess_screw_axes` does with merged reflections; those on no axis change nothing."""
    groups = candidate_space_groups(space_group)
    if len(groups) < 2:
        return None
    on_axes = axial.on_axes(space_group)
    if not on_axes.all():
        axial = axial.select(on_axes)
    axes = _axes(groups, axial.miller_index, axial.intensity, axial.sigma, axial.scores)
    return ScrewAssessment(axes, _ranked(groups, axial))


def rank_by_absences(reflections: AxialReflections, space_group: SpaceGroupLike) -> tuple[SpaceGroupCandidate, ...]:
    """Space groups of the same rotations, whatever their centring and glide planes, by their absences."""
    own = find_space_group(space_group)
    rotations = _rotation_set(own)
    groups = [
        g
        for g in [own, *gemmi.spacegroup_table()]
        if g.point_group_hm() == own.point_group_hm() and _rotation_set(g) == rotations
    ]
    return _ranked(list({g.xhm(): g for g in groups}.values()), reflections)


def _on_axes(index: IntArray, rotations: IntArray) -> BoolArray:
    """Reflections that a rotation of the point group leaves where they are."""
    result = np.zeros(len(index), dtype=np.bool_)
    for rotation in rotations:
        if not np.array_equal(rotation, np.eye(3)):
            result |= (index @ rotation == index).all(axis=1)
    return result


def _scores(
    intensity: FloatArray, sigma: FloatArray, prior: FloatArray, is_centric: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Logarithm of the likelihood of each reflection if it is present, and if it is forbidden."""
    centric = is_centric.astype(np.uint8)

    def wilson(mean: FloatArray) -> FloatArray:
        return _core.french_wilson(intensity, sigma, mean, centric)["log_evidence"]

    noise = -0.5 * (intensity / sigma) ** 2 - np.log(np.sqrt(2 * np.pi) * sigma)
    present = wilson(prior)
    parts = np.stack([noise, wilson(_LITTLE * prior), present]) + np.log(_ABSENT_SHARES)[:, None]
    absent: FloatArray = np.logaddexp.reduce(parts, axis=0)
    return present, absent


def _ranked(groups: list[Any], reflections: AxialReflections) -> tuple[SpaceGroupCandidate, ...]:
    absent = np.array([systematic_absences(g, reflections.miller_index) for g in groups]).reshape(len(groups), -1)
    asked = ~absent.all(axis=0)
    absent = absent[:, asked]
    present, forbidden = (score[asked] for score in reflections.scores)
    total = np.where(absent, forbidden, present).sum(axis=1)
    patterns: dict[bytes, float] = {a.tobytes(): float(t) for a, t in zip(absent, total, strict=True)}
    norm = reduce(np.logaddexp, patterns.values())
    found = [
        SpaceGroupCandidate(g.xhm(), math.exp(patterns[a.tobytes()] - norm))
        for g, a in zip(groups, absent, strict=True)
    ]
    order = sorted(range(len(found)), key=lambda k: (-found[k].probability, groups[k].number, groups[k].xhm()))
    return tuple(found[k] for k in order)


def _axes(
    groups: list[Any],
    index: IntArray,
    intensity: FloatArray,
    sigma: FloatArray,
    scores: tuple[FloatArray, FloatArray],
) -> tuple[ScrewAxis, ...]:
    """Each axis of the point group with each screw that a candidate has there."""
    rotations = rotation_matrices(groups[0])
    axes: list[ScrewAxis] = []
    for row, order in _rows(rotations):
        along = np.cross(index, row).any(axis=1) == 0
        equivalents = {tuple(r) for r in np.concatenate([row @ rotations, -(row @ rotations)]).tolist()}
        for other in equivalents:
            along |= np.cross(index, np.array(other)).any(axis=1) == 0
        step = np.gcd.reduce(np.abs(index), axis=1)
        periods = sorted({_period(g, row) for g in groups})
        lattice = periods[0]
        for period in periods[1:]:
            used = along & (step % lattice == 0)
            forbidden = used & (step % period != 0)
            axes.append(_axis(_name(row, order, period), used & ~forbidden, forbidden, intensity, sigma, scores))
    return tuple(axes)


def _axis(
    name: str,
    allowed: BoolArray,
    forbidden: BoolArray,
    intensity: FloatArray,
    sigma: FloatArray,
    scores: tuple[FloatArray, FloatArray],
) -> ScrewAxis:
    present, absent = scores
    odds = float((absent - present)[forbidden].sum())

    def mean(values: FloatArray, rows: BoolArray) -> float:
        return float(values[rows].mean()) if rows.any() else math.nan

    return ScrewAxis(
        name=name,
        n_present=int(allowed.sum()),
        n_absent=int(forbidden.sum()),
        mean_intensity_present=mean(intensity, allowed),
        mean_intensity_absent=mean(intensity, forbidden),
        i_over_sigma_present=mean(intensity / sigma, allowed),
        i_over_sigma_absent=mean(intensity / sigma, forbidden),
        probability=1 / (1 + math.exp(-min(max(odds, -700.0), 700.0))),
    )


def _rows(rotations: IntArray) -> list[tuple[IntArray, int]]:
    """Directions of reciprocal space on rotation axes, one of all that are equivalent, with the order of the axis."""
    grid = np.array(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij")).reshape(3, -1).T.astype(np.int32)
    grid = grid[np.gcd.reduce(np.abs(grid), axis=1) == 1]
    grid = grid[np.lexsort((*-grid.T[::-1], np.abs(grid).sum(axis=1)))]
    found: list[tuple[IntArray, int]] = []
    seen: set[tuple[int, ...]] = set()
    for row in grid:
        order = int((row @ rotations == row).all(axis=1).sum())
        images = np.concatenate([row @ rotations, -(row @ rotations)])
        if order < 2 or tuple(row.tolist()) in seen:
            continue
        seen |= {tuple(image) for image in images.tolist()}
        found.append((row, order))
    return found


def _period(group: Any, row: IntArray) -> int:
    """The least multiple of a row's first reflection that is present, which all others are multiples of."""
    multiples = np.arange(1, 13, dtype=np.int32)
    present = ~systematic_absences(group, multiples[:, None] * row)
    return int(multiples[present][0])


def _name(row: IntArray, order: int, period: int) -> str:
    axes = {(1, 0, 0): "a", (0, 1, 0): "b", (0, 0, 1): "c"}
    direction = axes.get(tuple(np.abs(row).tolist()), "[" + " ".join(map(str, row.tolist())) + "]")
    return f"{_SCREWS.get((order, period), f'{order}, every {period}th')} along {direction}"
