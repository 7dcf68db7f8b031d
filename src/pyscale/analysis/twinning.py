"""How intensities are distributed: moments, L test and twin fractions."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..symmetry import UnitCellLike, group_operations, unit_cell_from
from ..typing import BoolArray, FloatArray
from .intensity_pairs import Estimate, moment_ratio, neighbours, usable
from .normalised import NormalisedIntensities, equal_shells
from .pseudo_translation import PseudoTranslation
from .twin_laws import TwinLaw, fraction_of_variance, higher_symmetry, twin_laws
from .twin_verdict import TwinEvidence, judge

__all__ = ["LTest", "Moments", "TwinAnalysis", "twin_analysis"]

_FEWEST = 100
#: Noise, as variance of z, below which moments of single reflections and L are taken as measured.
_LITTLE_NOISE = 0.1
_N_SHELLS = 20
_L_GRID = 20
#: A^3 per asymmetric unit below which few atoms may spoil Wilson's statistics.
_SMALL_VOLUME = 1000.0
#: A, limit of data at whose resolution atoms do not scatter independently.
_COARSE = 4.0


@dataclass(frozen=True)
class Moments:
    """Second moments <I^2>/<I>^2, free of noise, of acentric or centric reflections in a shell.

    Attributes
    ----------
    d_max, d_min : float
        A.
    acentric, centric : Estimate or None
        2 and 3 by Wilson's statistics, 1.5 and 2 in a perfect twin.
    """

    d_max: float
    d_min: float
    acentric: Estimate | None
    centric: Estimate | None


@dataclass(frozen=True)
class LTest:
    """L = (I1 - I2) / (I1 + I2) of neighbours (Padilla & Yeates 2003), where noise is small.

    Attributes
    ----------
    mean_abs_l, mean_l_squared : Estimate
        1/2 and 1/3 for acentric reflections of untwinned crystals, 3/8 and 1/5 for perfect twins; 2/pi and 1/2 centric.
    cumulative : tuple of float
        Part of the pairs with |L| below 0.05, 0.10, ... 1.
    """

    mean_abs_l: Estimate
    mean_l_squared: Estimate
    cumulative: tuple[float, ...]


@dataclass(frozen=True)
class TwinAnalysis:
    """Whether intensities are distributed as those of an untwinned crystal.

    Attributes
    ----------
    verdict : str
        "untwinned", "twinned", "possibly twinned", "pseudosymmetric", "too symmetric", "suggests tNCS",
        "suggests inversion centre" or "cannot tell".
    reason : str
    centric : bool
        Whether the tests are of centric reflections, there being too few others.
    l2 : Estimate
        Noise-free <L^2> over all usable resolutions (`moment_ratio`).
    variance : Estimate
        Variance of intensities relative to Wilson's, which decides (`TwinEvidence.variance`).
    fraction, sigma_fraction : float
        Twin fraction by that.
    l_test : LTest or None
    acentric, centric_moment : Estimate or None
        Second moments over all usable resolutions.
    mean_abs_e2_minus_1 : float or None
        0.736 acentric, 0.968 centric; where noise is small.
    shells : tuple of Moments
    laws : tuple of TwinLaw
    higher_symmetry : str or None
        Space group without further screw axes that has the law of the most alike intensities as well.
    """

    verdict: str
    reason: str
    centric: bool
    l2: Estimate
    variance: Estimate
    fraction: float
    sigma_fraction: float
    l_test: LTest | None
    acentric: Estimate | None
    centric_moment: Estimate | None
    mean_abs_e2_minus_1: float | None
    shells: tuple[Moments, ...]
    laws: tuple[TwinLaw, ...]
    higher_symmetry: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def text(self) -> str:
        """Lines for the log."""
        untwinned, perfect = ("0.500", "0.333") if self.centric else ("0.333", "0.200")
        lines = [f"Twinning: {self.verdict}: {self.reason}"]
        lines.append(
            f"  <L^2> without noise, {'' if self.centric else 'a'}centric: {self.l2.value:.3f} +- {self.l2.sigma:.3f}; "
            f"{untwinned} untwinned, {perfect} perfect twin"
        )
        if self.l_test is not None:
            lines.append(f"  <|L|> {self.l_test.mean_abs_l.value:.3f}, {self.l_test.mean_abs_l.n} pairs")
        for name, moment, values in (
            ("acentric", self.acentric, "2.0, 1.5"),
            ("centric", self.centric_moment, "3.0, 2.0"),
        ):
            if moment is not None:
                lines.append(
                    f"  <I^2>/<I>^2 {name}: {moment.value:.2f} +- {moment.sigma:.2f} (untwinned, twin: {values})"
                )
        lines += [
            f"  Twin law {law.operator}: fraction {law.fraction:.3f} +- {law.sigma:.3f}, <|H|> {law.mean_h:.3f}"
            for law in self.laws
        ]
        return "\n".join(lines)

    def warnings(self) -> list[str]:
        """What the verdict asks of the user."""
        advice = {
            "twinned": "Check the other twin laws, choose free-R flags that the law relates alike, and refine with it",
            "possibly twinned": "Try a space group of lower symmetry (space_group=) and look for a second lattice in "
            "the images; do not trust R factors of a refinement without a twin law",
            "pseudosymmetric": "Keep this space group unless R_meas in the higher symmetry is as good; a refinement "
            "tells pseudosymmetry from a twin of small fraction",
            "too symmetric": f"Scale again as {self.higher_symmetry or 'such'} (integrate or import the data in it) "
            "and compare R_meas",
        }
        if self.verdict not in advice:
            return []
        name = {"twinned": "The crystal is twinned", "possibly twinned": "The crystal is possibly twinned"}
        start = name.get(self.verdict, "The crystal has more symmetry than its space group, at least nearly")
        return [f"{start}: {self.reason}. {advice[self.verdict]}."]


def twin_analysis(
    data: NormalisedIntensities, unit_cell: UnitCellLike, space_group: Any, translation: PseudoTranslation | None = None
) -> TwinAnalysis | None:
    """Test merged intensities for twinning.

    Returns
    -------
    TwinAnalysis or None
        None with fewer than 100 pairs of neighbours whose noise leaves something to see.
    """
    for centric in (False, True):
        rows = usable(data, centric)
        first, second = neighbours(data, rows, unit_cell, space_group)
        if len(first) >= _FEWEST:
            break
    else:
        return None
    l2 = moment_ratio(data, first, second)
    moment = second_moment(data, rows)
    if moment is None or not math.isfinite(l2.value):
        return None
    operations = group_operations(space_group)
    volume = unit_cell_from(unit_cell).volume / (len(operations.sym_ops) * len(operations.cen_ops))
    laws = twin_laws(data, rows, unit_cell, space_group)
    modulated = translation is not None and translation.is_significant
    unlike_wilson = volume < _SMALL_VOLUME or 1 / math.sqrt(float(data.d_star_sq.max())) > _COARSE
    evidence = TwinEvidence(l2, moment, centric, laws, modulated, unlike_wilson)
    verdict, reason = judge(evidence)
    fraction, sigma = fraction_of_variance(evidence.variance)
    likely = evidence.law
    symmetry = None if likely is None else higher_symmetry(unit_cell, space_group, likely.operator)
    quiet = data.noise < _LITTLE_NOISE
    calm = rows & quiet
    e2 = np.abs(data.z[calm] / data.z[calm].mean() - 1).mean() if calm.sum() >= _FEWEST else None
    return TwinAnalysis(
        verdict=verdict,
        reason=reason,
        centric=centric,
        l2=l2,
        variance=evidence.variance,
        fraction=fraction,
        sigma_fraction=sigma,
        l_test=_l_test(data.z[first], data.z[second], quiet[first] & quiet[second]),
        acentric=second_moment(data, usable(data, centric=False)),
        centric_moment=second_moment(data, usable(data, centric=True)),
        mean_abs_e2_minus_1=None if e2 is None else float(e2),
        shells=_shells(data),
        laws=laws,
        higher_symmetry=symmetry,
    )


def second_moment(data: NormalisedIntensities, rows: BoolArray) -> Estimate | None:
    """<z^2> - <sigma^2> over <z>^2, noisy resolutions weighing less; None with few reflections."""
    n = int(rows.sum())
    if n < _FEWEST // 2:
        return None
    z, variance = data.z[rows], data.sigma[rows] ** 2
    weight = 1 / (1 + data.noise[rows]) ** 2
    weight /= weight.sum()
    mean = float(weight @ z)
    moment = float(weight @ (z**2 - variance)) / mean**2
    influence = weight * ((z**2 - variance) / mean**2 - moment - 2 * moment * (z / mean - 1))
    return Estimate(moment, float(np.sqrt((influence**2).sum())), n)


def _shells(data: NormalisedIntensities) -> tuple[Moments, ...]:
    shell = equal_shells(data.d_star_sq, _N_SHELLS)
    result = []
    for k in range(int(shell.max()) + 1):
        inside = shell == k
        d = 1 / np.sqrt(data.d_star_sq[inside])
        kinds = [second_moment(data, inside & usable(data, centric)) for centric in (False, True)]
        result.append(Moments(float(d.max()), float(d.min()), *kinds))
    return tuple(result)


def _l_test(z1: FloatArray, z2: FloatArray, quiet: BoolArray) -> LTest | None:
    total, difference = (z1 + z2)[quiet], np.abs(z1 - z2)[quiet]
    positive = total > 0
    if positive.sum() < _FEWEST:
        return None
    size = np.minimum(difference[positive] / total[positive], 1.0)
    n = len(size)
    place = np.searchsorted(np.sort(size), np.arange(1, _L_GRID + 1) / _L_GRID, side="right") / n

    def mean(values: FloatArray) -> Estimate:
        return Estimate(float(values.mean()), float(values.std() / math.sqrt(n)), n)

    return LTest(mean(size), mean(size**2), tuple(place.tolist()))
