"""Scaling models to and from their JSON form in experiments: DIALS' own, with a part under a key of ours."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np

from .components import Axis, ComponentModel, CoordinateName
from .scaling_model import DataSetModel

__all__ = [
    "SCHEMA_VERSION",
    "fitted_with_mates_apart",
    "has_common_scale_errors",
    "is_own_model",
    "model_to_dict",
]

SCHEMA_VERSION = 1
_UNKNOWN_SIGMA = 1e6
NORM_KEYS = {"scale": ("s_norm_fac", "scale_rot_interval"), "decay": ("d_norm_fac", "decay_rot_interval")}
COMPONENTS = {
    "physical": ("scale", "decay", "absorption"),
    "KB": ("scale", "decay"),
    "dose_decay": ("scale", "decay", "relative_B", "absorption"),
    "array": ("decay", "absorption", "modulation"),
}
GRID_KEYS: dict[str, tuple[tuple[CoordinateName, str, str, str], ...]] = {
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
    corrections = [name for name in COMPONENTS[model.model] if name in document]
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
        for axis, (_, n_key, begin_key, width_key) in zip(detector, GRID_KEYS[c.name], strict=True):
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
        factor_key, interval_key = NORM_KEYS[c.name]
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
        "digest": digest(document),
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


def digest(document: dict[str, Any]) -> str:
    """Fingerprint of the parameters, by which our own keys are recognised as stale after another program's fit."""
    parameters = {k: v["parameters"] for k, v in sorted(document.items()) if isinstance(v, dict) and "parameters" in v}
    return hashlib.sha256(json.dumps(parameters).encode()).hexdigest()[:16]


def is_own_model(document: Any) -> bool:
    """Whether a stored model is one of pyscale that no other program has fitted since."""
    configuration = document.get("configuration_parameters") if isinstance(document, dict) else None
    own = configuration.get("pyscale") if isinstance(configuration, dict) else None
    return isinstance(own, dict) and own.get("digest") == digest(document)


def has_common_scale_errors(document: Any) -> bool:
    """Whether variances on file can be told apart from the errors of scales that equivalents have in common."""
    return is_own_model(document) and document["configuration_parameters"]["pyscale"].get("scale_errors") != "linear"


def fitted_with_mates_apart(document: Any) -> bool:
    """Whether I(+) and I(-) were groups of their own in the fit of a stored model of pyscale (`is_own_model`)."""
    return bool(document["configuration_parameters"]["pyscale"].get("anomalous", False))
