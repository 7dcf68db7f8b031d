"""Options of `pyscale export`, under the names of dials.export where that has them."""

# Options and scopes are immutable, so they may be defaults of dataclass fields.
# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .importing import InputOptions
from .names import OldName, OptionNames
from .option import AUTO, Auto, option
from .tree import OptionScope

__all__ = ["EXPORT_NAMES", "ExportFormat", "ExportOptions", "MtzOptions", "ShelxOptions"]

ExportFormat = Literal["mtz", "merged_mtz", "xds_ascii", "shelx", "sca", "mmcif", "cif", "json", "parquet", "arrow"]


@dataclass(frozen=True, kw_only=True)
class MtzOptions(OptionScope, scope="mtz"):
    """MTZ files."""

    crystal_name: str = option("XTAL", "crystal name")
    project_name: str = option("pyscale", "project name (dials.export: DIALS)")


@dataclass(frozen=True, kw_only=True)
class ShelxOptions(OptionScope, scope="shelx"):
    """Files for SHELX."""

    scale: bool = option(
        True, "multiply intensities so that the largest number is 9999, for the best use of the digits"
    )
    ins: str | None = option(None, "instruction file with cell, symmetry and wavelength (dials.export: dials.ins)")


@dataclass(frozen=True, kw_only=True)
class CifOptions(OptionScope, scope="cif"):
    """CIF of the core dictionary."""

    shelx_hkl_file: bool = option(False, "put the observations into the file as SHELXL does (_shelx_hkl_file)")


@dataclass(frozen=True, kw_only=True)
class ExportOptions(OptionScope):
    """Options of `pyscale export`."""

    format: ExportFormat = option(
        "mtz",
        "kind of file: mtz: unmerged MTZ; merged_mtz; xds_ascii: XDS_ASCII.HKL; shelx: HKLF 4; sca: merged SCALEPACK; "
        "mmcif: merged and unmerged data for deposition; cif: of the core dictionary, for small molecules; "
        "json, parquet, arrow: columns",
        common=True,
    )
    hklout: str | Auto = option(AUTO, "output file; auto: scaled or integrated, with the format's ending", common=True)
    intensity: Literal["auto", "scale", "profile", "sum", "profile+sum"] = option(
        "auto",
        "which ones: scale: scaled intensities; profile or sum: those of integration, not scaled (a row that has only "
        "the other one gets that); profile+sum: sum as I and profile as IPR, unmerged MTZ only; auto: scale if "
        "the data are scaled, else profile+sum in unmerged MTZ files and profile in others",
        common=True,
    )
    d_min: float | None = option(None, "high resolution limit (Å)", range=(0.0, None), common=True)
    d_max: float | None = option(None, "low resolution limit (Å)", range=(0.0, None), common=True)
    merged: bool | Auto = option(
        AUTO,
        "merged reflections rather than observations, in formats that may hold either: shelx, json, parquet, arrow",
    )
    anomalous: bool = option(True, "keep I(+) and I(-) apart in merged data: sca, shelx, cif, json, parquet, arrow")
    partiality_threshold: float | Auto = option(
        AUTO,
        "observations recorded to a smaller part are left out; auto: 0.4 for intensities of integration, 0 for scaled "
        "ones, which scaling has judged",
        range=(0.0, 1.0),
    )
    min_isigi: float | None = option(None, "observations of lower I/sigma are left out (dials.export: -5)")
    best_unit_cell: tuple[float, float, float, float, float, float] | None = option(
        None, "cell for resolutions and headers (Å, degrees); None: the median of all data sets"
    )
    input: InputOptions = InputOptions()
    mtz: MtzOptions = MtzOptions()
    shelx: ShelxOptions = ShelxOptions()
    cif: CifOptions = CifOptions()
    nproc: int | Auto = option(AUTO, "number of threads", range=(1, 1024), aliases=("n_threads",))


_PARTIALS = "partials are always added up"
_DIALS_NAMES = {
    **{f"{scope}.hklout": OldName(now="hklout") for scope in ("mtz", "xds_ascii", "shelx", "mmcif")},
    **{f"mtz.{name}": OldName(now=name) for name in ("d_min", "min_isigi", "partiality_threshold", "best_unit_cell")},
    "mtz.combine_partials": OldName(advice=_PARTIALS),
    "output.hklout": OldName(now="hklout"),
}

EXPORT_NAMES: OptionNames[ExportOptions] = OptionNames(ExportOptions, old_names=_DIALS_NAMES)
"""The options of `pyscale export` and names that dials.export has for them."""
