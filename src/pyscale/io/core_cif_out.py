"""Reflections of small molecules as CIF of the core dictionary."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import gemmi
import numpy as np

from .. import _core
from ..statistics import ShellStatistics
from ..symmetry import UnitCellLike, unit_cell_from
from ..typing import FloatArray, IntArray
from .hklf4_out import write_hklf4_rows
from .text_rows import write_rows

__all__ = ["CifReflections", "shelx_checksum", "write_core_cif"]

_LENGTHS, _ANGLES = ("a", "b", "c"), ("alpha", "beta", "gamma")


@dataclass(frozen=True, kw_only=True)
class CifReflections:
    """Indices (n, 3) int32, intensity and sigma (n,) float64."""

    miller_index: IntArray
    intensity: FloatArray
    sigma: FloatArray


def write_core_cif(
    path: Path,
    reflections: CifReflections,
    observed_index: IntArray,
    unit_cell: UnitCellLike,
    space_group: Any,
    wavelength: float,
    statistics: ShellStatistics,
    *,
    transmission: tuple[float, float] | None = None,
    name: str = "scaled",
    is_scaled: bool = True,
    shelx: CifReflections | None = None,
) -> None:
    """Write cell, symmetry, `_diffrn_reflns`, `_reflns`, `_exptl_absorpt` items and the list of reflections.

    Parameters
    ----------
    path
    reflections
        The list `_refln`.
    observed_index : (n_obs, 3) int32
        Indices of the observations, for their limits.
    unit_cell, space_group, wavelength
    statistics
        Of all observations.
    transmission : (float, float), optional
        Least and largest relative transmission of the absorption correction.
    name
        Of the block.
    is_scaled
        Whether the data were scaled, which stands for a multi-scan absorption correction.
    shelx
        What goes into `_shelx_hkl_file`, on the scale that it is to have there.
    """
    document = gemmi.cif.Document()
    block = document.add_new_block(name)
    cell, items = unit_cell_from(unit_cell), {}
    items["_audit_creation_method"] = _software()
    items |= _cell_items(cell, space_group)
    items["_diffrn_radiation_wavelength"] = f"{wavelength:.6g}"
    items |= _measured_items(reflections, observed_index, wavelength, statistics)
    items |= _absorption_items(transmission, is_scaled)
    for tag, value in items.items():
        block.set_pair(tag, value)
    loop = block.init_loop("_space_group_symop_", ["operation_xyz"])
    for operator in space_group.operations():
        loop.add_row([gemmi.cif.quote(operator.triplet())])
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(document.as_string().rstrip() + "\n\n")
        _write_list(file, reflections)
        if shelx is not None:
            _write_shelx(file, shelx)


def shelx_checksum(text: str) -> int:
    """The number by which SHELXL's `_shelx_hkl_checksum` guards a text: blanks and line ends do not count."""
    codes = np.frombuffer(text.encode("ascii"), np.uint8)
    total = int(codes[codes > 32].sum(dtype=np.int64)) % 714025
    return (total * 1366 + 150889) % 714025 % 100000


def _software() -> str:
    return gemmi.cif.quote(f"pyscale {_core.__version__}")


def _cell_items(cell: Any, space_group: Any) -> dict[str, str]:
    lengths = {f"_cell_length_{x}": f"{getattr(cell, x):.4f}" for x in _LENGTHS}
    angles = {f"_cell_angle_{x}": f"{getattr(cell, x):.3f}" for x in _ANGLES}
    return (
        lengths
        | angles
        | {
            "_cell_volume": f"{cell.volume:.2f}",
            "_space_group_IT_number": str(space_group.number),
            "_space_group_name_H-M_alt": gemmi.cif.quote(space_group.xhm()),
            "_space_group_name_Hall": gemmi.cif.quote(space_group.hall),
        }
    )


def _measured_items(
    reflections: CifReflections, observed: IntArray, wavelength: float, statistics: ShellStatistics
) -> Mapping[str, str]:
    theta = [_theta(wavelength, d) for d in (statistics.d_max, statistics.d_min)]
    total = float(reflections.intensity.sum())
    items = {
        "_diffrn_reflns_number": str(statistics.n_obs),
        "_diffrn_reflns_av_R_equivalents": _number(statistics.r_merge),
        "_diffrn_reflns_av_unetI/netI": _number(float(reflections.sigma.sum()) / total if total > 0 else math.nan),
    }
    for axis, column in zip("hkl", observed.T, strict=True):
        items[f"_diffrn_reflns_limit_{axis}_min"] = str(column.min())
        items[f"_diffrn_reflns_limit_{axis}_max"] = str(column.max())
    return items | {
        "_diffrn_reflns_theta_min": _number(theta[0], 3),
        "_diffrn_reflns_theta_max": _number(theta[1], 3),
        "_diffrn_measured_fraction_theta_max": _number(statistics.completeness),
        "_reflns_number_total": str(len(reflections.intensity)),
        "_reflns_number_gt": str(int((reflections.intensity > 2 * reflections.sigma).sum())),
        "_reflns_threshold_expression": "'I > 2\\s(I)'",
        "_reflns_d_resolution_high": _number(statistics.d_min),
        "_reflns_d_resolution_low": _number(statistics.d_max),
    }


def _absorption_items(transmission: tuple[float, float] | None, is_scaled: bool) -> dict[str, str]:
    items = {"_computing_data_reduction": _software()}
    if not is_scaled:
        return items | {"_exptl_absorpt_correction_type": "none"}
    items["_exptl_absorpt_correction_type"] = "multi-scan"
    items["_exptl_absorpt_process_details"] = _software()
    if transmission is not None:
        items["_exptl_absorpt_correction_T_min"] = _number(transmission[0])
        items["_exptl_absorpt_correction_T_max"] = _number(transmission[1])
    return items


def _theta(wavelength: float, d: float) -> float:
    sine = wavelength / (2 * d)
    return math.degrees(math.asin(sine)) if sine <= 1 else math.nan


def _number(value: float, decimals: int = 4) -> str:
    return f"{value:.{decimals}f}" if math.isfinite(value) else "?"


def _write_list(file: TextIO, reflections: CifReflections) -> None:
    tags = ("index_h", "index_k", "index_l", "F_squared_meas", "F_squared_sigma")
    file.write("loop_\n" + "".join(f"_refln_{tag}\n" for tag in tags))
    columns = [*reflections.miller_index.T, reflections.intensity, reflections.sigma]
    write_rows(file, "%d %d %d %.7g %.5g\n", columns)


def _write_shelx(file: TextIO, shelx: CifReflections) -> None:
    text = io.StringIO()
    write_hklf4_rows(text, shelx.miller_index, shelx.intensity, shelx.sigma)
    file.write(f"\n_shelx_hkl_file\n;\n{text.getvalue()};\n_shelx_hkl_checksum {shelx_checksum(text.getvalue())}\n")
