"""Scaling models to and from their JSON form in experiments: DIALS' own, with a part under a key of ours."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from typing import Any, cast

import numpy as np

from .components import SMOOTH_FORMS, Axis, ComponentModel, ComponentRestraint, CoordinateName
from .errors import DataError
from .scaling_model import DataSetModel, ModelClass
from .typing import FloatArray

__all__ = [
    "SCHEMA_VERSION",
    "fitted_with_mates_apart",
    "has_common_scale_errors",
    "is_own_model",
    "model_from_dict",
    "model_to_dict",
]

SCHEMA_VERSION = 1
_UNKNOWN_SIGMA = 1e6
_WRONG = (AttributeError, IndexError, OverflowError, TypeError, ValueError)
"""What reading a value of another type, shape or size raises."""
_NORM_KEYS = {"scale": ("s_norm_fac", "scale_rot_interval"), "decay": ("d_norm_fac", "decay_rot_interval")}
_COMPONENTS = {
    "physical": ("scale", "decay", "absorption"),
    "KB": ("scale", "decay"),
    "dose_decay": ("scale", "decay", "relative_B", "absorption"),
    "array": ("decay", "absorption", "modulation"),
}
_GRID_KEYS: dict[str, tuple[tuple[CoordinateName, str, str, str], ...]] = {
    "decay": (("inv_d2", "n_res_param", "resmin", "res_bin_width"),),
    "absorption": (("x_px", "n_x_param", "xmin", "x_bin_width"), ("y_px", "n_y_param", "ymin", "y_bin_width")),
    "modulation": (
        ("x_px", "n_x_mod_param", "xmin", "x_det_bin_width"),
        ("y_px", "n_y_mod_param", "ymin", "y_det_bin_width"),
    ),
}
"""Axes of the array model's grids: coordinate, and keys of the number of nodes, begin and width of a bin."""


def model_to_dict(
    model: DataSetModel, extra: dict[str, Any], range_deg: float = 1.0, width: float = 1.0
) -> dict[str, Any]:
    """Return DIALS' JSON form of a model.

    Parameters
    ----------
    model : DataSetModel
    extra : dict
        Joins the configuration; its key `pyscale` joins our own part.
    range_deg, width : float
        Rotation range of the data set and of an image, degrees.
    """
    configuration: dict[str, Any] = {}
    document: dict[str, Any] = {"__id__": model.model}
    components = _for_dials(model, range_deg, width)
    for c in components:
        document[c.name] = _entry(c)
        configuration |= _component_configuration(c)
    corrections = [name for name in _COMPONENTS[model.model] if name in document]
    configuration["corrections"] = corrections
    shared = [c.name for c in components if c.shared]
    if shared:
        configuration["shared"] = shared
    own = _own_part(model, document) | extra.pop("pyscale", {})
    document["configuration_parameters"] = configuration | extra | {"pyscale": own}
    return document


def _entry(c: ComponentModel) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "n_parameters": c.n_parameters,
        "parameters": c.parameters.tolist(),
        "null_parameter_value": c.null_value,
    }
    if c.sigmas is not None:
        entry["est_standard_devs"] = [s if math.isfinite(s) else _UNKNOWN_SIGMA for s in c.sigmas.tolist()]
    return entry


def _for_dials(model: DataSetModel, range_deg: float, width: float) -> list[ComponentModel]:
    """Components as DIALS evaluates them, image scales left out.

    A constant scale in a model whose scale is smooth there has two equal nodes; a dose axis goes into the rate, and
    what it begins with into the relative B.
    """
    components = [
        _component_for_dials(model.model, c, range_deg, width) for c in model.components if c.kind != "image_scale"
    ]
    return _with_dose_at_zero(model, components)


def _component_for_dials(model: str, c: ComponentModel, range_deg: float, width: float) -> ComponentModel:
    if c.kind == "constant_scale" and model in ("physical", "dose_decay"):
        return _as_two_nodes(c, range_deg, width)
    if c.kind == "dose_decay":
        sigmas = None if c.sigmas is None else c.sigmas * c.dose_per_image
        return replace(c, parameters=c.parameters * c.dose_per_image, sigmas=sigmas)
    return c


def _as_two_nodes(c: ComponentModel, range_deg: float, width: float) -> ComponentModel:
    axis = Axis("image_z", 2, 0.999 * abs(width) / max(range_deg, 1e-6))
    sigmas = None if c.sigmas is None else np.repeat(c.sigmas, 2)
    return replace(
        c,
        kind="smooth_scale",
        parameters=np.repeat(c.parameters, 2),
        sigmas=sigmas,
        axes=(axis,),
        interval_deg=range_deg,
    )


def _with_dose_at_zero(model: DataSetModel, components: list[ComponentModel]) -> list[ComponentModel]:
    dose = model.component("decay") if model.model == "dose_decay" else None
    if dose is None or dose.dose_at_zero == 0.0 or dose.power != 2:
        return components
    shift = 2.0 * dose.parameters * dose.dose_at_zero
    if not any(c.name == "relative_B" for c in components):
        components.append(ComponentModel("relative_B", "constant_decay", np.zeros(1)))
    return [replace(c, parameters=c.parameters + shift) if c.name == "relative_B" else c for c in components]


def _component_configuration(c: ComponentModel) -> dict[str, Any]:
    if c.kind == "absorption":
        return {"lmax": c.lmax, "abs_surface_weight": c.weight("null")}
    if c.kind == "dose_decay":
        return {"resolution_dependence": "quadratic" if c.power == 2 else "linear"}
    if c.kind == "grid":
        entries: dict[str, Any] = {}
        detector = [axis for axis in c.axes if axis.coordinate != "image_z"]
        for axis, (_, n_key, begin_key, width_key) in zip(detector, _GRID_KEYS[c.name], strict=True):
            entries |= {n_key: axis.n_nodes, begin_key: axis.begin, width_key: 1.0 / axis.factor}
        for axis in c.axes:
            if axis.coordinate == "image_z":
                entries |= {
                    "n_time_param": axis.n_nodes,
                    "time_norm_fac": axis.factor,
                    "time_rot_interval": c.interval_deg,
                }
        return entries
    if c.axes:
        factor_key, interval_key = _NORM_KEYS[c.name]
        return {factor_key: c.axes[0].factor, interval_key: c.interval_deg}
    return {}


def _own_part(model: DataSetModel, document: dict[str, Any]) -> dict[str, Any]:
    """What DIALS has no place for; the digest of its own parameters tells whether it is still true."""
    own: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "axes": {c.name: [[a.factor, a.origin, a.spacing] for a in c.axes] for c in model.components if c.axes},
        "constant": [c.name for c in model.components if c.kind == "constant_scale" and model.model != "KB"],
        "restraints": {
            c.name: [[r.form, r.weight, r.lowest, r.highest] for r in c.restraints]
            for c in model.components
            if c.restraints
        },
        "digest": _digest(document),
    }
    if model.analytical:
        own["analytical_correction"] = True
    for c in model.components:
        if c.kind == "image_scale":
            own["image_scale"] = _entry(c) | {"first_image": c.first_image}
        if c.kind == "dose_decay":
            own["dose"] = {
                "rate": float(c.parameters[0]),
                "dose_per_image": c.dose_per_image,
                "dose_at_zero": c.dose_at_zero,
            }
            b = model.component("relative_B")
            own["dose"]["relative_B"] = None if b is None else float(b.parameters[0])
    return own


def _digest(document: dict[str, Any]) -> str:
    """Fingerprint of the parameters, by which our own keys are recognised as stale after another program's fit."""
    parameters = {k: v["parameters"] for k, v in sorted(document.items()) if isinstance(v, dict) and "parameters" in v}
    return hashlib.sha256(json.dumps(parameters).encode()).hexdigest()[:16]


def is_own_model(document: Any) -> bool:
    """Whether a stored model is one of pyscale that no other program has fitted since."""
    configuration = document.get("configuration_parameters") if isinstance(document, dict) else None
    own = configuration.get("pyscale") if isinstance(configuration, dict) else None
    return isinstance(own, dict) and own.get("digest") == _digest(document)


def has_common_scale_errors(document: Any) -> bool:
    """Whether variances on file can be told apart from the errors of scales that equivalents have in common."""
    return is_own_model(document) and document["configuration_parameters"]["pyscale"].get("scale_errors") != "linear"


def fitted_with_mates_apart(document: Any) -> bool:
    """Whether I(+) and I(-) were groups of their own in the fit of a stored model of pyscale (`is_own_model`)."""
    return bool(document["configuration_parameters"]["pyscale"].get("anomalous", False))


def model_from_dict(document: dict[str, Any], where: str) -> DataSetModel:
    """Read a stored model.

    Raises
    ------
    DataError
        If its type is not one that pyscale evaluates, or it lacks what evaluation needs.
    """
    kind = document.get("__id__")
    if not isinstance(kind, str) or kind not in _COMPONENTS:
        listed = ", ".join(_COMPONENTS)
        raise DataError(f"{where}: a scaling model of type {kind!r} cannot be evaluated; {listed} can")
    configuration = document.get("configuration_parameters") or {}
    if not isinstance(configuration, dict):
        raise DataError(f"{where}: configuration_parameters of the scaling model must be an object")
    own = configuration.get("pyscale") or {}
    if not isinstance(own, dict) or own.get("digest") != _digest(document):
        own = {}
    names = configuration.get("corrections") or [n for n in _COMPONENTS[kind] if n in document]
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise DataError(f"{where}: corrections of the scaling model must be a list of names")
    unknown = set(names) - set(_COMPONENTS[kind]) - {"analytical_correction"}
    if unknown:
        raise DataError(f"{where}: the component {sorted(unknown)[0]!r} of the scaling model is not known")
    shared = configuration.get("shared") or []
    if not isinstance(shared, list):
        raise DataError(f"{where}: shared components of the scaling model must be a list of names")
    components = [
        replace(_read_component(kind, name, document[name], configuration, own, where), shared=name in shared)
        for name in _COMPONENTS[kind]
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
    factor_key, interval_key = _NORM_KEYS[name]
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
        for coordinate, n, begin, width in _GRID_KEYS[name]
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
