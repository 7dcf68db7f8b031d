"""The plots of one data set's model, from the public document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pyscale.components import ComponentModel, CoordinateName
from pyscale.model_document import component_of, curve_points
from pyscale.typing import FloatArray

from .curves import Section, dose_factor, grid_section, smooth_curve
from .model_tables import marks, without_data
from .palette import COLORS, DIVERGING, faint
from .plots import Figure, axis, colour_bar, excluded_bands, figure, image_range, line, rounded, row_domain
from .surface import surface_figure, visited_cells

__all__ = ["ModelView", "model_figures"]

_LABELS = {
    "smooth_scale": "scale",
    "constant_scale": "scale",
    "smooth_decay": "B (Å²)",
    "constant_decay": "B (Å²)",
    "image_scale": "image factor",
}
_COORDINATES = {"image_z": "image", "inv_d2": "resolution d (Å)", "x_px": "x (pixels)", "y_px": "y (pixels)"}
_MAX_IMAGES = 1500
_N_SECTIONS = 4
_N_POINTS, _N_POINTS_OF_SEVERAL = 48, 24
_DARK = "#222222"


@dataclass(frozen=True)
class ModelView:
    """What the plots of one data set show.

    Attributes
    ----------
    document : dict
        The public document.
    number : int
        Position of the data set.
    """

    document: dict[str, Any]
    number: int

    @property
    def entry(self) -> dict[str, Any]:
        """The data set in the document."""
        found: dict[str, Any] = self.document["datasets"][self.number]
        return found

    @cached_property
    def components(self) -> list[tuple[ComponentModel, dict[str, Any]]]:
        """Components of the model whose nodes have a place, and what the document says of them."""
        found = [(component_of(c), c) for c in self.entry["model"]["components"]]
        return [(component, entry) for component, entry in found if component.is_placed]

    @property
    def images(self) -> tuple[int, int] | None:
        """First and last image in use; None without a scan."""
        if self.entry["images"] is None:
            return None
        first, last = self.entry["images"]
        for begin, end in self.entry["excluded_images"]:
            first = end + 1 if begin <= first else first
        for begin, end in reversed(self.entry["excluded_images"]):
            last = begin - 1 if end >= last else last
        return first, last

    @property
    def surface(self) -> dict[str, Any] | None:
        """Directions of beams for the data set's absorption surface; None where the document does not tell them."""
        beams = self.document["analyses"].get("beams") or {"surfaces": ()}
        return next((s for s in beams["surfaces"] if self.number in s["data_sets"]), None)

    def weak(self, component: ComponentModel) -> list[int]:
        """Parameters of a component without data."""
        return without_data(self.document["fit"], component.name, component.shared, self.number)

    def excluded(self, scale: float = 1.0, offset: float = 0.0) -> list[dict[str, Any]]:
        """Grey bands over the images left out, at image * scale + offset."""
        return excluded_bands(self.entry["excluded_images"] or (), scale, offset)


def model_figures(view: ModelView) -> dict[str, Figure]:
    """Plots of all components, by name; a surface that data sets share is drawn for the first one only."""
    figures = {"model": _curves(view)} if view.images is not None else {}
    for component, _ in view.components:
        if component.kind == "absorption":
            surface = view.surface
            if not component.shared or surface is None or view.number == surface["data_sets"][0]:
                visited = None if surface is None else visited_cells(surface["visited"])
                figures["absorption"] = surface_figure(component, _name(component), visited)
        elif component.kind == "dose_decay" and view.images is not None:
            figures["dose"] = _dose(component, view, view.images)
        elif component.kind == "grid":
            figures[component.name] = _grid(component, view)
    return {name: figure for name, figure in figures.items() if figure}


def _name(component: ComponentModel) -> str:
    said = marks(component.shared, component.held)
    return component.name + (f" ({said})" if said else "")


def _title(component: ComponentModel) -> dict[str, Any]:
    return {"text": _name(component), "font": {"size": 13}, "y": 0.98}


def _curves(view: ModelView) -> Figure:
    """Scales and relative B along a scan, one above the other; empty without any."""
    assert view.images is not None
    rows = [(c, entry) for c, entry in view.components if c.kind in _LABELS]
    if not rows:
        return {}
    data: list[dict[str, Any]] = []
    x = axis("image", anchor="y" if len(rows) == 1 else f"y{len(rows)}", range=_span(view.images, rows))
    layout: dict[str, Any] = {"xaxis": x, "shapes": view.excluded()}
    for row, (component, entry) in enumerate(rows, 1):
        yaxis, color = "y" if row == 1 else f"y{row}", COLORS[(row - 1) % len(COLORS)]
        data += _row(component, entry, view, view.images, {"yaxis": yaxis, "legendgroup": yaxis}, color)
        domain = row_domain(row - 1, len(rows), 0.06)
        layout[f"yaxis{'' if row == 1 else row}"] = axis(_LABELS[component.kind], domain=domain)
    caption = (
        "Fitted parameters (points, with standard uncertainties) and the curve through them with its standard "
        "uncertainty (band); open points follow their neighbours for want of data, grey images are excluded."
    )
    return figure(data, caption, **layout)


def _span(images: tuple[int, int], rows: Sequence[tuple[ComponentModel, dict[str, Any]]]) -> list[float]:
    """Range of images with the nodes that lie beside it."""
    low, high = image_range(images)
    nodes = [z + 0.5 for c, _ in rows for along in c.axes for z in along.node_coordinates().tolist()]
    beside = 0.01 * (high - low)
    return [min([low, *(z - beside for z in nodes)]), max([high, *(z + beside for z in nodes)])]


def _row(
    component: ComponentModel,
    entry: dict[str, Any],
    view: ModelView,
    images: tuple[int, int],
    place: dict[str, Any],
    color: str,
) -> list[dict[str, Any]]:
    name = _name(component)
    if component.kind == "image_scale":
        return [_image_factors(name, component, color) | place]
    if not component.axes:
        value, sigma = entry["parameters"][0], entry["sigmas"][0] if entry["sigmas"] else None
        trace = line(name, images, [value, value], color, **place)
        return [trace | {"error_y": _bars([sigma, sigma], color)}]
    curve = smooth_curve(component, images)
    # Array coordinate z = n - 1/2 is the middle of image n.
    smooth = line(name, rounded(curve.z + 0.5), rounded(curve.value), color, mode="lines", **place)
    smooth["hovertemplate"] = "image %{x:.0f}: %{y:.4g}"
    nodes = line(f"{entry['name']} nodes", rounded(curve.node_z + 0.5), entry["parameters"], color, **place)
    weak = set(view.weak(component))
    symbols = ["circle-open" if k in weak else "circle" for k in range(component.n_parameters)]
    nodes |= {"mode": "markers", "marker": {"color": color, "symbol": symbols if weak else "circle"}}
    nodes["hovertemplate"] = "node at image %{x:.1f}: %{y:.4g}"
    if entry["sigmas"] is not None:
        nodes["error_y"] = _bars(entry["sigmas"], color)
    return [*_band(component, entry, images, color, place), smooth, nodes]


def _band(
    component: ComponentModel, entry: dict[str, Any], images: tuple[int, int], color: str, place: dict[str, Any]
) -> list[dict[str, Any]]:
    """Standard uncertainty of the curve, as an area around it; nothing where that is not known."""
    band = entry.get("band")
    if not band or None in band:
        return []
    z, sigma = curve_points(images, len(band)), np.array(band)
    curve = smooth_curve(component, images)
    middle = np.interp(z, curve.z, curve.value)
    around = np.concatenate([middle - sigma, (middle + sigma)[::-1]])
    area = line("", rounded(np.concatenate([z, z[::-1]]) + 0.5), rounded(around), color, mode="lines", **place)
    area |= {"line": {"width": 0}, "fill": "toself", "fillcolor": faint(color, 0.3), "hoverinfo": "skip"}
    return [area | {"showlegend": False}]


def _bars(sigmas: Sequence[float | None], color: str) -> dict[str, Any]:
    return {"type": "data", "array": list(sigmas), "color": color, "thickness": 1}


def _image_factors(name: str, component: ComponentModel, color: str) -> dict[str, Any]:
    """exp(q_k) of every image, or of evenly spaced ones if there are very many."""
    step = -(-component.n_parameters // _MAX_IMAGES)
    factor = np.exp(component.parameters[::step])
    trace = line(name + (f", one image in {step}" if step > 1 else ""), (), rounded(factor, 5), color, mode="markers")
    trace |= {"x0": component.first_image + 1.0, "dx": step}
    del trace["x"]
    trace["marker"] = {"color": color, "size": 4}
    if component.sigmas is not None:
        sigma = factor * component.sigmas[::step]
        bars = [s if ok else None for s, ok in zip(rounded(sigma, 3), np.isfinite(sigma).tolist(), strict=True)]
        trace["error_y"] = _bars(bars, color)
    return trace


def _dose(component: ComponentModel, view: ModelView, images: tuple[int, int]) -> Figure:
    """The factor of a decay with dose at a few resolutions."""
    d_min = view.document["merging_statistics"]["overall"]["d_min"]
    z = np.linspace(images[0] - 1.0, images[1], 61)
    rate, start = component.dose_per_image, component.dose_at_zero
    has_axis = (rate, start) != (1.0, 0.0)
    x = rate * z + start if has_axis else z + 0.5
    data = []
    for share, color in zip((1.0, 0.5, 0.25, 0.1), COLORS, strict=False):
        d = d_min / share**0.5
        data.append(line(f"d = {d:.2f} Å", rounded(x), rounded(dose_factor(component, d, z)), color, mode="lines"))
    shapes = view.excluded(rate, start - 0.5 * rate) if has_axis else view.excluded()
    caption = "How intensities fade with dose at four resolutions; 1 is no decay, and fine detail fades first."
    x_axis, y_axis = axis("dose" if has_axis else "image"), axis(f"factor of {_name(component)}")
    return figure(data, caption, xaxis=x_axis, yaxis=y_axis, shapes=shapes)


def _grid(component: ComponentModel, view: ModelView) -> Figure:
    names = [a.coordinate for a in component.axes]
    if names == ["inv_d2", "image_z"]:
        return _sections(component, view, "image_z", "inv_d2", [{}])
    if "image_z" in names and view.images is not None:
        z = np.linspace(view.images[0] - 1.0, view.images[1], 2 * _N_SECTIONS + 1)[1::2]
        return _sections(component, view, "x_px", "y_px", [{"image_z": float(value)} for value in z])
    return _sections(component, view, "x_px", "y_px", [{}])


def _sections(
    component: ComponentModel,
    view: ModelView,
    x: CoordinateName,
    y: CoordinateName,
    places: Sequence[Mapping[str, float]],
) -> Figure:
    """Sections of a grid side by side, on one scale of colours about the mean."""
    n = _N_POINTS if len(places) == 1 else _N_POINTS_OF_SEVERAL
    sections = [grid_section(component, x, y, fixed, n) for fixed in places]
    values = np.stack([s.value for s in sections])
    middle = float(values.mean())
    span = float(abs(values - middle).max()) or 1e-3
    colors = {"colorscale": DIVERGING, "cmin": middle - span, "cmax": middle + span}
    layout: dict[str, Any] = {"title": _title(component), "annotations": []}
    layout["coloraxis"] = colors | {"colorbar": colour_bar("factor of g")}
    data: list[dict[str, Any]] = []
    columns = 1 if len(places) == 1 else 2
    rows = -(-len(places) // columns)
    for k, (section, fixed) in enumerate(zip(sections, places, strict=True)):
        row, column = divmod(k, columns)
        suffix = "" if k == 0 else str(k + 1)
        data += _panel(component, view, section, (x, y), fixed, {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"})
        left, top = column / columns, 1 - row / rows - (0.05 if rows > 1 else 0)
        wide, high = 1 / columns - (0.1 if columns > 1 else 0), 1 / rows - (0.14 if rows > 1 else 0)
        across = _coordinate(x, section.x, titled=row == rows - 1)
        down = _coordinate(y, section.y, titled=column == 0)
        across["tickangle"] = 0
        layout[f"xaxis{suffix}"] = across | {"anchor": f"y{suffix}", "domain": [left, left + wide]}
        layout[f"yaxis{suffix}"] = down | {"anchor": f"x{suffix}", "domain": [max(top - high, 0.0), top]}
        if fixed:
            text = f"image {fixed['image_z'] + 0.5:.0f}"
            note = {"text": text, "showarrow": False, "xref": "paper", "yref": "paper", "yanchor": "bottom"}
            layout["annotations"].append(note | {"x": left + wide / 2, "xanchor": "center", "y": top})
    if x == "image_z":
        layout["shapes"] = [shape | {"layer": "above"} for shape in view.excluded()]
    caption = (
        f"Factor of g, {values.min():.3f} to {values.max():.3f}: red where intensities come out higher, blue where "
        "lower; crosses are nodes without data of their own."
    )
    return figure(data, caption, **layout)


def _panel(
    component: ComponentModel,
    view: ModelView,
    section: Section,
    names: tuple[str, str],
    fixed: Mapping[str, float],
    place: dict[str, str],
) -> list[dict[str, Any]]:
    """A heat map, and crosses on its nodes without data."""
    x, y = _shown(names[0], section.x), _shown(names[1], section.y)
    heat = {
        "type": "heatmap",
        "x": rounded(x),
        "y": rounded(y),
        "z": [rounded(row, 4) for row in section.value],
        "zsmooth": "best",
        "coloraxis": "coloraxis",
        "hovertemplate": f"{_COORDINATES[names[0]]} %{{x}}: %{{z:.4f}}<extra></extra>",
    } | place
    nodes = _nodes(component, view.weak(component), fixed)
    if not nodes[names[0]].size:
        return [heat]
    crosses = line(
        "no data", rounded(_shown(names[0], nodes[names[0]])), rounded(_shown(names[1], nodes[names[1]])), _DARK
    )
    crosses |= {"mode": "markers", "marker": {"symbol": "x-thin", "size": 6, "line": {"width": 1, "color": _DARK}}}
    return [heat, crosses | place | {"hoverinfo": "skip", "showlegend": False}]


def _nodes(component: ComponentModel, numbers: Sequence[int], fixed: Mapping[str, float]) -> dict[str, FloatArray]:
    """Coordinates of some nodes of a grid, of those only that are the nearest to the fixed ones."""
    indices = np.unravel_index(np.asarray(numbers, dtype=np.int64), component.shape, order="F")
    keep = np.ones(len(numbers), np.bool_)
    found: dict[str, FloatArray] = {}
    for along, index in zip(component.axes, indices, strict=True):
        nodes = along.node_coordinates()
        if along.coordinate in fixed:
            keep &= index == int(np.argmin(np.abs(nodes - fixed[along.coordinate])))
        found[along.coordinate] = nodes[index]
    return {name: values[keep] for name, values in found.items()}


def _shown(name: str, values: FloatArray) -> FloatArray:
    return values + 0.5 if name == "image_z" else values


def _coordinate(name: str, values: FloatArray, *, titled: bool) -> dict[str, Any]:
    """An axis over a range of a coordinate, labelled where titled; that of 1/d^2 says d, detector rows run down."""
    low, high = _shown(name, values)[[0, -1]].tolist()
    made = axis(_COORDINATES[name] if titled else "", nticks=4, range=[high, low] if name == "y_px" else [low, high])
    made["showticklabels"] = titled
    if name == "inv_d2":
        ticks = np.linspace(max(low, 0.05 * high), high, 6)
        made |= {"tickvals": rounded(ticks), "ticktext": [f"{v**-0.5:.2f}" for v in ticks.tolist()]}
    return made
