"""Experiments: the geometry of a data set as plain data over the untouched JSON document."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .errors import DataError
from .experiment_document import ExperimentDocument
from .json_values import JsonObject
from .typing import FloatArray
from .unit_cells import cells_of_axes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import gemmi

__all__ = ["Cell", "Experiment", "ExperimentList"]

Cell: TypeAlias = tuple[float, float, float, float, float, float]

_STILL_WIDTH = 1e-7
_LARGEST_WIDTH = 360.0


@lru_cache
def _space_group(hall_symbol: str) -> gemmi.SpaceGroup | None:
    """The space group of a Hall symbol; the same object for the same symbol."""
    import gemmi

    try:
        found: gemmi.SpaceGroup | None = gemmi.find_spacegroup_by_ops(gemmi.symops_from_hall(hall_symbol))
    except (RuntimeError, ValueError, TypeError):
        return None
    return found


class Experiment:
    """One experiment of a list. Values are looked up, and checked, when asked for.

    Every property raises `DataError`, naming file, experiment and key, where the file holds no sound value.
    """

    def __init__(self, document: ExperimentDocument, index: int) -> None:
        self._document = document
        self.index = index

    def __repr__(self) -> str:
        return f"Experiment({self._document.where(self.index)}, identifier={self.identifier!r})"

    def _model(self, key: str) -> JsonObject:
        where = self._document.where(self.index)
        values = self._document.model(self.index, key)
        if values is None:
            raise DataError(f"{where}: has no {key}")
        return JsonObject(values, f"{where}: {key}")

    @property
    def identifier(self) -> str:
        """Name of the data set; empty if it has none."""
        return self._document.identifier(self.index)

    @property
    def where(self) -> str:
        """File and number, for messages."""
        return self._document.where(self.index)

    @property
    def beam(self) -> dict[str, Any] | None:
        """The beam model as it stands in the file."""
        return self._document.model(self.index, "beam")

    @property
    def detector(self) -> dict[str, Any] | None:
        """The detector model as it stands in the file."""
        return self._document.model(self.index, "detector")

    @property
    def goniometer(self) -> dict[str, Any] | None:
        """The goniometer model as it stands in the file."""
        return self._document.model(self.index, "goniometer")

    @property
    def scan(self) -> dict[str, Any] | None:
        """The scan model as it stands in the file."""
        return self._document.model(self.index, "scan")

    @property
    def crystal(self) -> dict[str, Any] | None:
        """The crystal model as it stands in the file."""
        return self._document.model(self.index, "crystal")

    @property
    def scaling_model(self) -> dict[str, Any] | None:
        """The stored scaling model as it stands in the file."""
        return self._document.model(self.index, "scaling_model")

    @property
    def imageset(self) -> dict[str, Any] | None:
        """The image set as it stands in the file; the images themselves are never looked at."""
        return self._document.model(self.index, "imageset")

    @property
    def history(self) -> list[str]:
        """Lines `ISO time|program|version|flags` of the file, of all its experiments together."""
        return [line for line in self._document.values.get("history") or [] if isinstance(line, str)]

    @property
    def imageset_index(self) -> int | None:
        """Position of the experiment's images in the file's list of image sets."""
        return self._document.model_index(self.index, "imageset")

    @property
    def unit_cell(self) -> Cell:
        """Cell edges (Å) and angles (degrees), from the crystal's real-space axes."""
        crystal = self._model("crystal")
        axes = np.array([crystal.vector(f"real_space_{name}", 3) for name in "abc"])
        cell, has_volume = cells_of_axes(axes[None])
        if not has_volume.all():
            raise crystal.error("real_space_a/b/c", "span no volume")
        a, b, c, alpha, beta, gamma = cell[0].tolist()
        return a, b, c, alpha, beta, gamma

    @property
    def recalculated_unit_cell(self) -> Cell | None:
        """Cell refined against the positions after integration (Å, degrees), where there is one."""
        crystal = self._model("crystal")
        if crystal.values.get("recalculated_unit_cell") is None:
            return None
        a, b, c, alpha, beta, gamma = (float(x) for x in crystal.vector("recalculated_unit_cell", 6))
        cosines = [math.cos(math.radians(angle)) for angle in (alpha, beta, gamma)]
        gram = 1 - sum(x * x for x in cosines) + 2 * math.prod(cosines)
        if min(a, b, c) <= 0 or min(alpha, beta, gamma) <= 0 or max(alpha, beta, gamma) >= 180 or gram < 1e-12:
            raise crystal.error("recalculated_unit_cell", "has no volume")
        return a, b, c, alpha, beta, gamma

    @property
    def space_group(self) -> gemmi.SpaceGroup:
        """Space group, from the Hall symbol."""
        crystal = self._model("crystal")
        hall = crystal.required("space_group_hall_symbol")
        found = _space_group(hall) if isinstance(hall, str) else None
        if found is None:
            raise crystal.error("space_group_hall_symbol", f"{hall!r} is no known space group")
        return found

    @property
    def wavelength(self) -> float:
        """Wavelength in Å."""
        beam = self._model("beam")
        wavelength = beam.number("wavelength")
        if wavelength <= 0:
            raise beam.error("wavelength", f"{wavelength} is not positive")
        return wavelength

    @property
    def beam_direction(self) -> FloatArray:
        """Unit vector from the sample towards the source, shape (3,)."""
        return self._model("beam").unit_vector("direction")

    @property
    def panels(self) -> list[dict[str, Any]]:
        """The detector's panels as they stand in the file."""
        return self._model("detector").objects("panels")

    @property
    def is_still(self) -> bool:
        """Whether the crystal did not rotate: no goniometer, no scan, or images of less than 1e-7 degrees."""
        if self.goniometer is None:
            return True
        oscillation = self.oscillation
        return oscillation is None or abs(oscillation[1]) < _STILL_WIDTH

    @property
    def image_range(self) -> tuple[int, int] | None:
        """First and last image number; None without a scan."""
        return None if self.scan is None else self._model("scan").integer_range("image_range")

    @property
    def oscillation(self) -> tuple[float, float] | None:
        """Start of the first image and width of each, in degrees; None without a scan or without angles."""
        if self.scan is None:
            return None
        scan = self._model("scan")
        first, last = scan.integer_range("image_range")
        if scan.values.get("oscillation") is not None:
            start, width = (float(x) for x in scan.vector("oscillation", 2))
            if abs(width) > _LARGEST_WIDTH:
                raise scan.error("oscillation", f"has images of {width:g} degrees")
            return start, width
        properties = scan.object("properties")
        if properties.values.get("oscillation") is None:
            return None
        starts = properties.vector("oscillation", last - first + 1)
        if len(starts) == 1:
            width = properties.number("oscillation_width") if "oscillation_width" in properties.values else 0.0
            return float(starts[0]), width
        return float(starts[0]), float(starts[-1] - starts[0]) / (len(starts) - 1)

    @property
    def oscillation_range(self) -> tuple[float, float] | None:
        """Start of the first image and end of the last, in degrees; None without a scan or without angles."""
        oscillation, image_range = self.oscillation, self.image_range
        if oscillation is None or image_range is None:
            return None
        start, width = oscillation
        return start, start + width * (image_range[1] - image_range[0] + 1)

    @property
    def valid_image_ranges(self) -> list[tuple[int, int]]:
        """First and last image of each part of the scan that is in use; empty without a scan."""
        image_range = self.image_range
        if image_range is None:
            return []
        scan = self._model("scan")
        stored = scan.object("valid_image_ranges")
        ranges = stored.values.get(self.identifier)
        if ranges is None:
            return [image_range]
        if not isinstance(ranges, list):
            raise stored.error(self.identifier, "must be a list of ranges")
        return [stored.integer_range(self.identifier, pair) for pair in ranges]

    @property
    def rotation_axis(self) -> FloatArray | None:
        """Axis of the scan before the setting rotation, unit, shape (3,); None without a goniometer."""
        if self.goniometer is None:
            return None
        goniometer = self._model("goniometer")
        if "axes" in goniometer.values:
            axes, _, k = _goniometer_axes(goniometer)
            return axes[k]
        return goniometer.unit_vector("rotation_axis")

    @property
    def fixed_rotation(self) -> FloatArray:
        """Rotation F applied to the crystal before the scan's rotation, shape (3, 3)."""
        return self._rotation("fixed_rotation", lambda k: slice(k))

    @property
    def setting_rotation(self) -> FloatArray:
        """Rotation S applied to the crystal after the scan's rotation, shape (3, 3)."""
        return self._rotation("setting_rotation", lambda k: slice(k + 1, None))

    def _rotation(self, key: str, chosen: Callable[[int], slice]) -> FloatArray:
        if self.goniometer is None:
            return np.eye(3)
        goniometer = self._model("goniometer")
        if "axes" not in goniometer.values:
            return goniometer.vector(key, 9).reshape(3, 3) if key in goniometer.values else np.eye(3)
        axes, angles, k = _goniometer_axes(goniometer)
        rotation = np.eye(3)
        for axis, angle in zip(axes[chosen(k)], angles[chosen(k)], strict=True):
            rotation = _rotation_about(axis, angle) @ rotation
        return rotation


def _goniometer_axes(goniometer: JsonObject) -> tuple[list[FloatArray], FloatArray, int]:
    """Unit axes from the crystal outwards, their angles in degrees, and the number of the scan's axis."""
    raw = goniometer.required("axes")
    if not isinstance(raw, list) or not raw:
        raise goniometer.error("axes", "must be a list of axes")
    axes = [JsonObject({"axes": axis}, goniometer.where).unit_vector("axes") for axis in raw]
    scan_axis = goniometer.values.get("scan_axis")
    if type(scan_axis) is not int or not 0 <= scan_axis < len(axes):
        raise goniometer.error("scan_axis", f"must be the number of one of {len(axes)} axes")
    return axes, goniometer.vector("angles", len(axes)), scan_axis


def _rotation_about(axis: FloatArray, degrees: float) -> FloatArray:
    angle = math.radians(degrees)
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation: FloatArray = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross)
    return rotation


class ExperimentList:
    """The experiments of one or more files, over their JSON document, which is kept whole.

    Parameters
    ----------
    document
        The JSON document, whose model entries are all objects (`read_expt` resolves paths).
    source
        The file it came from, for messages.

    Raises
    ------
    DataError
        If the document is no list of experiments, or refers to models that it does not hold.
    """

    def __init__(self, document: dict[str, Any], source: str = "") -> None:
        self._document = ExperimentDocument(document, source)

    @classmethod
    def _over(cls, document: ExperimentDocument) -> ExperimentList:
        result = cls.__new__(cls)
        result._document = document
        return result

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document."""
        return self._document.values

    @property
    def identifiers(self) -> list[str]:
        """Identifier of each experiment; empty where there is none."""
        return [e.identifier for e in self]

    def __len__(self) -> int:
        return len(self._document)

    def __getitem__(self, index: int) -> Experiment:
        if not -len(self) <= index < len(self):
            raise IndexError(f"experiment {index} of {len(self)}")
        return Experiment(self._document, index % len(self))

    def __iter__(self) -> Iterator[Experiment]:
        return (Experiment(self._document, i) for i in range(len(self)))

    @classmethod
    def concatenate(cls, lists: Sequence[ExperimentList]) -> ExperimentList:
        """Return the experiments of some lists in one; models shared within a list stay shared."""
        return cls._over(ExperimentDocument.concatenate([e._document for e in lists]))

    def select(self, indices: Iterable[int]) -> ExperimentList:
        """Return some experiments, with the models they use; models shared by several stay shared."""
        return self._over(self._document.select([int(i) for i in indices]))

    def model(self, index: int, key: str) -> dict[str, Any] | None:
        """Return an experiment's model of some kind as it stands in the file."""
        return self._document.model(index, key)

    def set_model(self, index: int, key: str, model: dict[str, Any]) -> None:
        """Replace a model of one experiment; others that shared it keep the old one."""
        self._document.set_model(index, key, model)

    def unshare_model(self, index: int, key: str) -> None:
        """Give an experiment a copy of its own of a model."""
        model = self._document.model(index, key)
        if model is not None:
            self._document.set_model(index, key, dict(model))

    def set_scaling_model(self, index: int, model: dict[str, Any] | None) -> None:
        """Store a scaling model for one experiment, or remove it."""
        self._document.set_model(index, "scaling_model", model)

    def set_space_group(self, hall_symbol: str) -> None:
        """Give all crystals another space group."""
        self._document.update_models("crystal", {"space_group_hall_symbol": hall_symbol})

    def set_identifier(self, index: int, identifier: str) -> None:
        """Rename an experiment; the valid image ranges of its scan follow."""
        self._document.set_identifier(index, identifier)

    def set_valid_image_ranges(self, index: int, ranges: Sequence[tuple[int, int]]) -> None:
        """Store the parts of an experiment's scan that are in use, each as first and last image."""
        self._document.set_valid_image_ranges(index, ranges)

    def add_history(self, line: str) -> None:
        """Append a line `ISO time|program|version|flags` to the history."""
        self._document.add_history(line)
