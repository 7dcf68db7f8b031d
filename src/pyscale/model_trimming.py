"""Stored models limited to the images that are still in use: corrections along the rotation lose their outer nodes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from . import _core
from .components import Axis, ComponentModel
from .image_ranges import ImageRange
from .scaling_model import DataSetModel

__all__ = ["trimmed"]

_SMOOTHER_FACTOR = 0.999
_LEAST_NODES = 4
"""Fewer are smoothed in another way."""


def trimmed(model: DataSetModel, old: ImageRange, new: ImageRange, image_width_deg: float) -> DataSetModel:
    """Limit a model to a part of its images.

    Nodes whose place is known stay where they are, and those that no centroid on the new images touches are dropped: g
    of the other centroids is unchanged. Where the place follows from the data, as in models of DIALS, the number of
    nodes for the new range is found with the stored interval, as many of the old ones are kept from where the new
    range begins, and their place is left open (DIALS' own rule). Components that lose nodes lose their uncertainties.

    Parameters
    ----------
    model : DataSetModel
    old, new : (int, int)
        First and last image that the model covers, and of the part.
    image_width_deg : float
        Rotation per image, degrees.
    """
    return model.with_components([_trimmed(c, old, new, abs(image_width_deg)) for c in model.components])


def _trimmed(c: ComponentModel, old: ImageRange, new: ImageRange, width: float) -> ComponentModel:
    if c.kind == "image_scale":
        return _trimmed_images(c, new)
    along = [k for k, axis in enumerate(c.axes) if axis.coordinate == "image_z"]
    if not along:
        return c
    axis, interval = c.axes[along[0]], c.interval_deg
    if axis.is_placed:
        kept = touched_nodes(axis, float(new[0] - 1), float(new[1]))
        axis = _part_of_placed(axis, kept)
    else:
        kept, axis, interval = _part_by_interval(c, axis, old, new, width)
    return _with_axis(c, along[0], axis, kept, interval)


def touched_nodes(axis: Axis, first_z: float, last_z: float) -> range:
    """Nodes that centroids between two array coordinates touch, at least as many as leave the smoothing what it is."""
    n = axis.n_nodes
    if n <= _LEAST_NODES:
        return range(n)
    zeta = (np.array([first_z, last_z]) * axis.factor - axis.origin) / axis.spacing - 1.5
    first, last = (np.copysign(np.floor(np.abs(zeta) + 0.5), zeta) + 1).clip(-n, 2 * n).astype(int).tolist()
    end = max(min(last + 3, n), _LEAST_NODES)
    return range(max(min(first, end - _LEAST_NODES), 0), end)


def _part_of_placed(axis: Axis, kept: range) -> Axis:
    return replace(axis, n_nodes=len(kept), origin=axis.origin + kept.start * axis.spacing)


def _part_by_interval(
    c: ComponentModel, axis: Axis, old: ImageRange, new: ImageRange, width: float
) -> tuple[range, Axis, float | None]:
    interval = c.interval_deg or width * (old[1] - old[0] + 1)
    n_nodes, actual = _core.node_count(width * (new[1] - new[0] + 1), interval)
    n_nodes = min(n_nodes, axis.n_nodes)
    factor = _SMOOTHER_FACTOR * width / actual
    offset = 0 if axis.n_nodes == 2 else min(axis.n_nodes - n_nodes, math.ceil((new[0] - old[0]) * factor - 0.5))
    kept = range(max(offset, 0), max(offset, 0) + n_nodes)
    return kept, replace(axis, n_nodes=n_nodes, factor=factor), actual


def _with_axis(c: ComponentModel, k: int, axis: Axis, kept: range, interval: float | None) -> ComponentModel:
    if axis == c.axes[k]:
        return c
    grid = np.moveaxis(c.parameters.reshape(c.shape[::-1]), len(c.shape) - 1 - k, 0)
    chosen = np.moveaxis(grid[kept.start : kept.stop], 0, len(c.shape) - 1 - k)
    axes = tuple(axis if i == k else a for i, a in enumerate(c.axes))
    return replace(c, parameters=np.ascontiguousarray(chosen).ravel(), sigmas=None, axes=axes, interval_deg=interval)


def _trimmed_images(c: ComponentModel, new: ImageRange) -> ComponentModel:
    first = max(new[0] - 1 - round(c.first_image), 0)
    last = min(new[1] - round(c.first_image), c.n_parameters)
    if first >= last or (first, last) == (0, c.n_parameters):
        return c
    return replace(c, parameters=c.parameters[first:last].copy(), sigmas=None, first_image=c.first_image + first)
