"""Intensities to scale against, from a merged MTZ file, structure factors in mmCIF, or an atomic model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gemmi
import numpy as np

from ..errors import DataError
from ..model_intensities import ModelSettings, model_intensities, small_structure_model
from ..reference import Reference
from ..typing import FloatArray, IntArray

__all__ = ["read_reference"]

_logger = logging.getLogger(__name__)

_Columns = tuple[tuple[str, str], ...]
"""Value and sigma: of one column, or of I(+) and I(-)."""

_MTZ_INTENSITIES: tuple[_Columns, ...] = (
    (("I(+)", "SIGI(+)"), ("I(-)", "SIGI(-)")),
    (("I", "SIGI"),),
    (("IMEAN", "SIGIMEAN"),),
    (("IOBS", "SIGIOBS"),),
    (("I-obs", "SIGI-obs"),),
)
_MTZ_AMPLITUDES: tuple[_Columns, ...] = (
    (("F(+)", "SIGF(+)"), ("F(-)", "SIGF(-)")),
    (("F", "SIGF"),),
    (("FMEAN", "SIGFMEAN"),),
    (("FP", "SIGFP"),),
    (("FOBS", "SIGFOBS"),),
    (("F-obs", "SIGF-obs"),),
)
_CIF_INTENSITIES: tuple[_Columns, ...] = (
    (("pdbx_I_plus", "pdbx_I_plus_sigma"), ("pdbx_I_minus", "pdbx_I_minus_sigma")),
    (("intensity_meas", "intensity_sigma"),),
    (("F_squared_meas", "F_squared_sigma"),),
)
_CIF_AMPLITUDES: tuple[_Columns, ...] = (
    (("pdbx_F_plus", "pdbx_F_plus_sigma"), ("pdbx_F_minus", "pdbx_F_minus_sigma")),
    (("F_meas_au", "F_meas_sigma_au"),),
    (("F_meas", "F_meas_sigma"),),
)
_ACCEPTED = "a merged MTZ file, structure factors in mmCIF, or a model in PDB or CIF"


def read_reference(path: str, settings: ModelSettings) -> Reference:
    """Read what to scale against; what a file is follows from its content.

    Intensities come before amplitudes, those of I(+) and I(-) before their mean. Amplitudes are squared, with
    V = 4 F^2 sigma_F^2 + 2 sigma_F^4; those that were made of weak intensities by the method of French and Wilson are
    positive, so that weak reflections are a little too strong.

    Parameters
    ----------
    path : str
    settings : ModelSettings
        For intensities that are calculated from a model.

    Raises
    ------
    DataError
        If the file cannot be read, or holds nothing to scale against.
    """
    try:
        with Path(path).open("rb") as stream:
            start = stream.read(4096)
        if start.startswith(b"MTZ "):
            return _read_mtz(path)
        if _is_cif(start):
            return _read_cif(path, settings)
        return _read_pdb(path, settings)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (RuntimeError, ValueError) as error:
        first = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: is no reference that can be read ({first}); give {_ACCEPTED}") from None


def _is_cif(start: bytes) -> bool:
    lines = [line.strip() for line in start.splitlines()]
    return next((line for line in lines if line and not line.startswith(b"#")), b"").lower().startswith(b"data_")


def _read_mtz(path: str) -> Reference:
    mtz = gemmi.read_mtz_file(path)
    if len(mtz.batches) > 0 or "M/ISYM" in mtz.column_labels():
        raise DataError(f"{path}: holds unmerged reflections; give {_ACCEPTED}")
    labels = mtz.column_labels()
    # The last column of a label, as in files of several data sets the first one is that of the indices.
    position = {label: k for k, label in reversed(list(enumerate(labels)))}
    table = np.array(mtz.array, dtype=np.float64)
    if np.isfinite(mtz.valm):
        table[table == mtz.valm] = np.nan
    miller = table[:, :3].astype(np.int32)
    by_type = [(c.type, c.label) for c in mtz.columns]
    for kind, known, types in (("intensities", _MTZ_INTENSITIES, "KMJQ"), ("amplitudes", _MTZ_AMPLITUDES, "GLFQ")):
        mates = list(_by_type(by_type, *types[:2]))
        for columns in (*known, *([(*mates[0], *mates[1])] if len(mates) == 2 else []), *_by_type(by_type, *types[2:])):
            found = _values(columns, lambda name: table[:, position[name]] if name in position else None)
            if found is not None:
                return _reference(path, kind, columns, miller, found, mtz.spacegroup, mtz.cell)
    raise DataError(f"{path}: has neither intensities nor amplitudes (columns {' '.join(labels)[:200]})")


def _by_type(columns: Sequence[tuple[str, str]], value: str, sigma: str) -> Iterator[_Columns]:
    """Columns of one type, each with the column of sigmas that follows it, if any."""
    for k, (kind, label) in enumerate(columns):
        if kind == value:
            following = columns[k + 1] if k + 1 < len(columns) else ("", "")
            yield ((label, following[1] if following[0] == sigma else ""),)


def _values(
    columns: _Columns, column: Callable[[str], FloatArray | None]
) -> list[tuple[FloatArray, FloatArray]] | None:
    """Values and sigmas (NaN: none) of columns if the first of them has any."""
    found = []
    for value, sigma in columns:
        values = column(value)
        if values is None or not np.isfinite(values).any():
            return None
        sigmas = column(sigma) if sigma else None
        found.append((values, np.full(values.size, np.nan) if sigmas is None else sigmas))
    return found


def _read_cif(path: str, settings: ModelSettings) -> Reference:
    # This takes the blocks out of their document.
    blocks = [b for b in gemmi.as_refln_blocks(gemmi.cif.read(path)) if b.default_loop is not None]
    for kind, known in (("intensities", _CIF_INTENSITIES), ("amplitudes", _CIF_AMPLITUDES)):
        for block in blocks:
            for columns in known:
                found = _values(columns, partial(_cif_column, block))
                if found is not None:
                    miller = np.asarray(block.make_miller_array(), dtype=np.int32)
                    return _reference(path, kind, columns, miller, found, block.spacegroup, block.cell)
    return _read_cif_model(path, settings)


def _cif_column(block: Any, name: str) -> FloatArray | None:
    if name not in block.column_labels():
        return None
    return np.asarray(block.make_float_array(name, np.nan), dtype=np.float64)


def _read_cif_model(path: str, settings: ModelSettings) -> Reference:
    for block in gemmi.cif.read(path):
        if block.find_loop("_atom_site.id"):
            return model_intensities(gemmi.make_structure_from_block(block), path, settings)
        if block.find_loop("_atom_site_fract_x"):
            small = gemmi.make_small_structure_from_block(block)
            return model_intensities(small_structure_model(small), path, settings.without_solvent())
    raise DataError(f"{path}: has neither measured intensities nor amplitudes nor atoms; give {_ACCEPTED}")


def _read_pdb(path: str, settings: ModelSettings) -> Reference:
    structure = gemmi.read_pdb(path)
    if not len(structure) or structure[0].count_atom_sites() == 0:
        raise DataError(f"{path}: is no file to scale against; give {_ACCEPTED}")
    return model_intensities(structure, path, settings)


def _reference(
    path: str,
    kind: str,
    columns: _Columns,
    miller: IntArray,
    found: Sequence[tuple[FloatArray, FloatArray]],
    space_group: Any,
    cell: Any,
) -> Reference:
    value = np.concatenate([v for v, _ in found])
    sigma = np.concatenate([s for _, s in found])
    miller = np.concatenate([miller, -miller]) if len(found) == 2 else miller
    with np.errstate(invalid="ignore"):
        # A sigma of zero says that nothing was measured.
        measured = np.isfinite(value) & ~(sigma <= 0)
    value, sigma, miller = value[measured], sigma[measured], miller[measured]
    variance = sigma**2
    if kind == "amplitudes":
        value, variance = value**2, 4.0 * value**2 * variance + 2.0 * variance**2
        _logger.info(
            "The reference has amplitudes, which are squared: if they were made of intensities by the method of French "
            "and Wilson, weak reflections are a little too strong",
            extra={"notice": True},
        )
    return Reference(
        source=path,
        kind=kind,
        labels=tuple(name for pair in columns for name in pair if name),
        space_group=space_group,
        unit_cell=cell if cell is not None and cell.is_crystal() else None,
        miller_index=np.ascontiguousarray(miller, dtype=np.int32),
        intensity=np.ascontiguousarray(value),
        variance=np.ascontiguousarray(variance),
    )
