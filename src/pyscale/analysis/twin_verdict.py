"""What moments, neighbours and twin laws together say of a crystal."""

from __future__ import annotations

from dataclasses import dataclass

from .intensity_pairs import Estimate
from .twin_laws import TwinLaw, variance_of_moment, variance_of_neighbours

__all__ = ["TwinEvidence", "judge"]

#: Standard errors by which the variance of intensities must be below Wilson's, and the most that a twin has: a = 0.11.
_DEVIATES, _MOST_OF_A_TWIN = 4.0, 0.80
#: Variance of a twin of fraction 0.2, which a test that tells must be able to tell from an untwinned crystal.
_TO_BE_SEEN = 0.68
#: Variance above which intensities are modulated.
_RAISED = 1.05
_PERFECT = 0.42


@dataclass(frozen=True)
class TwinEvidence:
    """Measurements of one kind of reflections, centric or acentric.

    Attributes
    ----------
    l2 : Estimate
        Noise-free <L^2> of neighbours.
    moment : Estimate
        Noise-free second moment.
    centric : bool
    laws : tuple of TwinLaw
    modulated : bool
        Whether there is a pseudo-translation.
    unlike_wilson : bool
        Whether there are too few atoms, or too little resolution, for Wilson's statistics.
    """

    l2: Estimate
    moment: Estimate
    centric: bool
    laws: tuple[TwinLaw, ...]
    modulated: bool
    unlike_wilson: bool

    @property
    def variance(self) -> Estimate:
        """Variance of intensities relative to Wilson's: the larger of those by neighbours and by the second moment.

        Neighbours are alike where a molecule is small beside the cell, which lowers <L^2>; whatever modulates
        intensities raises the moment, and then neighbours alone tell.
        """
        near = variance_of_neighbours(self.l2, self.centric)
        whole = variance_of_moment(self.moment, self.centric)
        modulated = self.modulated or whole.value - 2 * whole.sigma > _RAISED
        return near if modulated or near.value > whole.value else whole

    @property
    def is_low(self) -> bool:
        """Whether that is as low as only a twin has it."""
        v = self.variance
        return v.value < _MOST_OF_A_TWIN and 1 - v.value > _DEVIATES * v.sigma

    @property
    def tells(self) -> bool:
        """Whether a twin of fraction 0.2 would have been seen."""
        return _DEVIATES * self.variance.sigma < 1 - _TO_BE_SEEN

    @property
    def law(self) -> TwinLaw | None:
        """The law whose intensities are the most alike, if any are."""
        return max((x for x in self.laws if x.is_significant), key=lambda x: x.fraction, default=None)

    @property
    def fits(self) -> bool:
        """Whether the variance is nearer to that of a twin by the law than to that of an untwinned crystal."""
        if self.law is None:
            return False
        a = self.law.fraction
        return self.variance.value < 1 - a * (1 - a)


def judge(e: TwinEvidence) -> tuple[str, str]:
    """Verdict and reason; see `TwinAnalysis.verdict`."""
    spread = (
        f"the variance of intensities is {e.variance.value:.2f} +- {e.variance.sigma:.2f} times that of an untwinned "
        "crystal"
    )
    if e.law is not None:
        return _with_law(e, e.law, spread)
    return _low(e, spread) if e.is_low else _not_low(e, spread)


def _with_law(e: TwinEvidence, law: TwinLaw, spread: str) -> tuple[str, str]:
    alike = (
        f"intensities related by {law.operator} are alike (H test: twin fraction {law.fraction:.2f} +- {law.sigma:.2f})"
    )
    if e.is_low and e.fits:
        return "twinned", f"{spread}, and {alike}"
    if e.tells:
        return "too symmetric" if law.fraction > _PERFECT else "pseudosymmetric", f"{alike}, but {spread}"
    return "possibly twinned", f"{alike}, and there are too few strong intensities to tell from their variance"


def _low(e: TwinEvidence, spread: str) -> tuple[str, str]:
    if e.centric:
        return "cannot tell", f"{spread}, as in a twin or where there is no centre of inversion"
    if e.unlike_wilson:
        other = "few atoms, a heavy one or low resolution"
        return "cannot tell", f"{spread}, as with {other}; no twin law of the lattice explains it"
    return "possibly twinned", f"{spread}, and no twin law of the lattice explains it"


def _not_low(e: TwinEvidence, spread: str) -> tuple[str, str]:
    if e.modulated:
        return "suggests tNCS", f"a pseudo-translation changes the distribution of intensities; {spread}"
    l2 = e.l2
    near_centric = l2.value - _DEVIATES * l2.sigma > 1 / 3 and abs(l2.value - 0.5) < max(0.06, 2 * l2.sigma)
    if not e.centric and near_centric:
        return "suggests inversion centre", f"{spread}, twice with a centre of inversion"
    if not e.tells:
        return "cannot tell", f"there are too few strong intensities: {spread}"
    return "untwinned", spread
