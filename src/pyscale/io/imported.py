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

__all__ = [
    "INPUT_FATES",
    "FlatDetector",
    "ImportedDataSet",
    "InputDecision",
    "add_neutral_columns",
    "decision_texts",
    "experiments_and_tables",
]

INPUT_FATES = {"incomplete": 1, "flagged_by_integration": 2}
"""Why a reader has set rows aside: the values of the column `input_fate`, by what the ledger calls them."""

_NEUTRAL: dict[str, Any] = {
    "lp": np.float64(1.0),
    "qe": np.float64(1.0),
    "dqe": np.float64(1.0),
    "partiality": np.float64(1.0),
    "n_records": np.int32(1),
    "input_fate": np.int32(0),
    "panel": np.uint64(0),
    "s1": np.zeros(3),
    "intensity.sum.value": np.float64(0.0),
    "intensity.sum.variance": np.float64(0.0),
    "intensity.prf.value": np.float64(0.0),
    "intensity.prf.variance": np.float64(0.0),
}
"""Columns, and what a row has that lacks them; flags tell which intensities are there, a beam of no length is none."""
_OTHER_NAMES = {"qe": "dqe", "dqe": "qe"}


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
    space_group : gemmi.SpaceGroup or None
        None: the file does not say, nor does an option; `missing` tells what to do.
    unit_cell : (a, b, c, alpha, beta, gamma) or None
        In A and degrees; None likewise.
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
    image : str
        Image file of a still; empty: the source stands for it.
    missing : str
        What the data set lacks so that it could be scaled, and what to do about it; empty: nothing.
    decisions : sequence of InputDecision
    origin : mapping or None
        JSON values that a writer of the same format needs to give the file back; kept in the experiment list as
        `params["pyscale_origin"]` of the image set. `format` names the format. Of MTZ files: `title`, `history`
        (lines), `dataset` (project, crystal, dataset, wavelength, unit_cell) and `batches`, which
        `io.mtz_batches.unpack_batches` turns into batch headers again; the column `mtz.BATCH` has their numbers.
    """

    source: str
    columns: Mapping[str, NDArray[Any]]
    space_group: gemmi.SpaceGroup | None
    unit_cell: Sequence[float] | None
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
    image: str = ""
    missing: str = ""
    decisions: Sequence[InputDecision] = ()
    origin: Mapping[str, Any] | None = None


def decision_texts(decisions: Mapping[str, Sequence[InputDecision]]) -> list[tuple[str, bool]]:
    """Decisions by data set as text, those that many data sets have in common once; and whether each is a warning."""
    alike: dict[tuple[str, str, str, bool], list[str]] = {}
    for identifier, of_data_set in decisions.items():
        for d in of_data_set:
            alike.setdefault((d.name, str(d.value), d.reason, d.is_warning), []).append(identifier)
    texts = []
    for (name, value, reason, is_warning), identifiers in alike.items():
        one = len(identifiers) == 1
        who = f"Data set {identifiers[0]}" if one else f"{len(identifiers)} data sets ({identifiers[0]}, ...)"
        texts.append((f"{who}: {name} = {value}: {reason}", is_warning))
    return texts


def add_neutral_columns(tables: Sequence[ReflectionTable]) -> None:
    """Give all tables the columns that some have and whose absence means a certain value, so that these are kept."""
    for name, neutral in _NEUTRAL.items():
        lacking = [table for table in tables if name not in table]
        for table in lacking if len(lacking) < len(tables) else []:
            same = table.get(_OTHER_NAMES.get(name, name))
            table[name] = np.repeat(neutral[None], len(table), axis=0) if same is None else same


def experiments_and_tables(data_sets: Sequence[ImportedDataSet]) -> tuple[ExperimentList, list[ReflectionTable]]:
    """Return the experiment list of data sets of one file, and their tables: one of all if their columns are alike."""
    document: dict[str, Any] = {"__id__": "ExperimentList", "experiment": [], **{key: [] for key in MODEL_KEYS}}
    known: dict[str, int] = {}
    for number, data_set in enumerate(data_sets):
        identifier = data_set.identifier or _identifier(data_set, number)
        entry: dict[str, Any] = {"__id__": "Experiment", "identifier": identifier}
        for key, model in _models(data_set).items():
            # Sweeps and stills of one file often have their models in common; scans are long, and rarely do.
            text = f"{key} {number if key == 'scan' else repr(model)}"
            if text not in known:
                known[text] = len(document[key])
                document[key].append(model)
            entry[key] = known[text]
        document["experiment"].append(entry)
    identifiers = [entry["identifier"] for entry in document["experiment"]]
    return ExperimentList(document, data_sets[0].source), _tables(data_sets, identifiers)


def _tables(data_sets: Sequence[ImportedDataSet], identifiers: Sequence[str]) -> list[ReflectionTable]:
    """One table where all data sets have the same columns, which is fast for very many; else one for each."""
    types = [{name: (v.dtype, v.shape[1:]) for name, v in d.columns.items()} for d in data_sets]
    alike = all(t == types[0] for t in types) and len(data_sets) > 1
    tables = []
    for numbers in [range(len(data_sets))] if alike else [range(k, k + 1) for k in range(len(data_sets))]:
        parts = [data_sets[k] for k in numbers]
        table = ReflectionTable(identifiers={k: identifiers[k] for k in numbers}, source=parts[0].source)
        table["id"] = np.repeat(np.array(numbers, np.int32), [len(d.columns["miller_index"]) for d in parts])
        for name, values in parts[0].columns.items():
            table[name] = values if len(parts) == 1 else np.concatenate([d.columns[name] for d in parts])
        tables.append(table)
    return tables


def _identifier(data_set: ImportedDataSet, number: int) -> str:
    """A stable identifier: of the reflections, not of where the file lies."""
    digest = hashlib.sha256(data_set.columns["miller_index"].tobytes())
    for name in ("intensity.sum.value", "intensity.prf.value"):
        if name in data_set.columns:
            digest.update(data_set.columns[name].tobytes())
    digest.update(str(number).encode())
    return digest.hexdigest()[:16]


def _models(d: ImportedDataSet) -> dict[str, dict[str, Any]]:
    models = {"beam": beam_model(d.wavelength, d.beam_direction, d.polarization_normal, d.polarization_fraction)}
    axes = _real_space(d)
    if axes is not None:
        models["crystal"] = crystal_model(axes, None if d.space_group is None else d.space_group.hall)
    if d.detector is not None:
        f = d.detector
        models["detector"] = detector_model(f.fast, f.slow, f.origin, f.pixel_size, f.image_size)
    if d.image_range is None or d.oscillation is None:
        return models | {"imageset": _imageset(d, images=[d.image or d.source])}
    return models | {
        "goniometer": goniometer_model(d.rotation_axis, np.eye(3), np.eye(3)),
        "scan": scan_model(d.image_range, d.oscillation),
        "imageset": _imageset(d, template=d.source),
    }


def _imageset(d: ImportedDataSet, **names: Any) -> dict[str, Any]:
    model = imageset_model(**names)
    return model if d.origin is None else model | {"params": {"pyscale_origin": dict(d.origin)}}


def _real_space(d: ImportedDataSet) -> FloatArray | None:
    if d.real_space is not None or d.unit_cell is None:
        return d.real_space
    from ..symmetry import unit_cell_from

    real_space: FloatArray = np.array(unit_cell_from(tuple(d.unit_cell)).orth.mat.tolist(), np.float64).T
    return real_space
