"""CrystFEL streams: serial crystallography, one still for each indexed crystal."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, UsageError
from ..options.importing import InputOptions
from ..typing import FloatArray, IndexArray
from ..unit_cells import cells_of_axes
from .crystfel_geometry import PanelGeometry, parse_geometry
from .crystfel_reflections import ReflectionBlock, StreamReflections, parse_reflections
from .import_parts import checked_cell, observed_columns, wanted_space_group
from .imported import ImportedDataSet, InputDecision
from .polarization import polarization_factor
from .shelx_symmetry import NUMBER

if TYPE_CHECKING:
    import gemmi

__all__ = ["is_stream", "read_stream"]

_FIRST_LINE = b"CrystFEL stream format 2."
_CHUNK, _CHUNK_END = b"----- Begin chunk -----", b"----- End chunk -----"
_CRYSTAL, _CRYSTAL_END = b"--- Begin crystal", b"--- End crystal"
_REFLECTIONS, _REFLECTIONS_END = b"Reflections measured after indexing", b"End of reflections"
_GEOMETRY, _GEOMETRY_END = b"----- Begin geometry file -----", b"----- End geometry file -----"
_EV_ANGSTROM = 12398.419843320026
"""h c (eV A), exact in the SI."""
_SCALE = 1e3
"""Makes reciprocal axes (1/A) of cells from 0.001 to 1e6 A numbers that axes may have."""
_BEAM = np.array([0.0, 0.0, -1.0])
_ONE_LAUE_CLASS = {"triclinic": "1", "monoclinic": "2", "orthorhombic": "222"}
"""Rotations of lattices that allow a single Laue class."""
_RECIPROCAL = re.compile(rf"([abc])star\s*=\s*{NUMBER}\s+{NUMBER}\s+{NUMBER}\s*nm\^-1")
_CELL = re.compile(rf"Cell parameters\s+{NUMBER}\s+{NUMBER}\s+{NUMBER}\s+nm,\s*{NUMBER}\s+{NUMBER}\s+{NUMBER}\s+deg")


@dataclass
class _Crystal:
    """One crystal: its lines and those of its image as names and values, and where its reflections are."""

    image: Mapping[str, str]
    values: dict[str, str]
    block: ReflectionBlock
    reciprocal: FloatArray | None = None
    cell: tuple[float, ...] = field(default=())

    def number(self, name: str) -> float:
        """A number of the image, NaN if there is none."""
        try:
            return float(self.image[name].split()[0])
        except (KeyError, ValueError, IndexError):
            return float("nan")


def is_stream(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a CrystFEL stream."""
    return head.startswith(_FIRST_LINE)


def read_stream(path: Path, options: InputOptions) -> list[ImportedDataSet]:
    """Read a CrystFEL stream (format 2).

    Beams are along z in CrystFEL's laboratory frame. The diffracted beam goes through the reflection's place on the
    detector that the stream describes, or where it does not, follows from the orientation. Intensities are divided
    by the polarisation factor, which CrystFEL leaves to the scaling program; the beam is taken as polarised in the
    horizontal plane unless options say otherwise.

    Raises
    ------
    DataError
        If the stream is cut, a number is none, or no crystal was indexed.
    UsageError
        If the file cannot be read, or an option is impossible.
    """
    where = str(path)
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"{where}: cannot be read ({error.strerror})") from None
    with file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        geometry = parse_geometry(_between(stream, _GEOMETRY, _GEOMETRY_END))
        crystals = [c for c in _crystals(stream, where) if c.block.n_rows]
        if not crystals:
            raise DataError(f"{where}: no crystal of the stream has reflections")
        reflections = parse_reflections(stream, [c.block for c in crystals], where)
    return _data_sets(where, crystals, reflections, geometry, options)


def _between(stream: mmap.mmap, begin: bytes, end: bytes) -> str:
    start = stream.find(begin)
    stop = stream.find(end, start)
    return stream[start + len(begin) : stop].decode("utf-8", "replace") if 0 <= start < stop else ""


def _crystals(stream: mmap.mmap, where: str) -> Iterator[_Crystal]:
    """Crystals of a stream in order; the reflections stay unread."""
    start = stream.find(_CHUNK)
    while start >= 0:
        stop = stream.find(_CHUNK_END, start)
        if stop < 0:
            raise DataError(f"{where}: the stream ends within a chunk: it is cut")
        image: dict[str, str] | None = None
        at = stream.find(_CRYSTAL, start, stop)
        while at >= 0:
            if image is None:
                head = stream[start : min(at, stop)].split(b"Peaks from peak search", 1)[0]
                image = _named_values(head)
            end = stream.find(_CRYSTAL_END, at, stop)
            if end < 0:
                raise DataError(f"{where}: the stream ends within a crystal: it is cut")
            yield _crystal(stream, at, end, image, where)
            at = stream.find(_CRYSTAL, end, stop)
        start = stream.find(_CHUNK, stop)


def _crystal(stream: mmap.mmap, start: int, stop: int, image: Mapping[str, str], where: str) -> _Crystal:
    begin = stream.find(_REFLECTIONS, start, stop)
    text = stream[start : stop if begin < 0 else begin]
    crystal = _Crystal(image, _named_values(text), ReflectionBlock(0, 0, b"", 0))
    head = text.decode("utf-8", "replace")
    axes = {m.group(1): [float(x) for x in m.groups()[1:]] for m in _RECIPROCAL.finditer(head)}
    cell = _CELL.search(head)
    if len(axes) == 3:
        # 1/nm to 1/A
        crystal.reciprocal = 0.1 * np.array([axes[name] for name in "abc"])
    if cell is not None:
        lengths, angles = cell.groups()[:3], cell.groups()[3:]
        crystal.cell = (*(10.0 * float(x) for x in lengths), *(float(x) for x in angles))
    if begin < 0:
        return crystal
    end = stream.find(_REFLECTIONS_END, begin, stop)
    titles = stream.find(b"\n", begin, stop) + 1
    first = stream.find(b"\n", titles, stop) + 1
    if end < 0 or not 0 < titles < first <= end:
        raise DataError(f"{where}: the list of reflections of a crystal has no end: the stream is cut")
    n_rows = crystal.values.get("num_reflections", "")
    crystal.block = ReflectionBlock(first, end, stream[titles : first - 1], int(n_rows) if n_rows.isdigit() else -1)
    return crystal


def _named_values(text: bytes) -> dict[str, str]:
    """Lines `name = value` and `name: value`."""
    found = {}
    for line in text.decode("utf-8", "replace").splitlines():
        name, sign, value = line.partition(" = ")
        if not sign:
            name, _, value = line.partition(": ")
        found[name.strip()] = value.strip()
    return found


def _data_sets(
    where: str,
    crystals: Sequence[_Crystal],
    reflections: StreamReflections,
    geometry: PanelGeometry | None,
    options: InputOptions,
) -> list[ImportedDataSet]:
    sizes = [c.block.n_rows for c in crystals]
    wavelengths = np.array([_EV_ANGSTROM / c.number("photon_energy_eV") for c in crystals])
    if options.wavelength is not None:
        wavelengths[:] = options.wavelength
    if not ((wavelengths > 0) & np.isfinite(wavelengths)).all():
        raise DataError(f"{where}: no photon energy stands with some images: give wavelength= (A)")
    real_space = [_real_space(c, where) for c in crystals]
    group, missing, decisions = _symmetry(where, crystals, options)
    columns, unmeasured = observed_columns(reflections.miller_index, reflections.intensity, reflections.sigma)
    columns["xyzobs.px.value"] = np.column_stack([reflections.place, np.full(len(reflections.place), 0.5)])
    columns |= reflections.others
    directions = _directions(crystals, reflections, geometry, wavelengths, sizes)
    fraction = 1.0 if options.polarization_fraction is None else options.polarization_fraction
    normal = np.array(options.polarization_normal or (0.0, 1.0, 0.0))
    if directions is not None:
        columns["s1"] = directions / np.repeat(wavelengths, sizes)[:, None]
        columns["lp"] = 1.0 / polarization_factor(directions, _BEAM, fraction, normal)
    decisions += [_polarisation(directions is not None, fraction, options), *unmeasured]
    ends = np.cumsum(sizes)
    return [
        ImportedDataSet(
            source=where,
            columns={name: values[end - size : end] for name, values in columns.items()},
            space_group=group,
            unit_cell=c.cell or None,
            wavelength=float(wavelengths[k]),
            image_range=None,
            oscillation=None,
            beam_direction=_BEAM,
            real_space=real_space[k],
            polarization_normal=normal,
            polarization_fraction=fraction,
            image=" ".join(c.image[x] for x in ("Image filename", "Event") if x in c.image),
            missing=missing,
            decisions=tuple(decisions),
        )
        for k, (c, size, end) in enumerate(zip(crystals, sizes, ends.tolist(), strict=True))
    ]


def _polarisation(has_directions: bool, fraction: float, options: InputOptions) -> InputDecision:
    if not has_directions:
        reason = "places on the detector and orientations are unknown: intensities stay uncorrected for polarisation"
        return InputDecision("beam_directions", "none", reason, is_warning=True)
    default = options.polarization_fraction is None
    reason = "the stream does not say: polarised in the horizontal plane" if default else "set by the user"
    return InputDecision("polarization_fraction", fraction, reason)


def _real_space(crystal: _Crystal, where: str) -> FloatArray | None:
    """Vectors a, b, c (A) as rows, None without an orientation."""
    if crystal.reciprocal is None:
        if not crystal.cell:
            raise DataError(f"{where}: a crystal has neither cell parameters nor reciprocal axes")
        crystal.cell = checked_cell(crystal.cell, where)
        return None
    if not cells_of_axes(crystal.reciprocal[None] * _SCALE)[1].all():
        raise DataError(f"{where}: the reciprocal axes of a crystal span no volume")
    axes: FloatArray = np.linalg.inv(crystal.reciprocal).T
    return axes


def _symmetry(
    where: str, crystals: Sequence[_Crystal], options: InputOptions
) -> tuple[gemmi.SpaceGroup | None, str, list[InputDecision]]:
    """Space group, what is missing, and the decision: streams name the lattice only."""
    if options.space_group is not None:
        cell = options.unit_cell or (crystals[0].cell if crystals[0].cell else None)
        return wanted_space_group(options, cell), "", []
    lattices = {tuple(c.values.get(n, "?") for n in ("lattice_type", "centering", "unique_axis")) for c in crystals}
    group = _group_of_lattice(*next(iter(lattices))) if len(lattices) == 1 else None
    shown = "; ".join(" ".join(lattice[:2]) for lattice in sorted(lattices)[:3])
    if group is None:
        return None, f"{where}: CrystFEL streams name no space group, only the lattice ({shown}): give space_group=", []
    reason = (
        f"streams name only the lattice ({shown}), whose rotations these are; give space_group= if the crystal has "
        "fewer, or screw axes"
    )
    return group, "", [InputDecision("space_group", group.xhm(), reason, is_warning=True)]


def _group_of_lattice(lattice: str, centring: str, axis: str) -> gemmi.SpaceGroup | None:
    """The space group without screw axes of a lattice that allows one Laue class only; None for others."""
    import gemmi

    rotations = _ONE_LAUE_CLASS.get(lattice)
    if rotations is None or centring not in "PABCIF":
        return None
    if lattice == "monoclinic":
        if axis not in "abc":
            return None
        rotations = " ".join("2" if name == axis else "1" for name in "abc")
    found: gemmi.SpaceGroup | None = gemmi.find_spacegroup_by_name(f"{centring} {' '.join(rotations.replace(' ', ''))}")
    return found


def _directions(
    crystals: Sequence[_Crystal],
    reflections: StreamReflections,
    geometry: PanelGeometry | None,
    wavelengths: FloatArray,
    sizes: Sequence[int],
) -> FloatArray | None:
    """Unit vectors of the diffracted beams, (n, 3); None if none is known."""
    nothing = np.full((3, 3), np.nan)
    axes = np.array([nothing if c.reciprocal is None else c.reciprocal for c in crystals])
    by_row = np.repeat(np.arange(len(crystals)), sizes)
    # s = s0 + A h, for a reflection that need not be exactly in diffracting position
    found: FloatArray = np.einsum("ni,nij->nj", reflections.miller_index.astype(np.float64), axes[by_row])
    found -= _BEAM / wavelengths[by_row, None]
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    if geometry is not None and reflections.panel.size:
        number: IndexArray = np.array([geometry.number.get(name, -1) for name in reflections.panel_names], np.int64)
        length = np.array([c.number("average_camera_length") for c in crystals])[by_row]
        fs, ss = reflections.place.T
        seen = geometry.directions(number[reflections.panel], fs, ss, length)
        found = np.where(np.isfinite(seen).all(axis=1, keepdims=True), seen, found)
    return found if np.isfinite(found).any() else None
