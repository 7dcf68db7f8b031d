"""Options of the error model."""

# Options and scopes are immutable, so they may be defaults of dataclass fields.
# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .option import AUTO, Auto, option
from .tree import OptionScope

__all__ = ["ErrorModelOptions"]


@dataclass(frozen=True, kw_only=True)
class StillsErrorModelOptions(OptionScope, scope="weighting.error_model.basic.stills"):
    """Basic error model of stills."""

    min_Isigma: float = option(2.0, "least I/sigma used by error_model=basic")
    min_multiplicity: int = option(4, "least multiplicity used by error_model=basic", range=(2, None))


@dataclass(frozen=True, kw_only=True)
class BasicErrorModelOptions(OptionScope, scope="weighting.error_model.basic"):
    """Basic error model, that of dials.scale: sigma'² = a²(sigma² + (bI)²)."""

    a: float | None = option(None, "fix a, the factor of all sigmas, of either error model", range=(0.0, 1e6))
    b: float | None = option(
        None, "fix b, the error relative to the intensity, of either error model", range=(0.0, 1e6)
    )
    minimisation: Literal["individual", "regression"] | None = option(
        "individual",
        "how error_model=basic finds a and b: from the normal probability plot and the variance of bins in turn, or "
        "from a straight line through the variances of groups; None: they stay 1 and 0.02",
    )
    stills: StillsErrorModelOptions = StillsErrorModelOptions()
    min_Ih: float = option(25.0, "least expected intensity used by error_model=basic", range=(0.0, None))
    n_bins: int = option(10, "intensity bins of error_model=basic", range=(1, 1000))


@dataclass(frozen=True, kw_only=True)
class LikelihoodErrorModelOptions(OptionScope, scope="weighting.error_model.likelihood"):
    """Likelihood error model: sigma'² = a²(sigma² + c k I + (bI)²), of expected intensities and counts."""

    third_term: bool = option(
        True,
        "let the data decide on an error of the counts beyond that of sigma, c (k is the intensity per count); the "
        "SdB of AIMLESS. False: never",
        own=True,
    )


@dataclass(frozen=True, kw_only=True)
class ErrorModelOptions(OptionScope, scope="weighting.error_model"):
    """Error model."""

    error_model: Literal["likelihood", "basic"] | None = option(
        "likelihood",
        "correction of the sigmas: by the likelihood of the scatter of equivalents, or as dials.scale makes it "
        "(basic); None: as they are",
        common=True,
    )
    basic: BasicErrorModelOptions = BasicErrorModelOptions()
    likelihood: LikelihoodErrorModelOptions = LikelihoodErrorModelOptions()
    reset_error_model: bool = option(
        False, "forget a stored error model, which otherwise is the start, and used from the first round"
    )
    grouping: Literal["combined", "individual", "grouped"] | Auto = option(
        AUTO,
        "which data sets share an error model: all, none, or those of each error_model_group. Those of the likelihood "
        "model are shrunk towards common parameters as far as they are alike. auto: individual for the likelihood "
        "model, combined for the basic one",
    )
    error_model_group: tuple[tuple[int, ...], ...] = option(
        (),
        "numbers of data sets that share an error model, from 0, or from 1 where 0 is not among them (repeatable; "
        "grouping=grouped). Those not named form one more group",
        repeatable=True,
    )
