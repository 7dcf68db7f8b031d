"""Stored scaling models over the rows of their data sets: the place of their nodes, the frame of their surface, g."""

from __future__ import annotations

import logging

import numpy as np

from . import _core
from .dataset import DataSet
from .errors import DataError
from .experiment import Experiment
from .joint_model import JointModel
from .model_frame import SurfaceFrame, checked_frame
from .model_reading import model_from_dict
from .observations import beam_directions
from .options import ScalingOptions
from .preparation import UnitCell, prepare
from .reflections import Flag, ReflectionTable
from .scaling_model import DataSetModel
from .symmetry import d_spacing
from .typing import BoolArray, FloatArray

__all__ = ["ModelOnRows", "read_model"]

_logger = logging.getLogger(__name__)


def read_model(experiment: Experiment, where: str) -> DataSetModel:
    """Read the scaling model of an experiment, which has one; `where` it is, for messages.

    Raises
    ------
    DataError
        If it cannot be evaluated, or needs a rotation that the experiment lacks.
    """
    model = model_from_dict(experiment.scaling_model or {}, where)
    if model.has_absorption and experiment.is_still:
        raise DataError(f"{where}: has an absorption surface, but no rotation of the crystal (goniometer and scan)")
    return model


class ModelOnRows:
    """A stored model and the rows of its data set, as these were read.

    Nodes of smooth components lie where the model says under our own key; else where DIALS derives them from the
    suitable rows of the data set: neither user_excluded_in_scaling nor excluded_for_scaling, or, if no row was ever
    scaled, what `pyscale scale` finds suitable by default.

    Attributes
    ----------
    model : DataSetModel
        With the place of its nodes.
    rows : (n,) bool
        Rows for which the model can be evaluated.

    Raises
    ------
    DataError
        If columns are missing, or the place of the nodes is unknown.
    """

    def __init__(self, data_set: DataSet, model: DataSetModel, cell: UnitCell, n_threads: int) -> None:
        table = data_set.reflections
        self._data_set, self._n_threads = data_set, n_threads
        self._centroid = table.centroids()
        self.rows = _can_be_evaluated(table, self._centroid, model)
        self._d = np.full(len(table), np.nan)
        self._d[self.rows] = d_spacing(cell, np.ascontiguousarray(table["miller_index"][self.rows]))
        self.model = model
        if len(table) and not model.is_placed:
            self.model = model.placed(self._suitable_coordinates(cell))

    def scales(self, rows: BoolArray, legacy: bool) -> FloatArray:
        """Inverse scale factors of some rows, in the frame before 2021 or today's, (k,) float64."""
        table, d = self._data_set.reflections.select(rows), self._d[rows]
        at = _coordinates(self._centroid[rows], d)
        directions = (np.zeros((0, 3)), np.zeros((0, 3)))
        if self.model.has_absorption:
            experiment = self._data_set.experiment
            directions = beam_directions(table, experiment, at["image_z"], self._n_threads, legacy=legacy)
        given = np.zeros(0)
        if self.model.analytical:
            given = np.ascontiguousarray(table.require("analytical_correction"), dtype=np.float64)
        observations = _core.Observations(
            np.zeros(len(table), np.int32), at["image_z"], 0.5 / d**2, *directions, at["x_px"], at["y_px"], given
        )
        joint = JointModel([self.model])
        return _core.inverse_scale_factors(joint.core, observations, joint.parameters, self._n_threads)

    def checked_frame(self, frame: SurfaceFrame) -> SurfaceFrame:
        """Frame of the model's surface, by the stored scales where there are any; the log says which and why."""
        table = self._data_set.reflections
        stored = table.get("inverse_scale_factor")
        if stored is not None and _was_scaled(table):
            bad = np.uint64(int(Flag.bad_for_scaling))
            with np.errstate(invalid="ignore"):
                rows = self.rows & (stored > 0) & np.isfinite(stored) & ((table.require("flags") & bad) == 0)
            if rows.any():
                frame = checked_frame(frame, lambda legacy: self.scales(rows, legacy), stored[rows])
        what = f"data set {self._data_set.identifier}: its absorption surface is"
        if frame.certain:
            _logger.info("%s in %s: %s", what, frame.name, frame.reason)
        else:
            advice = "give the scaled reflections of this model, whose scales show it"
            _logger.warning("%s presumed to be in %s: %s; %s", what, frame.name, frame.reason, advice)
        return frame

    def _suitable_coordinates(self, cell: UnitCell) -> dict[str, FloatArray]:
        """Coordinates of the rows over which DIALS lays the nodes of the data set's model."""
        table = self._data_set.reflections
        flags = table.require("flags").astype(np.uint64)
        indexed = (table.require("miller_index") != 0).any(axis=1)
        if _was_scaled(table):
            excluded = np.uint64(int(Flag.user_excluded_in_scaling | Flag.excluded_for_scaling))
            rows = ((flags & excluded) == 0) & np.isfinite(self._centroid[:, 2]) & indexed
            d = d_spacing(cell, np.ascontiguousarray(table["miller_index"][rows]))
            coordinates = _coordinates(self._centroid[rows], d)
        else:
            prepared = prepare(self._data_set, cell, ScalingOptions())
            coordinates = prepared.coordinates(prepared.suitable)
        if coordinates["image_z"].size == 0:
            raise DataError(
                f"{table.source}: no reflection of data set {self._data_set.identifier} is suitable for scaling, so "
                "that the place of the model's nodes is unknown"
            )
        return coordinates


def _was_scaled(table: ReflectionTable) -> bool:
    """Whether scaling left its marks; DIALS of 2019 knew no flag `scaled`."""
    marks = np.uint64(int(Flag.scaled | Flag.excluded_for_scaling))
    return bool((table.require("flags").astype(np.uint64) & marks).any())


def _can_be_evaluated(table: ReflectionTable, centroid: FloatArray, model: DataSetModel) -> BoolArray:
    rows: BoolArray = (table.require("miller_index") != 0).any(axis=1) & np.isfinite(centroid[:, 2])
    if model.has_absorption:
        rows = rows & np.isfinite(table.require("s1")).all(axis=1)
    if model.has_grid:
        rows = rows & np.isfinite(centroid).all(axis=1)
    if model.analytical:
        with np.errstate(invalid="ignore"):
            rows = rows & (table.require("analytical_correction") > 0)
    return rows


def _coordinates(centroid: FloatArray, d: FloatArray) -> dict[str, FloatArray]:
    x, y, z = (np.ascontiguousarray(column) for column in centroid.T)
    return {"image_z": z, "inv_d2": 1.0 / d**2, "x_px": x, "y_px": y}
