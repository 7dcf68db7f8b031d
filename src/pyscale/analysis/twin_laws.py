"""Twin laws that a lattice allows, and the twin fraction that each would have (Yeates 1988)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import gemmi
import numpy as np

from ..indexing_operators import alternative_indexings
from ..symmetry import UnitCellLike, rotation_matrices, unit_cell_from
from ..typing import BoolArray
from .intensity_pairs import Estimate, moment_ratio, twin_mates
from .normalised import NormalisedIntensities

__all__ = [
    "TwinLaw",
    "fraction_of_variance",
    "higher_symmetry",
    "twin_laws",
    "variance_of_moment",
    "variance_of_neighbours",
]

#: By how much a lattice may miss the symmetry of a twin law, degrees.
_MAX_OBLIQUITY_DEG = 2.0
_FEWEST_PAIRS = 50


@dataclass(frozen=True)
class TwinLaw:
    """A twin law and the twin fraction by the H test.

    Attributes
    ----------
    operator : str
        New h, k, l in terms of the old.
    mean_h, mean_h_squared : float
        Means of H = |I(h) - I(Th)| / (I(h) + I(Th)), the second free of noise; 1/2 and 1/3 without a twin or
        pseudosymmetry (centric: 2/pi and 1/2).
    fraction, sigma : float
        Twin fraction by the mean of H^2, and its standard error. Pseudosymmetry along the law gives the same.
    correlation : float
        Of the intensities that the law relates, free of noise.
    n_pairs : int
    """

    operator: str
    mean_h: float
    mean_h_squared: float
    fraction: float
    sigma: float
    correlation: float
    n_pairs: int

    @property
    def is_significant(self) -> bool:
        """Whether related intensities are alike, beyond doubt and to more than a trace."""
        return self.fraction > 0.05 and self.fraction > 4 * self.sigma


def twin_laws(
    data: NormalisedIntensities, rows: BoolArray, unit_cell: UnitCellLike, space_group: Any
) -> tuple[TwinLaw, ...]:
    """Test every law under which the lattice is the same (merohedry) or nearly so (pseudo-merohedry).

    Parameters
    ----------
    rows : (m,) bool
        Reflections to compare, all acentric or all centric ones.
    """
    operators = alternative_indexings(unit_cell_from(unit_cell).parameters, space_group, _MAX_OBLIQUITY_DEG)
    if operators is None:
        return ()
    rotations = rotation_matrices(space_group)
    found = []
    for k in range(1, len(operators)):
        first, second = twin_mates(data, rows, operators.matrix(k), rotations)
        if len(first) < _FEWEST_PAIRS:
            continue
        centric = bool(data.is_centric[first[0]])
        ratio = moment_ratio(data, first, second)
        if math.isfinite(ratio.value):
            found.append(_law(data, operators.triplets[k], first, second, ratio, centric))
    return tuple(found)


def _law(data: NormalisedIntensities, name: str, first: Any, second: Any, ratio: Estimate, centric: bool) -> TwinLaw:
    fraction, sigma = fraction_of_h(ratio, centric)
    total = data.z[first] + data.z[second]
    clear = total > 0
    h = np.abs(data.z[first] - data.z[second])[clear] / total[clear]
    spread = data.noise[first] + data.noise[second]
    strong = h[spread[clear] <= np.median(spread)]
    # <(z1 - z2)^2> = 2 v (1 - r), <(z1 + z2)^2> = 2 v (1 + r) + 4, v the variance of z.
    v = 2.0 if centric else 1.0
    correlation = (v - ratio.value * (v + 2)) / (v * (1 + ratio.value))
    return TwinLaw(
        operator=name,
        mean_h=float(np.minimum(strong, 1).mean()),
        mean_h_squared=ratio.value,
        fraction=fraction,
        sigma=sigma,
        correlation=float(np.clip(correlation, -1, 1)),
        n_pairs=ratio.n,
    )


def fraction_of_h(ratio: Estimate, centric: bool) -> tuple[float, float]:
    """Twin fraction and its standard error from <H^2> = (1 - 2 a)^2 <L^2>."""
    untwinned = 1 / 2 if centric else 1 / 3
    square = max(ratio.value / untwinned, 0.0)
    root = math.sqrt(square)
    slope = 1 / (4 * max(root, math.sqrt(ratio.sigma / untwinned)) * untwinned)
    return float(np.clip(0.5 * (1 - root), 0, 0.5)), slope * ratio.sigma


def variance_of_neighbours(l2: Estimate, centric: bool) -> Estimate:
    """Variance of z by <L^2> of neighbours, relative to Wilson's 1 (centric: 2)."""
    m = min(max(l2.value, 0.0), 0.9)
    v, slope = (m / (1 - m), 1 / (1 - m) ** 2) if centric else (2 * m / (1 - m), 2 / (1 - m) ** 2)
    return Estimate(v, slope * l2.sigma, l2.n)


def variance_of_moment(moment: Estimate, centric: bool) -> Estimate:
    """Variance of z by the second moment, relative to Wilson's 1 (centric: 2)."""
    unit = 2.0 if centric else 1.0
    return Estimate((moment.value - 1) / unit, moment.sigma / unit, moment.n)


def fraction_of_variance(variance: Estimate) -> tuple[float, float]:
    """Twin fraction and its standard error: a twin has 1 - 2 a + 2 a^2 times Wilson's variance."""
    root = math.sqrt(max(2 * variance.value - 1, 0.0))
    sigma = variance.sigma / (2 * max(root, math.sqrt(2 * variance.sigma)))
    return float(np.clip(0.5 * (1 - root), 0, 0.5)), sigma


def higher_symmetry(unit_cell: UnitCellLike, space_group: Any, law: str) -> str | None:
    """Space group that has the rotation `law` too, without new screw axes or glides; None if there is none."""
    operators = alternative_indexings(unit_cell_from(unit_cell).parameters, space_group, _MAX_OBLIQUITY_DEG)
    if operators is None or law not in operators.triplets:
        return None
    numerators = operators.numerators[operators.triplets.index(law)]
    if (numerators % gemmi.Op.DEN).any():
        return None
    elements = {tuple(r.ravel().tolist()) for r in operators.point_group}
    elements.add(tuple((numerators // gemmi.Op.DEN).ravel().tolist()))
    while True:
        arrays = [np.array(e).reshape(3, 3) for e in sorted(elements)]
        product = {tuple((a @ b).ravel().tolist()) for a in arrays for b in arrays}
        if product <= elements or len(elements) > 24:
            break
        elements |= product
    for group in gemmi.spacegroup_table():
        if group.is_sohncke() and group.is_symmorphic() and group.centring_type() == space_group.centring_type():
            found = {tuple(r.ravel().tolist()) for r in rotation_matrices(group)}
            if found == elements:
                return str(group.xhm())
    return None
