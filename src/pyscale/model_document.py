"""Fitted models as plain values of the public document, and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from .components import SMOOTH_FORMS, Axis, ComponentModel
from .local_covariance import LocalCovariance
from .parameter_numbers import parameter_numbers
from .plain_numbers import plain_list
from .typing import FloatArray, IndexArray

if TYPE_CHECKING:
    from .scaling_model import DataSetModel

__all__ = ["component_entry", "component_of", "curve_points", "curve_sigmas", "finite"]

N_BAND = 41
"""Points of a curve at which its standard uncertainty is given."""
_MOST_BANDS = 100
_SMOOTH = ("smooth_scale", "smooth_decay")


def finite(values: Sequence[float]) -> list[float | None]:
    """Numbers as JSON can say them: None for those that are not finite."""
    return [value if math.isfinite(value) else None for value in map(float, values)]


def component_entry(c: ComponentModel) -> dict[str, Any]:
    """What the document says of a component; `component_of` is its inverse."""
    smoothness = [c.weight(form) for form in SMOOTH_FORMS[: len(c.shape)]]
    entry: dict[str, Any] = {
        "name": c.name,
        "kind": c.kind,
        "n_parameters": c.n_parameters,
        "interval_deg": None if c.interval_deg is None else finite([c.interval_deg])[0],
        "restraint": finite([c.weight("null")])[0],
        "smoothness": finite(smoothness),
        "shared": c.shared,
        "held": c.held,
        "parameters": finite(c.parameters.tolist()),
        "sigmas": None if c.sigmas is None else finite(c.sigmas.tolist()),
        "axes": [_axis_entry(axis) for axis in c.axes],
    }
    if c.kind == "image_scale":
        entry["first_image"] = c.first_image
    elif c.kind == "dose_decay":
        entry |= {"power": c.power, "dose_per_image": c.dose_per_image, "dose_at_zero": c.dose_at_zero}
    return entry


def _axis_entry(axis: Axis) -> dict[str, Any]:
    values = asdict(axis)
    del values["begin"]
    values["origin"], values["spacing"] = finite([axis.origin, axis.spacing])
    return values


def component_of(entry: dict[str, Any]) -> ComponentModel:
    """The component that an entry of the document tells of, without restraints."""

    def numbers(values: Sequence[float | None], unknown: float) -> FloatArray:
        return np.array([unknown if v is None else v for v in values], np.float64)

    names = ("first_image", "power", "dose_per_image", "dose_at_zero")
    return ComponentModel(
        entry["name"],
        entry["kind"],
        numbers(entry["parameters"], math.nan),
        None if entry["sigmas"] is None else numbers(entry["sigmas"], math.inf),
        axes=tuple(map(_axis_of, entry["axes"])),
        interval_deg=entry["interval_deg"],
        held=entry["held"],
        shared=entry["shared"],
        **{name: entry[name] for name in names if name in entry},
    )


def _axis_of(entry: dict[str, Any]) -> Axis:
    origin, spacing = (math.nan if entry[name] is None else entry[name] for name in ("origin", "spacing"))
    return Axis(entry["coordinate"], entry["n_nodes"], entry["factor"], origin=origin, spacing=spacing)


def curve_points(images: Sequence[int], n: int = N_BAND) -> FloatArray:
    """Evenly spaced coordinates z from the begin of the first image to the end of the last, (n,) float64."""
    return np.linspace(images[0] - 1.0, images[1], n)


def curve_sigmas(
    models: Sequence[DataSetModel], covariance: LocalCovariance | None, images: Callable[[int], Sequence[int] | None]
) -> dict[tuple[int, int], list[float | None]]:
    """Standard uncertainties of smoothed curves at `curve_points`, by numbers of data set and component.

    Parameters
    ----------
    models : sequence of DataSetModel
        Those of the fit, in its order.
    covariance : LocalCovariance or None
        Of their parameters; without it, and for more than 100 data sets, nothing is returned.
    images : callable
        First and last image of the data set of a number, None without a scan.
    """
    if covariance is None or len(models) > _MOST_BANDS:
        return {}
    found = {}
    for k, placed in enumerate(parameter_numbers(models, covariance.layout)):
        span = images(k)
        for number, (c, numbers) in enumerate(placed):
            if c.kind in _SMOOTH and c.is_placed and span is not None and c.sigmas is not None:
                variance = _variances(c, covariance, numbers, curve_points(span))
                known = bool(np.isfinite(c.sigmas).all())
                sigma = np.sqrt(np.maximum(variance, 0.0)) if known else np.full(N_BAND, np.nan)
                found[k, number] = list(plain_list(sigma, 4))
    return found


def _variances(c: ComponentModel, covariance: LocalCovariance, numbers: IndexArray, z: FloatArray) -> FloatArray:
    """w^T C w of the weights w that make the curve of the parameters at each z, (n,) float64."""
    weight = smoother_weights(c.axes[0], z)
    block = covariance.entries(numbers[:, None], numbers)
    variance: FloatArray = np.einsum("ni,ij,nj->n", weight, block, weight)
    return variance


def smoother_weights(axis: Axis, z: FloatArray) -> FloatArray:
    """Weight of each node in the smoothed value at each z, (n, n_nodes) float64."""
    model = _core.JobModel()
    nothing, beams = np.zeros(z.size), np.zeros((z.size, 3))
    model.add(model.add_data_set(), _core.Component.smooth_scale(axis.core()))
    places = _core.Observations(np.zeros(z.size, np.int32), z, nothing, beams, beams, nothing, nothing)
    nodes = np.eye(axis.n_nodes)
    return np.stack([_core.inverse_scale_factors(model, places, node) for node in nodes], axis=1)
