"""Scaling models from their JSON form in experiments, that of DIALS or pyscale: every value checked."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import numpy as np

from .components import SMOOTH_FORMS, Axis, ComponentModel, ComponentRestraint
from .errors import DataError
from .model_json import COMPONENTS, GRID_KEYS, NORM_KEYS, digest
from .scaling_model import DataSetModel, ModelClass
from .typing import FloatArray

__all__ = ["model_from_dict"]

_WRONG = (AttributeError, IndexError, OverflowError, TypeError, ValueError)
"""What reading a value of another type, shape or size raises."""


def model_from_dict(document: dict[str, Any], where: str) -> DataSetModel:
    """Read a stored model.

    Raises
    ------
    DataError
        If its type is not one that pyscale evaluates, or it lacks what evaluation needs.
    """
    kind = document.get("__id__")
    if not isinstance(kind, str) or kind not in COMPONENTS:
        listed = ", ".join(COMPONENTS)
        raise DataError(f"{where}: a scaling model of type {kind!r} cannot be evaluated; {listed} can")
    configuration = document.get("configuration_parameters") or {}
    if not isinstance(configuration, dict):
        raise DataError(f"{where}: configuration_parameters of the scaling model must be an object")
    own = configuration.get("pyscale") or {}
    if not isinstance(own, dict) or own.get("digest") != digest(document):
        own = {}
    names = configuration.get("corrections") or [n for n in COMPONENTS[kind] if n in document]
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise DataError(f"{where}: corrections of the scaling model must be a list of names")
    unknown = set(names) - set(COMPONENTS[kind]) - {"analytical_correction"}
    if unknown:
        raise DataError(f"{where}: the component {sorted(unknown)[0]!r} of the scaling model is not known")
    shared = configuration.get("shared") or []
    if not isinstance(shared, list):
        raise DataError(f"{where}: shared components of the scaling model must be a list of names")
    components = [
        replace(_read_component(kind, name, document[name], configuration, own, where), shared=name in shared)
        for name in COMPONENTS[kind]
        if name in names and name in document
    ]
    components = _with_own_components(components, own, where)
    if not components:
        raise DataError(f"{where}: the scaling model has no components")
    analytical = "analytical_correction" in names or bool(own.get("analytical_correction"))
    return DataSetModel(cast(ModelClass, kind), tuple(components), analytical, dict(configuration))


def _with_own_components(components: list[ComponentModel], own: dict[str, Any], where: str) -> list[ComponentModel]:
    try:
        if "dose" in own:
            dose = own["dose"]
            b = dose["relative_B"]
            components = [c for c in components if c.name != "relative_B" or b is not None]
            components = [
                replace(c, parameters=np.array([_finite(b)])) if c.name == "relative_B" else c for c in components
            ]
        if "image_scale" in own:
            entry = own["image_scale"]
            parameters, sigmas = _numbers(entry)
            images = ComponentModel(
                "image_scale",
                "image_scale",
                parameters,
                sigmas,
                _restraints(own, "image_scale"),
                first_image=_finite(entry["first_image"]),
            )
            components.insert(1, images)
    except (KeyError, *_WRONG) as error:
        raise DataError(f"{where}: pyscale's part of the scaling model: {error}") from None
    return components


def _numbers(entry: dict[str, Any]) -> tuple[FloatArray, FloatArray | None]:
    parameters = np.asarray(entry["parameters"], dtype=np.float64)
    sigmas = np.asarray(entry["est_standard_devs"], dtype=np.float64) if "est_standard_devs" in entry else None
    if parameters.ndim != 1 or parameters.size == 0 or not np.isfinite(parameters).all():
        raise ValueError("parameters must be finite numbers")
    if sigmas is not None and sigmas.shape != parameters.shape:
        raise ValueError(f"{sigmas.size} est_standard_devs for {parameters.size} parameters")
    return parameters, sigmas


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number:g} is not a finite number")
    return number


def _restraints(own: dict[str, Any], name: str) -> tuple[ComponentRestraint, ...]:
    return tuple(
        ComponentRestraint(form, _finite(weight), _finite(low), _finite(high))
        for form, weight, low, high in own.get("restraints", {}).get(name, ())
        if form in ("null", *SMOOTH_FORMS)
    )


def _read_component(
    kind: str, name: str, entry: dict[str, Any], configuration: dict[str, Any], own: dict[str, Any], where: str
) -> ComponentModel:
    try:
        parameters, sigmas = _numbers(entry)
        restraints = _restraints(own, name)
        places = own.get("axes", {}).get(name) or []
        if kind == "array":
            grid = _read_grid(name, parameters, sigmas, configuration, places)
            return replace(grid, restraints=restraints)
        if name == "absorption":
            return _read_surface(parameters, sigmas, configuration, restraints)
        if kind == "dose_decay" and name == "decay":
            return _read_dose(parameters, sigmas, configuration, own)
        if kind == "KB" or name == "relative_B" or name in own.get("constant", ()):
            component_kind = "constant_scale" if name == "scale" else "constant_decay"
            sigmas = None if sigmas is None else sigmas[:1]
            constant = ComponentModel(name, component_kind, parameters[:1], sigmas)  # type: ignore[arg-type]
            return replace(constant, restraints=restraints)
        return replace(_read_smooth(name, parameters, sigmas, configuration, places), restraints=restraints)
    except KeyError as error:
        raise DataError(f"{where}: the scaling model lacks {error}") from None
    except _WRONG as error:
        raise DataError(f"{where}: component {name!r} of the scaling model: {error}") from None


def _read_surface(
    parameters: FloatArray,
    sigmas: FloatArray | None,
    configuration: dict[str, Any],
    restraints: tuple[ComponentRestraint, ...],
) -> ComponentModel:
    lmax = math.isqrt(parameters.size + 1) - 1
    if lmax < 1 or lmax * (lmax + 2) != parameters.size:
        raise ValueError(f"{parameters.size} parameters are not lmax (lmax + 2)")
    weight = _finite(configuration.get("abs_surface_weight", 0.0))
    fixed = (ComponentRestraint("null", weight, weight, weight),)
    return ComponentModel("absorption", "absorption", parameters, sigmas, restraints or fixed)


def _read_dose(
    parameters: FloatArray, sigmas: FloatArray | None, configuration: dict[str, Any], own: dict[str, Any]
) -> ComponentModel:
    power = 1 if configuration.get("resolution_dependence") == "linear" else 2
    dose = own.get("dose")
    if dose is None:
        return ComponentModel("decay", "dose_decay", parameters[:1], sigmas, power=power)
    per_image = _finite(dose["dose_per_image"])
    return ComponentModel(
        "decay",
        "dose_decay",
        np.array([_finite(dose["rate"])]),
        None if sigmas is None or per_image == 0.0 else sigmas / per_image,
        power=power,
        dose_per_image=per_image,
        dose_at_zero=_finite(dose["dose_at_zero"]),
    )


def _placed_axis(axis: Axis, place: Any) -> Axis:
    if not place:
        return axis
    factor, origin, spacing = map(float, place)
    if not (math.isfinite(factor + origin) and factor > 0 and 0 < spacing < math.inf):
        raise ValueError("the stored place of its nodes is not finite")
    return replace(axis, factor=factor, origin=origin, spacing=spacing)


def _factor(value: Any, key: str) -> float:
    factor = float(value)
    if not (math.isfinite(factor) and factor > 0):
        raise ValueError(f"{key} must be finite and positive, not {factor:g}")
    return factor


def _read_smooth(
    name: str, parameters: FloatArray, sigmas: FloatArray | None, configuration: dict[str, Any], places: Any
) -> ComponentModel:
    factor_key, interval_key = NORM_KEYS[name]
    factor, interval = _factor(configuration[factor_key], factor_key), _finite(configuration[interval_key])
    if parameters.size < 2:
        raise ValueError("a smooth component has two parameters at least")
    axis = _placed_axis(Axis("image_z", int(parameters.size), factor), places[0] if places else None)
    kind = "smooth_scale" if name == "scale" else "smooth_decay"
    return ComponentModel(name, kind, parameters, sigmas, axes=(axis,), interval_deg=interval)  # type: ignore[arg-type]


def _read_grid(
    name: str, parameters: FloatArray, sigmas: FloatArray | None, configuration: dict[str, Any], places: Any
) -> ComponentModel:
    axes = [
        Axis(
            coordinate, int(configuration[n]), 1.0 / _factor(configuration[width], width), _finite(configuration[begin])
        )
        for coordinate, n, begin, width in GRID_KEYS[name]
    ]
    if name != "modulation":
        factor = _factor(configuration["time_norm_fac"], "time_norm_fac")
        axes.append(Axis("image_z", int(configuration["n_time_param"]), factor))
    if math.prod(axis.n_nodes for axis in axes) != parameters.size or min(axis.n_nodes for axis in axes) < 2:
        raise ValueError(f"{parameters.size} parameters for nodes {' x '.join(str(a.n_nodes) for a in axes)}")
    if places:
        axes = [_placed_axis(axis, place) for axis, place in zip(axes, places, strict=True)]
    interval = None if name == "modulation" else configuration.get("time_rot_interval")
    return ComponentModel(
        name,
        "grid",
        parameters,
        sigmas,
        axes=tuple(axes),
        interval_deg=None if interval is None else _finite(interval),
    )
