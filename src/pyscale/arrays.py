"""Data from plain arrays, as if they had been read from files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .array_checks import checked_indices, checked_numbers, checked_vectors
from .dataset import Job, make_job
from .errors import DataError, UsageError
from .flags import Flag
from .io.import_parts import checked_cell, known_wavelength, unknown_position, wanted_space_group
from .io.imported import ImportedDataSet, experiments_and_tables
from .options.importing import InputOptions
from .symmetry import SpaceGroupLike, UnitCellLike, find_space_group
from .typing import FloatArray, IndexArray

__all__ = ["from_arrays"]

_SOURCE = "arrays"
_LARGEST_SCAN = 10_000_000
_AT_THE_EDGE = 1e-6
"""Of an image: an angle is not on the next one by rounding alone."""


@dataclass(frozen=True)
class _Geometry:
    """Of all rows: wavelength (Å), unit vectors to the source and of the rotation axis, image width (degrees)."""

    wavelength: float
    to_source: FloatArray
    axis: FloatArray
    image_width: float


def from_arrays(
    miller_index: ArrayLike,
    intensity: ArrayLike,
    variance: ArrayLike,
    *,
    unit_cell: UnitCellLike,
    space_group: SpaceGroupLike | int,
    rotation_angle: ArrayLike | None = None,
    image_width: float = 1.0,
    s0: ArrayLike | None = None,
    s1: ArrayLike | None = None,
    rotation_axis: ArrayLike = (1.0, 0.0, 0.0),
    wavelength: float | None = None,
    position: ArrayLike | None = None,
    lp: ArrayLike | None = None,
    partiality: ArrayLike | None = None,
    data_set: Sequence[Any] | NDArray[Any] | None = None,
) -> Job:
    """Make the data that `read` returns from arrays, without files.

    Rows are observations, in any order; results do not depend on it, and tables of results keep it. The arrays are
    copied.

    Parameters
    ----------
    miller_index : (n, 3) integers
        As indexed, not reduced to the asymmetric unit.
    intensity, variance : (n,) numbers
        Of integration, before division by `lp` and partiality; variances (not sigmas) are positive.
    unit_cell : six numbers (Å, degrees) or gemmi.UnitCell
    space_group : str, int, gemmi.SpaceGroup or gemmi.GroupOps
    rotation_angle : (n,) numbers, optional
        Of the centroid, degrees. Without it each data set is a still with one scale and one B (model KB).
    image_width : float
        Rotation of an image, degrees: the unit of image numbers, which count from the lowest angle of a data set.
    s0 : (3,) numbers, optional
        Incident beam in the laboratory, of length 1/wavelength (1/Å). Needed with `s1`.
    s1 : (n, 3) numbers, optional
        Diffracted beams in the laboratory (1/Å), for absorption surfaces; without them there are none.
    rotation_axis : (3,) numbers
        In the laboratory; matters with `s1` only.
    wavelength : float, optional
        Å; by default 1 over the length of s0, or a usual one: only files that are written show it.
    position : (n, 2) numbers, optional
        Place on the detector, pixels, for array models and maps of the detector.
    lp, partiality : (n,) numbers, optional
        Factors of the intensity: corrected for Lorentz and polarisation, it is `intensity` times `lp`; a summed
        intensity is divided by `partiality` (0 to 1). Both are 1 by default.
    data_set : (n,) integers or str, optional
        Data set of each row: a sweep or a still. Its text is the identifier; by default there is one.

    Returns
    -------
    Job
        As from `read`.

    Raises
    ------
    DataError
        If an array has another shape or type, or a row an impossible value: the message names both.
    UsageError
        If cell, space group or a number is impossible.

    Examples
    --------
    >>> data = pyscale.from_arrays(hkl, i, sigma**2, unit_cell=(79, 79, 37.5, 90, 90, 90), space_group="P43212",
    ...                            rotation_angle=phi)
    >>> result = pyscale.scale(data)
    """
    index = checked_indices("miller_index", miller_index)
    n = len(index)
    columns: dict[str, NDArray[Any]] = {
        "miller_index": index,
        "intensity.sum.value": checked_numbers("intensity", intensity, n),
        "intensity.sum.variance": checked_numbers("variance", variance, n, positive=True),
        "flags": np.full(n, int(Flag.integrated_sum), np.uint64),
        "xyzobs.px.value": unknown_position(n),
    }
    if position is not None:
        columns["xyzobs.px.value"][:, :2] = checked_vectors("position", position, n, 2)
    for name, values in (("lp", lp), ("partiality", partiality)):
        if values is not None:
            columns[name] = checked_numbers(name, values, n, positive=True)
    if s1 is not None:
        columns["s1"] = _beams(s0, s1, n)
    angle = None if rotation_angle is None else checked_numbers("rotation_angle", rotation_angle, n)
    cell = _cell(unit_cell)
    group = _space_group(space_group, cell)
    geometry = _geometry(s0, rotation_axis, _positive("image_width", image_width), wavelength, (cell, index))
    order, names, ends = _parts(data_set, n)
    data_sets = [
        _data_set(
            name,
            {key: v[order[a:b]] for key, v in columns.items()},
            angle if angle is None else angle[order[a:b]],
            geometry,
            cell,
            group,
        )
        for name, a, b in zip(names, ends[:-1], ends[1:], strict=True)
    ]
    experiments, tables = experiments_and_tables(data_sets)
    if len(tables) == 1 and len(names) > 1:
        # Rows as the caller has them: tables of results keep the order of their input.
        inverse = np.empty(n, np.int64)
        inverse[order] = np.arange(n)
        tables = [tables[0].select(inverse)]
    return make_job(experiments, tables, [_SOURCE])


def _cell(unit_cell: UnitCellLike) -> tuple[float, ...]:
    parameters: Any = getattr(unit_cell, "parameters", unit_cell)
    try:
        return checked_cell(parameters, "unit_cell")
    except (DataError, TypeError, ValueError) as error:
        raise UsageError(str(error)) from None


def _space_group(space_group: SpaceGroupLike | int, cell: tuple[float, ...]) -> Any:
    if not isinstance(space_group, (str, int)):
        return find_space_group(space_group)
    return wanted_space_group(InputOptions(space_group=str(space_group)), cell)


def _positive(name: str, value: float) -> float:
    if not (np.isfinite(value) and value > 0):
        raise UsageError(f"{name}: must be a positive number, not {value}")
    return float(value)


def _direction(name: str, values: ArrayLike) -> FloatArray:
    vector: FloatArray = checked_vectors(name, np.atleast_2d(np.asarray(values)), 1, 3)[0]
    if not np.linalg.norm(vector) > 0:
        raise DataError(f"{name}: the zero vector is no direction")
    return vector


def _beams(s0: ArrayLike | None, s1: ArrayLike, n: int) -> FloatArray:
    if s0 is None:
        raise UsageError("s1: give s0, the incident beam, too")
    beams = checked_vectors("s1", s1, n, 3)
    no_direction = np.flatnonzero(~(np.linalg.norm(beams, axis=1) > 0))
    if no_direction.size:
        raise DataError(f"s1: row {no_direction[0]} is the zero vector, which is no direction")
    return beams


def _geometry(
    s0: ArrayLike | None,
    rotation_axis: ArrayLike,
    image_width: float,
    wavelength: float | None,
    lattice: tuple[tuple[float, ...], Any],
) -> _Geometry:
    axis = _direction("rotation_axis", rotation_axis)
    incident = np.array([0.0, 0.0, -1.0]) if s0 is None else _direction("s0", s0)
    length = float(np.linalg.norm(incident))
    if wavelength is None:
        wavelength = 1.0 / length if s0 is not None else known_wavelength(InputOptions(), None, *lattice)[0]
    return _Geometry(
        wavelength=_positive("wavelength", wavelength),
        to_source=-incident / length,
        axis=axis / np.linalg.norm(axis),
        image_width=image_width,
    )


def _parts(data_set: Sequence[Any] | NDArray[Any] | None, n: int) -> tuple[IndexArray, list[str], list[int]]:
    """Rows by data set, those of each in their order; the identifiers; and where each begins and ends."""
    if data_set is None:
        return np.arange(n), [""], [0, n]
    labels = np.asarray(data_set)
    if labels.shape != (n,) or labels.dtype.kind not in "iuUO":
        raise DataError(
            f"data_set: has shape {labels.shape} and dtype {labels.dtype}, not an integer or text for each of {n} rows"
        )
    if labels.dtype.kind == "O":
        labels = labels.astype(np.str_)
    found, code = np.unique(labels, return_inverse=True)
    names = [str(label) for label in found.tolist()]
    if not all(names):
        raise DataError(f"data_set: row {int(np.argmax(code == names.index('')))} is empty text")
    order = np.argsort(code, kind="stable")
    return order, names, [0, *np.cumsum(np.bincount(code)).tolist()]


def _data_set(
    name: str,
    columns: dict[str, NDArray[Any]],
    angle: FloatArray | None,
    geometry: _Geometry,
    cell: tuple[float, ...],
    group: Any,
) -> ImportedDataSet:
    image_range = oscillation = None
    if angle is not None:
        image_range, oscillation = _scan(angle, geometry.image_width, name)
        columns["xyzobs.px.value"][:, 2] = (angle - oscillation[0]) / geometry.image_width
    return ImportedDataSet(
        source=_SOURCE,
        columns=columns,
        space_group=group,
        unit_cell=cell,
        wavelength=geometry.wavelength,
        image_range=image_range,
        oscillation=oscillation,
        beam_direction=geometry.to_source,
        rotation_axis=geometry.axis,
        identifier=name,
        image=name,
    )


def _scan(angle: FloatArray, width: float, name: str) -> tuple[tuple[int, int], tuple[float, float]]:
    """First and last image, start angle and width (degrees) of the images that hold all angles."""
    first = int(np.floor(angle.min() / width + _AT_THE_EDGE))
    n_images = max(int(np.ceil(angle.max() / width - _AT_THE_EDGE)) - first, 1)
    if n_images > _LARGEST_SCAN:
        where = f" of data set {name}" if name else ""
        raise DataError(f"rotation_angle: {n_images} images of {width:g} degrees{where}: give a larger image_width")
    return (1, n_images), (first * width, width)
