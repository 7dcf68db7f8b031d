"""CIF and mmCIF files of unmerged reflections: `_diffrn_refln`, `_pdbx_diffrn_unmerged_refln`, `_shelx_hkl_file`."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..flags import Flag
from ..options.importing import InputOptions
from ..typing import FloatArray, IndexArray
from .cif_symmetry import symmetry_of_block
from .hklf4 import data_sets_of_batches, parse_hklf4
from .import_parts import (
    checked_cell,
    known_wavelength,
    missing_symmetry,
    observed_columns,
    unknown_position,
    wanted_space_group,
)
from .imported import ImportedDataSet, InputDecision
from .scan_of_angles import Scan, fitted_scan

__all__ = ["is_cif", "read_cif"]

_CATEGORIES = ("_diffrn_refln", "_pdbx_diffrn_unmerged_refln")
_SETS = ("diffrn_id", "scan_id", "scale_group_code")
"""Items whose values tell data sets apart."""
_INTENSITIES = (
    ("intensity_net", "intensity_sigma"),
    ("intensity_net", "intensity_u"),
    ("intensity_net", "intensity_net_su"),
    ("intensity_sum", "intensity_sum_sigma"),
    ("intensity_meas", "intensity_sigma"),
)
_PROFILE = ("intensity_prf", "intensity_prf_sigma")
_IMAGES = ("pdbx_image_id", "image_id_begin")
_ANGLES = ("pdbx_scan_angle", "pdbx_rotation_angle", "scan_angle_reflection", "phi_reflection")
_PLACES = ("pdbx_detector_x", "pdbx_detector_y")
_SAME_ANGLE, _LEAST_PARTS = 0.1, 0.05
"""Difference of angles of parts in images; share of such rows that is more than chance."""
_LONGEST = 32
"""Letters of a value."""
_EMBEDDED = "_shelx_hkl_file"


def is_cif(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a CIF: a data block comes first, behind comments."""
    lines = (line.strip() for line in head.removeprefix(b"\xef\xbb\xbf").splitlines())
    return next((line for line in lines if line and not line.startswith(b"#")), b"").lower().startswith(b"data_")


def read_cif(path: Path, options: InputOptions) -> list[ImportedDataSet]:
    """Read the unmerged reflections of a CIF: small-molecule ones, those of the wwPDB, and SHELX' embedded ones.

    Each `diffrn_id`, `scan_id` or `scale_group_code` of each block is a data set. Where scans are described, or
    rotation angles stand with the reflections, it is a sweep.

    Raises
    ------
    DataError
        If the file cannot be parsed, holds no unmerged reflections, or what it holds is unsound.
    UsageError
        If an option is impossible.
    """
    import gemmi

    where = str(path)
    try:
        with path.open("rb") as file:
            has_mark = file.read(len(BOM_UTF8)) == BOM_UTF8
            document = gemmi.cif.read_string(file.read()) if has_mark else gemmi.cif.read(where)
    except (OSError, RuntimeError, ValueError, UnicodeError, MemoryError) as error:
        first = " ".join(str(error).split())[:200].removeprefix(f"{where}:")
        raise DataError(f"{where}: is a corrupt CIF ({first})") from None
    data_sets: list[ImportedDataSet] = []
    first_block = document[0] if len(document) else None
    for block in document:
        name = where if len(document) == 1 else f"{where} (block {block.name[:40]})"
        data_sets += _of_block(block, first_block, name, options)
    if not data_sets:
        merged = any(block.find_values("_refln.index_h") or block.find_values("_refln_index_h") for block in document)
        has = "merged reflections only" if merged else "no reflections"
        raise DataError(f"{where}: holds {has}; give a CIF with unmerged ones (_diffrn_refln), or another file")
    return data_sets


def _of_block(block: Any, first: Any, where: str, options: InputOptions) -> list[ImportedDataSet]:
    for category in _CATEGORIES:
        for separator in "._":
            prefix = category + separator
            if len(block.find_values(f"{prefix}index_h")) > 0:
                return _of_loop(block, first, prefix, where, options)
    hkl = block.find_value(_EMBEDDED)
    if hkl is None:
        return []
    import gemmi

    text = gemmi.cif.as_string(hkl).lstrip("\r\n").encode()
    index, intensity, sigma, batch, rest = parse_hklf4(text, f"{where}: {_EMBEDDED}")
    decisions = []
    if rest is None:
        reason = f"{_EMBEDDED} does not end with the line 0 0 0 of the format: it may be cut"
        decisions.append(InputDecision("terminated", False, reason, is_warning=True))
    symmetry = symmetry_of_block(block, first)
    return data_sets_of_batches(where, "the CIF", (index, intensity, sigma, batch), symmetry, options, decisions)


class _Loop:
    """Columns of a loop by the names of their items."""

    def __init__(self, block: Any, prefix: str, where: str) -> None:
        self._block, self._prefix, self._where = block, prefix, where
        self.n_rows = len(block.find_values(f"{prefix}index_h"))

    def words(self, name: str) -> NDArray[np.str_] | None:
        """A column as text; None if there is none, or it says nothing."""
        found = list(self._block.find_values(self._prefix + name))
        if len(found) != self.n_rows:
            if found:
                raise DataError(f"{self._where}: {self._prefix}{name} has {len(found)} values for {self.n_rows} rows")
            return None
        if max(map(len, found)) > _LONGEST:
            raise DataError(f"{self._where}: {self._prefix}{name} has a value longer than {_LONGEST} letters")
        words = np.array(found, np.str_)
        return None if np.isin(words, ("?", ".")).all() else words

    def numbers(self, name: str) -> FloatArray | None:
        """A column as numbers, NaN where it says nothing; standard uncertainties in brackets are left out."""
        words = self.words(name)
        if words is None:
            return None
        words = np.where(np.isin(words, ("?", ".")), "nan", words)
        if (np.char.find(words, "(") >= 0).any():
            words = np.array([word.split("(", 1)[0] for word in words.tolist()])
        try:
            return words.astype(np.float64)
        except ValueError as error:
            raise DataError(f"{self._where}: {self._prefix}{name}: {error}") from None

    def first_of(self, names: Sequence[str]) -> FloatArray | None:
        """The first of some columns that there is."""
        return next((found for name in names if (found := self.numbers(name)) is not None), None)


def _of_loop(block: Any, first: Any, prefix: str, where: str, options: InputOptions) -> list[ImportedDataSet]:
    loop = _Loop(block, prefix, where)
    columns, decisions = _columns(loop, prefix, where)
    symmetry = symmetry_of_block(block, first)
    given = options.unit_cell or symmetry.unit_cell
    cell = None if given is None else checked_cell(given, where)
    group = wanted_space_group(options, cell) or symmetry.space_group
    wavelength, assumed = known_wavelength(options, symmetry.wavelength, cell, columns["miller_index"])
    decisions += assumed
    image, angle = loop.first_of(_IMAGES), loop.first_of(_ANGLES)
    described = _described_scans(block, where)
    data_sets = []
    for names, rows in _parts(loop):
        own = {name: values[rows] for name, values in columns.items()}
        scan = described.get(names.get("scan_id", ""))
        of_set = list(decisions)
        if angle is not None:
            scan = scan or fitted_scan(None if image is None else image[rows], angle[rows])
        if scan is not None and angle is not None:
            own["xyzobs.px.value"][:, 2] = scan.array_coordinate(angle[rows])
            of_set.append(InputDecision("scan", str(scan), scan.reason))
        else:
            scan = None
            reason = "no rotation angles: one scale and one B for each data set"
            of_set.append(InputDecision("geometry", "none", reason))
        data_sets.append(
            ImportedDataSet(
                source=where,
                columns=own,
                space_group=group,
                unit_cell=cell,
                wavelength=wavelength,
                image_range=None if scan is None else scan.image_range,
                oscillation=None if scan is None else scan.oscillation,
                missing=missing_symmetry(
                    where, "the CIF", options, has_cell=cell is not None, has_group=group is not None
                ),
                decisions=(*of_set, *_with_parts(own, None if image is None else image[rows])),
            )
        )
    return data_sets


def _columns(loop: _Loop, prefix: str, where: str) -> tuple[dict[str, NDArray[Any]], list[InputDecision]]:
    """Columns of all rows."""
    indices = [loop.numbers(f"index_{name}") for name in "hkl"]
    known = [values for values in indices if values is not None]
    index = np.column_stack(known) if len(known) == 3 else np.full((1, 3), np.nan)
    with np.errstate(invalid="ignore"):
        if not (np.abs(index) < 2**31).all() or (index != np.rint(index)).any():
            raise DataError(f"{where}: {prefix}index_h, _k and _l are not all integers")
    found = next(((v, s) for v, s in _INTENSITIES if loop.words(v) is not None and loop.words(s) is not None), None)
    if found is None:
        raise DataError(f"{where}: {prefix[:-1]} has no intensities with sigmas")
    value, sigma = (loop.numbers(name) for name in found)
    assert value is not None and sigma is not None
    columns, decisions = observed_columns(index.astype(np.int32), value, sigma)
    profile, profile_sigma = (loop.numbers(name) for name in _PROFILE)
    if profile is not None and profile_sigma is not None and found[0] == "intensity_sum":
        fitted, _ = observed_columns(index.astype(np.int32), profile, profile_sigma)
        columns["intensity.prf.value"] = fitted["intensity.sum.value"]
        columns["intensity.prf.variance"] = fitted["intensity.sum.variance"]
        columns["flags"] |= np.where(fitted["flags"] != 0, np.uint64(int(Flag.integrated_prf)), np.uint64(0))
    columns["xyzobs.px.value"] = unknown_position(len(index))
    places = [loop.numbers(name) for name in _PLACES]
    for k, place in enumerate(places):
        if place is not None:
            columns["xyzobs.px.value"][:, k] = place
    partiality = loop.numbers("partiality")
    if partiality is not None:
        columns["partiality"] = partiality
    return columns, decisions


def _parts(loop: _Loop) -> list[tuple[dict[str, str], IndexArray]]:
    """Values that tell a data set apart, and its rows, for each, in the order of the values."""
    found = {name: words for name in _SETS if (words := loop.words(name)) is not None}
    if not found:
        return [({}, np.arange(loop.n_rows))]
    codes = [np.unique(_as_numbers(words), return_inverse=True)[1].ravel() for words in found.values()]
    order: IndexArray = np.lexsort(codes[::-1])
    table = np.column_stack(codes)[order]
    parts = np.split(order, np.flatnonzero((table[1:] != table[:-1]).any(axis=1)) + 1)
    return [({name: str(words[rows[0]]) for name, words in found.items()}, rows) for rows in parts]


def _as_numbers(words: NDArray[Any]) -> NDArray[Any]:
    """Words as numbers, which have another order, if all are."""
    try:
        return words.astype(np.float64)
    except ValueError:
        return words


def _described_scans(block: Any, where: str) -> Mapping[str, Scan]:
    """Scans of the category `_pdbx_diffrn_scan` by their `scan_id`."""
    items = ("scan_id", "image_id_begin", "image_id_end", "scan_angle_begin", "scan_angle_end")
    scans = {}
    for row in block.find("_pdbx_diffrn_scan.", list(items)):
        try:
            first, last, start, end = (float(row[k]) for k in range(1, 5))
            scans[row[0]] = Scan.of_ends((int(first), int(last)), (start, end))
        except (ValueError, OverflowError):
            raise DataError(f"{where}: scan {row[0][:20]} of _pdbx_diffrn_scan is impossible") from None
    return scans


def _with_parts(columns: dict[str, NDArray[Any]], image: FloatArray | None) -> list[InputDecision]:
    """Mark rows that are parts of reflections, so that they are merged, and say so.

    These have the indices of another row, nearly its angle, and stand on the next image: programs that convert files
    to CIF write each part as a row, and do not tell them apart from whole reflections. Where few rows are like that,
    as happens by chance, none is a part.
    """
    z = columns["xyzobs.px.value"][:, 2]
    if image is None or len(z) == 0 or np.ptp(z) == 0 or "partiality" in columns:
        return []
    order = np.lexsort((z, image, *columns["miller_index"].T))
    index, z, image = columns["miller_index"][order], z[order], image[order]
    follows = (index[1:] == index[:-1]).all(axis=1) & (np.abs(np.diff(z)) < _SAME_ANGLE) & (np.diff(image) == 1)
    if np.count_nonzero(follows) < _LEAST_PARTS * len(z):
        return []
    number = np.cumsum(np.concatenate([[True], ~follows])) - 1
    size = np.bincount(number)
    columns["partial_id"], columns["partiality"] = np.zeros(len(z), np.uint64), np.ones(len(z))
    columns["partial_id"][order] = number.astype(np.uint64)
    columns["partiality"][order] = 1.0 / size[number]
    reason = "rows with the indices and nearly the angle of one on the next image: parts of a reflection, summed"
    return [InputDecision("n_parts", int((size[number] > 1).sum()), reason, is_warning=True)]
