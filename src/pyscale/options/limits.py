"""Options of resolution limits that the data themselves give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .option import option
from .tree import OptionScope

__all__ = ["AnisotropyOptions", "ResolutionOptions"]


@dataclass(frozen=True, kw_only=True)
class ResolutionOptions(OptionScope, scope="resolution"):
    """Estimated resolution limits."""

    cc_half: float | None = option(
        0.3,
        "CC1/2 at the resolution limit, by a fit to resolution shells; None: no such limit",
        range=(0.01, 0.99),
        own=True,
    )
    i_over_sigma: tuple[float, ...] = option(
        (2.0, 1.0),
        "mean I/sigma of merged reflections at the resolution limit, one limit for each",
        range=(0.1, 100.0),
        own=True,
    )
    shell_completeness: float | None = option(
        0.5,
        "completeness of a shell (0 to 1) at the resolution limit; None: no such limit",
        range=(0.01, 0.99),
        own=True,
    )
    r_meas: float | None = option(
        1.0, "R_meas of a shell at the resolution limit; None: no such limit", range=(0.01, 100.0), own=True
    )
    r_pim: float | None = option(
        None, "R_pim of a shell at the resolution limit; None: no such limit", range=(0.01, 100.0), own=True
    )
    criterion: Literal["cc_half", "i_over_sigma", "shell_completeness", "r_meas", "r_pim"] = option(
        "cc_half",
        "which of these limits is suggested, and applied by d_min=auto; of i_over_sigma the first",
        own=True,
    )


@dataclass(frozen=True, kw_only=True)
class AnisotropyOptions(OptionScope, scope="anisotropy"):
    """Anisotropic diffraction limits."""

    local_i_over_sigma: float = option(
        1.2, "local mean I/sigma of merged reflections at the surface of the ellipsoid", range=(0.1, 100.0), own=True
    )
