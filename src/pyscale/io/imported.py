"""Data sets of files that are not DIALS' own, as experiments and reflections."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..experiment import ExperimentList
from ..experiment_document import MODEL_KEYS
from ..experiment_models import (
    beam_model,
    crystal_model,
    detector_model,
    goniometer_model,
    imageset_model,
    scan_model,
)
from ..reflections import ReflectionTable
from ..typing import FloatArray

if TYPE_CHECKING:
    import gemmi

__all__ = ["INPUT_FATES", "FlatDetector", "ImportedDataSet", "InputDecision", "experiments_and_tables"]

INPUT_FATES = {"incomplete": 1, "flagged_by_integration": 2}
"""Why a reader has set rows aside: the values of the column `input_fate`, by what the ledger calls them."""


@dataclass(frozen=True)
class InputDecision:
    """What was decided or found in reading a file: which quantity, its value, and why.

    `is_warning` marks what the user must know: something in the file is wrong, or was repaired.
    """

    name: str
    value: Any
    reason: str
    is_warning: bool = False


@dataclass(frozen=True)
class FlatDetector:
    """A flat detector: unit vectors (3,) of its axes, origin (mm), pixel size (mm), numbers of pixels."""

    fast: FloatArray
    slow: FloatArray
    origin: FloatArray
    pixel_size: tuple[float, float]
    image_size: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class ImportedDataSet:
    """One sweep, or one still, of a file.

    Attributes
    ----------
    source : str
        The file, for messages.
    columns : mapping of str to array
        Columns under DIALS' names and in their dtypes: at least `miller_index` (n, 3) int32 as observed,
        `intensity.sum.value` or `intensity.prf.value` with its variance, and `flags` uint64. Images are 0-based
        and fractional in `xyzobs.px.value` (pixel, pixel, image); `s1` (n, 3) in 1/A; `lp` multiplies intensities.
        Columns that only the file's own format has go under their own names and are passed through: those of MTZ
        files as `mtz.LABEL`, int32 or float64.
        `n_records` (n,) int32: how many records of the file were summed to a row, where that is not one; the ledger
        counts records. `input_fate` (n,) int32: 0, or one of `INPUT_FATES` for rows that cannot be used; their
        `flags` have no bit `integrated_sum` or `integrated_prf`.
    space_group : gemmi.SpaceGroup
    unit_cell : (a, b, c, alpha, beta, gamma)
        In A and degrees.
    wavelength : float
        In A.
    image_range : (int, int) or None
        First and last image; None for a still.
    oscillation : (float, float) or None
        Rotation angle at the start of the first image, width of an image (degrees).
    beam_direction : (3,) float64
        Unit vector from the sample to the source.
    rotation_axis : (3,) float64
        Unit vector.
    real_space : (3, 3) float64 or None
        Vectors a, b, c (A) as rows, at rotation angle zero; None: unknown, and any orientation is put in.
    detector : FlatDetector or None
    identifier : str
        Empty: one is made from the source and the reflections.
    decisions : sequence of InputDecision
    origin : mapping or None
        JSON values that a writer of the same format needs to give the file back; kept in the experiment list as
        `params["pyscale_origin"]` of the image set. `format` names the format. Of MTZ files: `title`, `history`
        (lines), `dataset` (project, crystal, dataset, wavelength, unit_cell) and `batches`, which
        `io.mtz_batches.unpack_batches` turns into batch headers again; the column `mtz.BATCH` has their numbers.
    """

    source: str
    columns: Mapping[str, NDArray[Any]]
    space_group: gemmi.SpaceGroup
    unit_cell: Sequence[float]
    wavelength: float
    image_range: tuple[int, int] | None
    oscillation: tuple[float, float] | None
    beam_direction: FloatArray = field(default_factory=lambda: np.array([0.0, 0.0, 1.0]))
    rotation_axis: FloatArray = field(default_factory=lambda: np.array([1.0, 0.0, 0.0]))
    real_space: FloatArray | None = None
    detector: FlatDetector | None = None
    polarization_normal: FloatArray = field(default_factory=lambda: np.array([0.0, 1.0, 0.0]))
    polarization_fraction: float = 0.5
    identifier: str = ""
    decisions: Sequence[InputDecision] = ()
    origin: Mapping[str, Any] | None = None


def experiments_and_tables(data_sets: Sequence[ImportedDataSet]) -> tuple[ExperimentList, list[ReflectionTable]]:
    """Return the experiment list of data sets of one file, and the table of each."""
    document: dict[str, Any] = {"__id__": "ExperimentList", "experiment": [], **{key: [] for key in MODEL_KEYS}}
    tables = []
    for number, data_set in enumerate(data_sets):
        identifier = data_set.identifier or _identifier(data_set, number)
        entry: dict[str, Any] = {"__id__": "Experiment", "identifier": identifier}
        for key, model in _models(data_set).items():
            entry[key] = len(document[key])
            document[key].append(model)
        document["experiment"].append(entry)
        table = ReflectionTable(identifiers={number: identifier}, source=data_set.source)
        n = len(data_set.columns["miller_index"])
        for name, values in {"id": np.full(n, number, np.int32), **data_set.columns}.items():
            table[name] = values
        tables.append(table)
    return ExperimentList(document, data_sets[0].source), tables


def _identifier(data_set: ImportedDataSet, number: int) -> str:
    """A stable identifier: of the reflections, not of where the file lies."""
    digest = hashlib.sha256(data_set.columns["miller_index"].tobytes())
    for name in ("intensity.sum.value", "intensity.prf.value"):
        if name in data_set.columns:
            digest.update(data_set.columns[name].tobytes())
    digest.update(str(number).encode())
    return digest.hexdigest()[:16]


def _models(d: ImportedDataSet) -> dict[str, dict[str, Any]]:
    models = {
        "beam": beam_model(d.wavelength, d.beam_direction, d.polarization_normal, d.polarization_fraction),
        "crystal": crystal_model(_real_space(d), d.space_group.hall),
    }
    if d.detector is not None:
        f = d.detector
        models["detector"] = detector_model(f.fast, f.slow, f.origin, f.pixel_size, f.image_size)
    if d.image_range is None or d.oscillation is None:
        return models | {"imageset": _imageset(d, images=[d.source])}
    return models | {
        "goniometer": goniometer_model(d.rotation_axis, np.eye(3), np.eye(3)),
        "scan": scan_model(d.image_range, d.oscillation),
        "imageset": _imageset(d, template=d.source),
    }


def _imageset(d: ImportedDataSet, **names: Any) -> dict[str, Any]:
    model = imageset_model(**names)
    return model if d.origin is None else model | {"params": {"pyscale_origin": dict(d.origin)}}


def _real_space(d: ImportedDataSet) -> FloatArray:
    if d.real_space is not None:
        return d.real_space
    from ..symmetry import unit_cell_from

    real_space: FloatArray = np.array(unit_cell_from(tuple(d.unit_cell)).orth.mat.tolist(), np.float64).T
    return real_space
