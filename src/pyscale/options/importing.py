"""Options of reading files of other integrators."""

# Options and scopes are immutable, so they may be defaults of dataclass fields.

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .option import option
from .tree import OptionScope

__all__ = ["InputOptions"]


@dataclass(frozen=True, kw_only=True)
class InputOptions(OptionScope, scope="input"):
    """Reading of files that are not DIALS' own."""

    unit_cell: tuple[float, float, float, float, float, float] | None = option(
        None, "cell (Å, degrees) instead of those in the files, or for files that have none", own=True
    )
    space_group: str | None = option(
        None,
        "space group (name, number or Hall symbol) instead of those in the files, or for files without one",
        own=True,
    )
    wavelength: float | None = option(
        None, "wavelength (Å) instead of that in the files", range=(1e-3, 100.0), own=True
    )
    polarization_fraction: float | None = option(
        None,
        "fraction of the beam that is polarised across the polarization_normal, for intensities that have been "
        "corrected for an unpolarised beam; None: what the file says, or a default for its kind "
        "(docs/reference/formats.md)",
        range=(0.0, 1.0),
        own=True,
    )
    polarization_normal: tuple[float, float, float] | None = option(
        None, "normal of the plane of polarisation; None: what the file says, or a default for its kind", own=True
    )
    stored_scale: Literal["undo", "keep"] = option(
        "undo",
        "scales that another program has put on intensities (column SCALEUSED of unmerged MTZ files): undo takes them "
        "off first, keep scales on top of them",
        own=True,
    )
    flagged: Literal["drop", "keep"] = option(
        "drop",
        "observations that the integrating program has flagged (FLAG > 0 in unmerged MTZ files: overlap, gradient, "
        "overload, edge; misfits in XDS_ASCII.HKL): left out, or kept",
        own=True,
    )
