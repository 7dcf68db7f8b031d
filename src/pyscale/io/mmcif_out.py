"""Reflections for deposition: mmCIF with merged and unmerged data, through gemmi, and their statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gemmi

from .. import _core
from ..statistics import MergingStatistics, ShellStatistics

__all__ = ["write_mmcif"]

#: Items of `_reflns`, and those of `_reflns_shell` where they differ, by the name of the statistic and its factor.
_ITEMS = (
    ("d_resolution_high", "d_res_high", "d_min", 1.0),
    ("d_resolution_low", "d_res_low", "d_max", 1.0),
    ("number_obs", "number_unique_obs", "n_unique", 1),
    ("pdbx_number_measured_all", "number_measured_all", "n_obs", 1),
    ("percent_possible_obs", "percent_possible_obs", "completeness", 100.0),
    ("pdbx_redundancy", "pdbx_redundancy", "multiplicity", 1.0),
    ("pdbx_Rmerge_I_obs", "Rmerge_I_obs", "r_merge", 1.0),
    ("pdbx_Rrim_I_all", "pdbx_Rrim_I_all", "r_meas", 1.0),
    ("pdbx_Rpim_I_all", "pdbx_Rpim_I_all", "r_pim", 1.0),
    ("pdbx_CC_half", "pdbx_CC_half", "cc_half", 1.0),
    ("pdbx_netI_over_sigmaI", "meanI_over_sigI_obs", "i_over_sigma", 1.0),
    ("pdbx_chi_squared", "pdbx_chi_squared", "chi_square", 1.0),
    ("pdbx_percent_possible_anomalous", "pdbx_percent_possible_anomalous", "anomalous_completeness", 100.0),
    ("pdbx_CC_half_anomalous", "pdbx_CC_half_anomalous", "cc_anom", 1.0),
)


#: Completeness of the sphere and of the ellipsoid.
_ELLIPSOIDAL = (
    ("pdbx_percent_possible_spherical", "completeness"),
    ("pdbx_percent_possible_ellipsoidal", "completeness_ellipsoidal"),
)


def write_mmcif(
    path: Path,
    merged: Any,
    unmerged: Any | None,
    statistics: MergingStatistics,
    *,
    name: str = "scaled",
    is_scaled: bool = True,
    ellipsoid: dict[str, Any] | None = None,
) -> None:
    """Write a block with `_refln`, cell, symmetry, wavelengths, statistics and software, and one of observations.

    Two blocks, as gemmi prepares depositions: readers that take all loops of a block for lists of one length, iotbx
    among them, refuse both in one.

    Parameters
    ----------
    path
    merged : gemmi.Mtz
    unmerged : gemmi.Mtz or None
        The observations that were merged, under their own indices, for the second block with `_diffrn_refln` and
        sweeps; None: merged data only.
    statistics : MergingStatistics
        Of these observations.
    name
        Of the first block and the entry.
    ellipsoid
        Limits of anisotropic data that were cut by an ellipsoid: `limits` (A), `axes` in the Cartesian frame with x
        along a and z along c*, `threshold` of the local mean I/sigma, and `overall` and `shells` with `completeness`
        and `completeness_ellipsoidal` (0 to 1).
    is_scaled
        Whether pyscale has scaled the data, to be said in `_software`.
    """
    document = gemmi.cif.Document()
    for mtz, block_name in ((merged, name), (unmerged, f"{name}_unmerged")):
        if mtz is not None:
            document.add_copied_block(_block(mtz, block_name, name))
    block = document[0]
    _add_software(block, is_scaled)
    _add_statistics(block, statistics, name)
    if ellipsoid is not None:
        _add_ellipsoid(block, ellipsoid)
    # gemmi does not notice a full disk.
    path.write_text(document.as_string(), encoding="utf-8")


def _block(mtz: Any, name: str, entry: str) -> Any:
    converter = gemmi.MtzToCif()
    converter.with_comments = False
    block = gemmi.cif.read_string(converter.write_cif_to_string(mtz)).sole_block()
    block.name = name
    for tag in ("_entry.id", "_cell.entry_id", "_symmetry.entry_id"):
        if block.find_value(tag) is not None:
            block.set_pair(tag, gemmi.cif.quote(entry))
    return block


def _add_software(block: Any, is_scaled: bool) -> None:
    tags = ["pdbx_ordinal", "classification", "name", "version"]
    loop = block.init_loop("_software.", tags)
    if is_scaled:
        loop.add_row(["1", "'data scaling'", "pyscale", gemmi.cif.quote(_core.__version__)])
    loop.add_row([str(loop.length() + 1), "'data extraction'", "pyscale", gemmi.cif.quote(_core.__version__)])


def _add_statistics(block: Any, statistics: MergingStatistics, name: str) -> None:
    block.set_pair("_reflns.entry_id", gemmi.cif.quote(name))
    block.set_pair("_reflns.pdbx_ordinal", "1")
    block.set_pair("_reflns.pdbx_diffrn_id", "1")
    for (tag, *_), value in zip(_ITEMS, _values(statistics.overall), strict=True):
        block.set_pair(f"_reflns.{tag}", value)
    loop = block.init_loop("_reflns_shell.", ["pdbx_ordinal", "pdbx_diffrn_id", *(item[1] for item in _ITEMS)])
    for k, shell in enumerate(statistics.shells, 1):
        loop.add_row([str(k), "1", *_values(shell)])


def _add_ellipsoid(block: Any, ellipsoid: dict[str, Any]) -> None:
    """Items of the PDBx dictionary for anisotropic data."""
    block.set_pair("_reflns.pdbx_orthogonalization_convention", "pdb")
    for k, (limit, axis) in enumerate(zip(ellipsoid["limits"], ellipsoid["axes"], strict=True), 1):
        block.set_pair(f"_reflns.pdbx_aniso_diffraction_limit_{k}", "?" if limit is None else _number(limit))
        for i, value in enumerate(axis, 1):
            block.set_pair(f"_reflns.pdbx_aniso_diffraction_limit_axis_{k}_ortho[{i}]", _number(value))
    block.set_pair("_reflns.pdbx_observed_signal_threshold", _number(ellipsoid["threshold"]))
    block.set_pair("_reflns.pdbx_signal_type", "'local <I/sigmaI>'")
    for item, key in _ELLIPSOIDAL:
        block.set_pair(f"_reflns.{item}", _percent(ellipsoid["overall"][key]))
    loop = block.find("_reflns_shell.", ["pdbx_ordinal"]).loop
    loop.add_columns([f"_reflns_shell.{item}" for item, _ in _ELLIPSOIDAL], "?")
    shells = {_number(shell["d_min"]): shell for shell in ellipsoid["shells"]}
    for row in block.find("_reflns_shell.", ["d_res_high", *(item for item, _ in _ELLIPSOIDAL)]):
        if shell := shells.get(row[0]):
            for k, (_, key) in enumerate(_ELLIPSOIDAL, 1):
                row[k] = _percent(shell[key])


def _percent(value: float | None) -> str:
    return "?" if value is None else _number(100.0 * value)


def _values(shell: ShellStatistics) -> Sequence[str]:
    return [_number(getattr(shell, name) * factor) for _, _, name, factor in _ITEMS]


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.4f}" if math.isfinite(value) else "?"
