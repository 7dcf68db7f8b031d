"""Scaling models of data sets: their components, their JSON form, and the joint model that the core evaluates."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from . import _core
from .auto import ModelPlan, Restraint
from .errors import DataError
from .typing import FloatArray

__all__ = [
    "SCHEMA_VERSION",
    "Axis",
    "ComponentModel",
    "DataSetModel",
    "JointModel",
    "model_from_dict",
    "model_from_plan",
]

SCHEMA_VERSION = 1
_SMOOTHER_FACTOR = 0.999
_NULL = {"scale": 1.0, "decay": 0.0, "absorption": 0.0}
_NORM_KEYS = {"scale": ("s_norm_fac", "scale_rot_interval"), "decay": ("d_norm_fac", "decay_rot_interval")}

ComponentKind = Literal["smooth_scale", "smooth_decay", "absorption", "constant_scale", "constant_decay"]


@dataclass(frozen=True)
class Axis:
    """Nodes along the rotation: x = image_z * factor - origin, `spacing` between nodes."""

    factor: float
    origin: float
    spacing: float

    @classmethod
    def over(cls, factor: float, n_nodes: int, image_z: FloatArray) -> Axis:
        """Nodes spanning the rows of a data set, by the rule with which DIALS derives them from its data."""
        axis = _core.make_smoother_axis(factor, n_nodes, float(image_z.min()), float(image_z.max()))
        return cls(axis.factor, axis.origin, axis.spacing)


@dataclass(frozen=True)
class ComponentModel:
    """One component of a data set's model.

    Attributes
    ----------
    name : str
        Key in DIALS' JSON: scale, decay, absorption.
    kind : str
        What the core evaluates.
    parameters : (p,) float64
    sigmas : (p,) float64 or None
        Standard uncertainties in the gauge of docs/mathematics.md; infinite for parameters that the data leave
        undetermined.
    restraint : float
        Weight lambda of sum lambda p^2.
    restraint_range : (float, float)
        Limits between which the fit may choose `restraint`; equal when it is fixed.
    interval_deg : float or None
        Distance of the nodes of a smooth component, degrees.
    axis : Axis or None
        Their place; None until the rows of the data set are known.
    """

    name: str
    kind: ComponentKind
    parameters: FloatArray
    sigmas: FloatArray | None = None
    restraint: float = 0.0
    restraint_range: tuple[float, float] = (0.0, 0.0)
    interval_deg: float | None = None
    factor: float | None = None
    axis: Axis | None = None

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return int(self.parameters.size)

    @property
    def lmax(self) -> int:
        """Highest order of an absorption surface."""
        return math.isqrt(self.n_parameters + 1) - 1


@dataclass(frozen=True)
class DataSetModel:
    """The model of one data set: g is the product of its components."""

    model: Literal["physical", "KB"]
    components: tuple[ComponentModel, ...]
    configuration: dict[str, Any] = field(default_factory=dict)

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return sum(c.n_parameters for c in self.components)

    @property
    def has_absorption(self) -> bool:
        """Whether evaluation needs beam directions in the crystal frame."""
        return any(c.kind == "absorption" for c in self.components)

    def placed(self, image_z: FloatArray) -> DataSetModel:
        """Return the model with the nodes of its smooth components laid over the rows of a data set."""
        components = [
            replace(c, axis=Axis.over(c.factor, c.n_parameters, image_z)) if c.factor and c.axis is None else c
            for c in self.components
        ]
        return replace(self, components=tuple(components))

    def to_dict(self, extra: dict[str, Any]) -> dict[str, Any]:
        """Return DIALS' JSON form; `extra` joins the configuration, pyscale's own part goes under a key of its own."""
        configuration: dict[str, Any] = {"corrections": [c.name for c in self.components]}
        document: dict[str, Any] = {"__id__": self.model}
        for c in self.components:
            entry: dict[str, Any] = {
                "n_parameters": c.n_parameters,
                "parameters": c.parameters.tolist(),
                "null_parameter_value": _NULL[c.name],
            }
            if c.sigmas is not None:
                entry["est_standard_devs"] = [s if math.isfinite(s) else _UNKNOWN_SIGMA for s in c.sigmas.tolist()]
            document[c.name] = entry
            if c.factor is not None:
                factor_key, interval_key = _NORM_KEYS[c.name]
                configuration |= {factor_key: c.factor, interval_key: c.interval_deg}
            if c.kind == "absorption":
                configuration |= {"lmax": c.lmax, "abs_surface_weight": c.restraint}
        own = {
            "schema_version": SCHEMA_VERSION,
            "axes": {c.name: [c.axis.factor, c.axis.origin, c.axis.spacing] for c in self.components if c.axis},
            "constant": [c.name for c in self.components if c.kind == "constant_scale" and self.model == "physical"],
            "digest": _digest(document),
        }
        own |= extra.pop("pyscale", {})
        document["configuration_parameters"] = configuration | extra | {"pyscale": own}
        return document


_UNKNOWN_SIGMA = 1e6


def _digest(document: dict[str, Any]) -> str:
    """Fingerprint of the parameters, by which our own keys are recognised as stale after another program's fit."""
    parameters = {k: v["parameters"] for k, v in sorted(document.items()) if isinstance(v, dict) and "parameters" in v}
    return hashlib.sha256(json.dumps(parameters).encode()).hexdigest()[:16]


def model_from_plan(plan: ModelPlan, range_deg: float, image_width_deg: float) -> DataSetModel:
    """Build the starting model of a data set: every correction at its null value."""
    if plan.model.value == "KB":
        components = [ComponentModel("scale", "constant_scale", np.ones(1))]
        if plan.decay.value:
            components.append(ComponentModel("decay", "constant_decay", np.zeros(1)))
        return DataSetModel("KB", tuple(components))
    components = []
    assert plan.scale_interval is not None and plan.decay_interval is not None
    if plan.scale.value:
        smooth = _smooth("scale", "smooth_scale", plan.scale_interval.value, range_deg, image_width_deg)
        components.append(smooth)
    else:
        components.append(ComponentModel("scale", "constant_scale", np.ones(1)))
    if plan.decay.value:
        smooth = _smooth("decay", "smooth_decay", plan.decay_interval.value, range_deg, image_width_deg)
        assert plan.decay_restraint is not None
        components.append(_restrained(smooth, plan.decay_restraint.value))
    if plan.absorption.value:
        assert plan.lmax is not None and plan.surface_weight is not None
        zeros = np.zeros(plan.lmax.value * (plan.lmax.value + 2))
        components.append(_restrained(ComponentModel("absorption", "absorption", zeros), plan.surface_weight.value))
    return DataSetModel("physical", tuple(components))


def _restrained(component: ComponentModel, restraint: Restraint) -> ComponentModel:
    return replace(component, restraint=restraint.start, restraint_range=(restraint.lowest, restraint.highest))


def _smooth(
    name: str, kind: ComponentKind, interval: float, range_deg: float, image_width_deg: float
) -> ComponentModel:
    n_nodes, actual = _core.node_count(range_deg, interval)
    factor = _SMOOTHER_FACTOR * abs(image_width_deg) / actual
    start = np.full(n_nodes, _NULL[name])
    return ComponentModel(name, kind, start, interval_deg=actual, factor=factor)


def model_from_dict(document: dict[str, Any], where: str) -> DataSetModel:
    """Read a stored model.

    Raises
    ------
    DataError
        If its type is not one that pyscale evaluates, or it lacks what evaluation needs.
    """
    kind = document.get("__id__")
    if kind not in ("physical", "KB"):
        raise DataError(f"{where}: a scaling model of type {kind!r} cannot be evaluated yet; physical and KB can")
    configuration = document.get("configuration_parameters") or {}
    if not isinstance(configuration, dict):
        raise DataError(f"{where}: configuration_parameters of the scaling model must be an object")
    own = configuration.get("pyscale") or {}
    if not isinstance(own, dict) or own.get("digest") != _digest(document):
        own = {}
    names = configuration.get("corrections") or [n for n in _NULL if n in document]
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise DataError(f"{where}: corrections of the scaling model must be a list of names")
    components = []
    for name in ("scale", "decay", "absorption"):
        if name in names and name in document:
            components.append(_read_component(kind, name, document[name], configuration, own, where))
    unknown = set(names) - set(_NULL)
    if unknown:
        raise DataError(f"{where}: the component {sorted(unknown)[0]!r} of the scaling model cannot be evaluated yet")
    if not components:
        raise DataError(f"{where}: the scaling model has no components")
    return DataSetModel(kind, tuple(components), dict(configuration))


def _read_component(
    kind: str,
    name: str,
    entry: dict[str, Any],
    configuration: dict[str, Any],
    own: dict[str, Any],
    where: str,
) -> ComponentModel:
    try:
        parameters = np.asarray(entry["parameters"], dtype=np.float64)
        sigmas = np.asarray(entry["est_standard_devs"], dtype=np.float64) if "est_standard_devs" in entry else None
        if parameters.ndim != 1 or parameters.size == 0 or not np.isfinite(parameters).all():
            raise ValueError("parameters must be finite numbers")
        if name == "absorption":
            lmax = math.isqrt(parameters.size + 1) - 1
            if lmax < 1 or lmax * (lmax + 2) != parameters.size:
                raise ValueError(f"{parameters.size} parameters are not lmax (lmax + 2)")
            weight = float(configuration.get("abs_surface_weight", 0.0))
            return ComponentModel(name, "absorption", parameters, sigmas, restraint=weight)
        if kind == "KB" or name in own.get("constant", ()):
            constant: ComponentKind = "constant_scale" if name == "scale" else "constant_decay"
            return ComponentModel(name, constant, parameters[:1], sigmas)
        return _read_smooth(name, parameters, sigmas, configuration, own.get("axes", {}).get(name))
    except KeyError as error:
        raise DataError(f"{where}: the scaling model lacks {error}") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{where}: component {name!r} of the scaling model: {error}") from None


def _read_smooth(
    name: str, parameters: FloatArray, sigmas: FloatArray | None, configuration: dict[str, Any], axis: Any
) -> ComponentModel:
    factor_key, interval_key = _NORM_KEYS[name]
    factor, interval = float(configuration[factor_key]), float(configuration[interval_key])
    if not (math.isfinite(factor) and factor > 0):
        raise ValueError(f"{factor_key} must be finite and positive, not {factor:g}")
    if parameters.size < 2:
        raise ValueError("a smooth component has two parameters at least")
    place = Axis(*map(float, axis)) if axis else None
    if place and not (math.isfinite(place.factor + place.origin) and 0 < place.spacing < math.inf):
        raise ValueError("the stored place of its nodes is not finite")
    kind: ComponentKind = "smooth_scale" if name == "scale" else "smooth_decay"
    return ComponentModel(name, kind, parameters, sigmas, interval_deg=interval, factor=factor, axis=place)


class JointModel:
    """The models of all data sets over one parameter vector.

    Attributes
    ----------
    core : _core.JobModel
        What the core evaluates.
    slices : list of list of slice
        Place of each component's parameters, by data set.
    """

    def __init__(self, models: Sequence[DataSetModel]) -> None:
        self.models = list(models)
        self.core = _core.JobModel()
        self.slices: list[list[slice]] = []
        for model in self.models:
            number = self.core.add_data_set()
            places = []
            for component in model.components:
                first = self._add(number, component)
                places.append(slice(first, first + component.n_parameters))
            self.slices.append(places)

    def _add(self, number: int, component: ComponentModel) -> int:
        if component.kind == "absorption":
            return self.core.add_absorption(number, component.lmax)
        if component.kind == "constant_scale":
            return self.core.add_constant_scale(number)
        if component.kind == "constant_decay":
            return self.core.add_constant_decay(number)
        assert component.axis is not None
        axis = _core.SmootherAxis(
            component.axis.factor, component.axis.origin, component.axis.spacing, component.n_parameters
        )
        if component.kind == "smooth_scale":
            return self.core.add_smooth_scale(number, axis)
        return self.core.add_smooth_decay(number, axis)

    @property
    def n_parameters(self) -> int:
        """Length of the parameter vector."""
        return int(self.core.n_parameters)

    @property
    def parameters(self) -> FloatArray:
        """The parameters of all data sets, (n_parameters,) float64."""
        return np.concatenate([c.parameters for m in self.models for c in m.components] or [np.zeros(0)])

    @property
    def restraints(self) -> FloatArray:
        """Restraint weight of each parameter, (n_parameters,) float64."""
        parts = [np.full(c.n_parameters, c.restraint) for m in self.models for c in m.components]
        return np.concatenate(parts or [np.zeros(0)])

    @property
    def names(self) -> list[str]:
        """A name for each parameter: data set, component, number."""
        return [
            f"data set {k} {c.name}[{i}]"
            for k, m in enumerate(self.models)
            for c in m.components
            for i in range(c.n_parameters)
        ]

    def mask(self, name: str) -> np.ndarray:
        """Which parameters belong to components of this name, (n_parameters,) bool."""
        parts = [np.full(c.n_parameters, c.name == name) for m in self.models for c in m.components]
        return np.concatenate(parts or [np.zeros(0, np.bool_)])

    def data_set_of_parameters(self) -> np.ndarray:
        """Data set of each parameter, (n_parameters,) int64."""
        return np.repeat(np.arange(len(self.models)), [m.n_parameters for m in self.models])

    def with_parameters(self, parameters: FloatArray, sigmas: FloatArray | None = None) -> list[DataSetModel]:
        """Return the models with new parameters, and their uncertainties where known."""
        models = []
        for model, places in zip(self.models, self.slices, strict=True):
            components = [
                replace(c, parameters=parameters[s].copy(), sigmas=None if sigmas is None else sigmas[s].copy())
                for c, s in zip(model.components, places, strict=True)
            ]
            models.append(replace(model, components=tuple(components)))
        return models
