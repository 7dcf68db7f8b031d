"""The HTML report: well formed, harmless, complete, and no number in it but the document's."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import importlib.util
import json
import math
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyscale
from pyscale.components import Axis, ComponentModel
from pyscale.model_choice import ModelChoice, TriedModel
from pyscale.model_document import component_entry
from pyscale.report import curves, numbers, render_report, tables, warned
from pyscale.report.model_figures import ModelView, model_figures
from pyscale.report.page import MAX_DETAILED

VOID = {"meta", "link", "br", "hr", "img", "input"}
Result = Any


class Page(HTMLParser):
    """Checks that every element is closed in order, and keeps tables, scripts and text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in VOID:
            return
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.scripts[-1] += data
        elif "style" not in self.open:
            self.text += data
            if self.open and {"td", "th"} & set(self.open):
                self.tables[-1][-1][-1] += data

    def table(self, *columns: str) -> list[dict[str, str]]:
        """Rows of the first table that has these columns, cells by column."""
        for head, *rows in self.tables:
            if set(columns) <= set(head):
                assert all(len(row) == len(head) for row in rows)
                return [dict(zip(head, row, strict=True)) for row in rows]
        raise AssertionError(f"no table with columns {columns}")

    def pairs(self, first: str) -> dict[str, str]:
        return {row[0]: row[1] for table in self.tables if table[0][0] == first for row in table[1:]}

    @property
    def figures(self) -> dict[str, Any]:
        (name,) = [k for k, s in enumerate(s for s in self.tags if s[0] == "script") if s[1].get("id") == "figures"]
        return unpacked(self.scripts[name])


def unpacked(script: str) -> Any:
    """Figures as the page carries them: nothing in their text could end the script element."""
    return json.loads(gzip.decompress(base64.b64decode(script, validate=True)))


def scaled(folder: Path, options: dict[str, Any] | None = None, **simulation: Any) -> Result:
    small = {"d_min": 4.0, "oscillation_width": 1.0}
    paths = pyscale.simulate(**(small | simulation)).write(folder)
    return pyscale.scale(pyscale.read(*paths[:2]), **(options or {}))


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> Result:
    options = {"d_min": 4.2, "nproc": 2}
    return scaled(tmp_path_factory.mktemp("sweeps"), options, n_sweeps=2, sweep_width=90.0)


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return scaled(tmp_path_factory.mktemp("stills"), kind="stills", n_stills=30, d_min=3.0)


@pytest.fixture(scope="module")
def array(tmp_path_factory: pytest.TempPathFactory) -> Result:
    options = {"model": "array", "array.modulation_correction": True, "array.n_modulation_bins": 4}
    return scaled(tmp_path_factory.mktemp("array"), options, n_sweeps=1, sweep_width=120.0, d_min=4.5)


def shown(text: str) -> tuple[float, float]:
    """A number on the page, and how much rounding it may have suffered."""
    clean = text.partition(" (")[0].replace("\u202f", "").replace("−", "-").replace("*", "")
    mantissa, _, raised = clean.partition("×10")
    exponent = int(raised.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")) or 0)
    decimals = len(mantissa.partition(".")[2])
    return float(mantissa) * 10.0**exponent, 0.5000001 * 10.0 ** (exponent - decimals)


def assert_shows(text: str, value: float | None, factor: float = 1.0) -> None:
    if value is None:
        assert text == "–"
        return
    number, rounding = shown(text)
    assert number == pytest.approx(factor * value, abs=rounding, rel=1e-12), text


COLUMNS = {
    "d max (Å)": ("d_max", 1),
    "d min (Å)": ("d_min", 1),
    "Observations": ("n_obs", 1),
    "Unique": ("n_unique", 1),
    "Multiplicity": ("multiplicity", 1),
    "Completeness (%)": ("completeness", 100),
    "Mean I": ("mean_intensity", 1),
    "I/σ": ("i_over_sigma", 1),
    "Rmerge": ("r_merge", 1),
    "Rmeas": ("r_meas", 1),
    "Rpim": ("r_pim", 1),
    "CC½": ("cc_half", 1),
    "Ranom": ("r_anom", 1),
    "CCanom": ("cc_anom", 1),
    "χ²": ("chi_square", 1),
}
HEADLINE = {
    "Low resolution limit (Å)": ("d_max", 1),
    "High resolution limit (Å)": ("d_min", 1),
    "Observations": ("n_obs", 1),
    "Unique reflections": ("n_unique", 1),
    "Completeness (%)": ("completeness", 100),
    "Multiplicity": ("multiplicity", 1),
    "Mean I/σ": ("i_over_sigma", 1),
    "Rmerge": ("r_merge", 1),
    "Rmeas": ("r_meas", 1),
    "Rpim": ("r_pim", 1),
    "CC½": ("cc_half", 1),
    "Anomalous completeness (%)": ("anomalous_completeness", 100),
    "CCanom": ("cc_anom", 1),
    "Anomalous slope": ("anomalous_slope", 1),
}


def check_page(result: Result) -> Page:
    """What holds for the report of any job."""
    document, html = result.to_dict(), render_report(result)
    page = Page(html)
    check_statistics(page, document)
    check_fit(page, document)
    check_data_sets(page, document)
    check_ledger(page, document)
    check_figures(page, result)
    assert "plotly.js v" in plotly_of(page) and "nan" not in page.text.split()
    external = [a for _, attrs in page.tags for a in attrs if a in ("src", "srcset", "action")]
    assert external == []
    assert all(str(attrs["href"]).startswith("#") for _, attrs in page.tags if "href" in attrs)
    return page


def plotly_of(page: Page) -> str:
    (packed,) = [s for s, (_, attrs) in zip(page.scripts, scripts(page), strict=True) if attrs.get("id") == "plotly"]
    return gzip.decompress(base64.b64decode(packed)).decode()


def scripts(page: Page) -> list[tuple[str, dict[str, str | None]]]:
    return [tag for tag in page.tags if tag[0] == "script"]


def check_statistics(page: Page, document: dict[str, Any]) -> None:
    statistics = document["merging_statistics"]
    rows = page.table(*COLUMNS)
    entries = [statistics["overall"], *statistics["shells"]]
    for row, entry in zip(rows, entries, strict=True):
        for column, (key, factor) in COLUMNS.items():
            assert_shows(row[column], entry[key], factor)
        assert ("*" in row["CC½"]) == entry["cc_half_significant"]
    columns = {
        "Overall": statistics["overall"],
        "Low shell": statistics["shells"][0],
        "High shell": statistics["shells"][-1],
        "Overall, outliers put back": statistics["with_outliers"]["overall"],
    }
    headline = {row[""]: row for row in page.table("", *columns)}
    for label, (key, factor) in HEADLINE.items():
        for column, entry in columns.items():
            assert_shows(headline[label][column], entry[key], factor)
    apart = headline["Rmeas, I(+) and I(−) apart"]
    assert_shows(apart["Overall"], statistics["anomalous"]["overall"]["r_meas"])


def check_fit(page: Page, document: dict[str, Any]) -> None:
    fit, model = document["fit"], document["error_model"]
    shown_fit = page.pairs("Fit")
    assert shown_fit["Termination"] == f"{fit['termination']}: {fit['message']}"
    assert_shows(shown_fit["χ² per degree of freedom"], fit["chi_squared"])
    assert_shows(shown_fit["Cost Φ"], fit["cost"])
    assert_shows(shown_fit["Observations in the fit"], fit["n_observations"])
    assert_shows(shown_fit["Groups of equivalents"], fit["n_groups"])
    n, effective = shown_fit["Parameters"].removesuffix(" effective").split(", ")
    assert_shows(n, fit["n_parameters"])
    assert_shows(effective, fit["effective_parameters"])
    rejected = sum(sum(e["rejected"].values()) for e in document["ledger"].values())
    assert_shows(shown_fit["Outliers rejected"], rejected)
    for row, entry in zip(page.table("Round", "a", "b"), fit["rounds"], strict=True):
        assert_shows(row["Cost after"], entry["cost"])
        assert_shows(row["Outliers"], entry["n_outliers"])
        assert_shows(row["a"], entry["a"])
    imids = [entry["imid"] for entry in fit["tried_imids"]]
    tried = page.table("Intensities", "Rmeas") if imids else []
    for row, entry in zip(tried, fit["tried_imids"], strict=True):
        assert_shows(row["Rmeas"], entry["r_meas"])
        if entry["imid"] > 1:
            assert_shows(row["Intensities"].rpartition(" ")[2], entry["imid"])
    if imids:
        assert shown_fit["Intensities"] == tried[imids.index(fit["imid"])]["Intensities"]
    times = page.pairs("Stage")
    for name, seconds in fit["wall_seconds"].items():
        assert_shows(times[name].removesuffix(" s"), seconds)
    shown_model = page.pairs("Error model")
    if model["type"] is not None:
        for label, name in {"a": "a", "b": "b", "ISa = 1/(ab)": "isa"}.items():
            value, _, sigma = shown_model[label].partition(" ± ")
            assert_shows(value, model[name])
            assert_shows(sigma or "–", model[f"sigma_{name}"])


def check_data_sets(page: Page, document: dict[str, Any]) -> None:
    rows = page.table("Data set", "Images", "Mean scale")
    assert [row["Data set"] for row in rows] == [d["identifier"] for d in document["datasets"]]
    for row, entry in zip(rows, document["datasets"], strict=True):
        components = [c["parameters"] for c in entry["model"]["components"]]
        assert_shows(row["Read"], entry["n_reflections"])
        assert_shows(row["Merged"], document["ledger"][entry["identifier"]]["merged"])
        assert_shows(row["Parameters"], sum(map(len, components)))
        assert_shows(row["Mean scale"], float(np.mean(components[0])))
    detailed = [t for t in page.tables if t[0][0] == "Component"]
    assert len(detailed) == min(MAX_DETAILED, len(document["datasets"]))
    for table, entry in zip(detailed, document["datasets"], strict=False):
        rows = [dict(zip(table[0], row, strict=True)) for row in table[1:]]
        for row, component in zip(rows, entry["model"]["components"], strict=True):
            check_component(row, component)
    reasons = {row[2] for t in page.tables if t[0][:3] == ["Choice", "Value", "Reason"] for row in t[1:]}
    assert reasons == {c["reason"] for choices in document["decisions"].values() for c in choices.values()}


def check_component(row: dict[str, str], component: dict[str, Any]) -> None:
    assert row["Component"] == component["name"]
    assert_shows(row["Parameters"], component["n_parameters"])
    assert_shows(row.get("Interval of nodes", "–").removesuffix("°"), component["interval_deg"])
    assert_shows(row.get("Restraint to null", "–"), component["restraint"] or None)
    if any(component["smoothness"]):
        for text, weight in zip(row["Restraint of neighbours"].split(", "), component["smoothness"], strict=True):
            assert_shows(text, weight)
    marks = row.get("Marks", "")
    assert ("shared" in marks, "held" in marks) == (component["shared"], component["held"])
    if component["n_parameters"] == 1:
        value, sigma = row["Value"].split(" ± ")
        assert_shows(value, component["parameters"][0])
        assert_shows(sigma, component["sigmas"][0])


def check_ledger(page: Page, document: dict[str, Any]) -> None:
    total, *rows = page.table("Data set", "Read", "Of these in the fit")
    assert [row["Data set"] for row in rows] == list(document["ledger"])
    for row, entry in zip(rows, document["ledger"].values(), strict=True):
        numbers_shown = {label: shown(text)[0] for label, text in row.items() if label != "Data set"}
        gone = sum(n for label, n in numbers_shown.items() if ": " in label)
        assert numbers_shown["Merged"] == entry["merged"]
        assert numbers_shown["Of these in the fit"] == entry["used_in_fit"]
        assert numbers_shown["Read"] == numbers_shown["Joined with another partial"] + gone + entry["merged"]
    assert shown(total["Read"])[0] == sum(e["read"] for e in document["ledger"].values())


def kinds(result: Result, data_set: int) -> list[str]:
    return [c.kind for c in result.models[data_set].components]


def check_figures(page: Page, result: Result) -> None:
    document, figures = result.to_dict(), page.figures
    places = [attrs["data-figure"] for _, attrs in page.tags if "data-figure" in attrs]
    assert sorted(places) == sorted(figures)
    shells = document["merging_statistics"]["shells"]
    for name, keys in (
        ("cc-half", ("cc_half", "cc_half_sigma_tau", "cc_anom")),
        ("r-values", ("r_meas", "r_merge", "r_pim")),
        ("i-over-sigma", ("i_over_sigma",)),
        ("completeness", ("completeness", "multiplicity")),
    ):
        known = [[s[key] if s.get(f"{key}_low", 0.0) is not None else None for s in shells] for key in keys]
        assert [t["y"] for t in figures[name]["data"]] == known
    for k, entry in enumerate(document["datasets"][:MAX_DETAILED]):
        traces = {t["name"]: t for t in figures.get(f"model-{k}", {"data": ()})["data"]}
        for component, kind in zip(entry["model"]["components"], kinds(result, k), strict=True):
            if kind in ("smooth_scale", "smooth_decay"):
                nodes = traces[f"{component['name']} nodes"]
                assert nodes["y"] == component["parameters"] and len(nodes["x"]) == component["n_parameters"]
                assert nodes["error_y"]["array"] == component["sigmas"]
            assert (kind == "grid") <= (f"{component['name']}-{k}" in figures)
            assert (kind == "dose_decay") <= (f"dose-{k}" in figures)
            drawn_before = component["shared"] and k > 0
            assert (kind == "absorption" and not drawn_before) <= (f"absorption-{k}" in figures)
    assert ("summary" in figures) == (len(document["datasets"]) > 1)


def test_sweeps(sweeps: Result) -> None:
    page = check_page(sweeps)
    assert {"model-0", "model-1", "absorption-0", "absorption-1", "error-model"} <= set(page.figures)
    assert "cut_data.d_min=4.2" in page.text and "Warnings" in page.text
    for trace in ("uncorrected_variance", "corrected_variance"):
        bins = sorted(sweeps.to_dict()["error_model"]["bins"], key=lambda b: b["intensity_min"])
        drawn = [t["y"] for t in page.figures["error-model"]["data"]]
        assert any(np.allclose(y, [b[trace] for b in bins], rtol=1e-4) for y in drawn)


def test_real_data(data_root: Path) -> None:
    files = [data_root / "quartz_ed" / f"integrated.{kind}" for kind in ("expt", "refl")]
    found = [f for f in files if f.is_file()] or sorted((data_root / "l_cysteine").glob("20_integrated.*"))
    check_page(pyscale.scale(pyscale.read(*found)))


def test_constant_model(tmp_path: Path) -> None:
    page = check_page(scaled(tmp_path, {"model": "KB"}, n_sweeps=1, sweep_width=60.0))
    assert not any(name.startswith(("absorption", "summary")) for name in page.figures)
    scale, decay = page.figures["model-0"]["data"]
    assert scale["y"][0] == scale["y"][1] and decay["name"] == "decay"


def value_at(component: ComponentModel, **coordinates: float) -> float:
    """A grid evaluated as published: Gaussian weights of the nearest three nodes (all of two or three) of each axis."""
    weight = np.ones(())
    for along in component.axes:
        place = coordinates[along.coordinate] * along.factor - along.origin
        shift = 0.5 if along.n_nodes > 3 else 0.0
        distance = place / along.spacing - (np.arange(along.n_nodes) - shift)
        width = min(0.65 if a.n_nodes == 2 else 0.70 for a in component.axes)
        own = np.exp(-((distance / width) ** 2))
        if along.n_nodes > 3:
            own[np.argsort(np.abs(distance))[3:]] = 0.0
        weight = np.multiply.outer(own, weight)
    return float(np.sum(weight.ravel() * component.parameters) / weight.sum())


def test_array_model(array: Result) -> None:
    page = check_page(array)
    decay, absorption, modulation = array.models[0].components
    (heat,) = (t for t in page.figures["decay-0"]["data"] if t["type"] == "heatmap")
    for row, column in ((2, 3), (17, 30), (45, 44)):
        expected = value_at(decay, image_z=heat["x"][column] - 0.5, inv_d2=heat["y"][row])
        assert heat["z"][row][column] == pytest.approx(expected, rel=6e-4)
    panels = [t for t in page.figures["absorption-0"]["data"] if t["type"] == "heatmap"]
    for panel, z in zip(panels, (15.0, 45.0, 75.0, 105.0), strict=True):
        expected = value_at(absorption, image_z=z, x_px=panel["x"][5], y_px=panel["y"][20])
        assert panel["z"][20][5] == pytest.approx(expected, rel=6e-4)
    (heat,) = (t for t in page.figures["modulation-0"]["data"] if t["type"] == "heatmap")
    expected = value_at(modulation, x_px=heat["x"][3], y_px=heat["y"][40])
    assert heat["z"][40][3] == pytest.approx(expected, rel=6e-4)
    x = array.observations.x_px
    assert heat["x"][0] == pytest.approx(x.min(), abs=0.05) and heat["x"][-1] == pytest.approx(x.max(), abs=0.05)
    assert [row["Interval of nodes"] for row in page.table("Component")] == ["20°", "20°", "–"]
    ticks = page.figures["decay-0"]["layout"]["yaxis"]
    assert float(ticks["ticktext"][-1]) == pytest.approx(ticks["tickvals"][-1] ** -0.5, abs=0.01)


def test_nodes_without_data_are_marked(tmp_path: Path) -> None:
    """A hole of 30 degrees in the sweep: its nodes are open points, and crosses in the maps."""
    options = {"physical.scale_interval": 5.0, "physical.decay_interval": 20.0, "exclude_images": "0:41:70"}
    result = scaled(tmp_path, options, n_sweeps=1, sweep_width=120.0)
    page = check_page(result)
    weak = result.fit.without_data["scale of data set 0"]
    assert 2 <= len(weak) <= 6
    nodes = next(t for t in page.figures["model-0"]["data"] if t["name"] == "scale nodes")
    assert [k for k, s in enumerate(nodes["marker"]["symbol"]) if s == "circle-open"] == weak
    assert all(40 < nodes["x"][k] < 71 for k in weak)
    row = page.table("Component", "Without data")[0]
    assert row["Without data"] == str(len(weak))
    said = page.pairs("Fit")["Parameters that follow their neighbours for want of data"]
    assert f"{len(weak)} of scale of data set 0" in said
    bands = page.figures["model-0"]["layout"]["shapes"]
    assert [(b["x0"], b["x1"]) for b in bands] == [(40.5, 70.5)]


def test_crosses_on_maps(array: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    decay = array.models[0].components[0]
    n_resolution, n_time = decay.shape
    weak = {"decay of data set 0": [0, 1, n_resolution * (n_time - 1)]}
    monkeypatch.setattr(array.fit, "without_data", weak)
    crosses = Page(render_report(array)).figures["decay-0"]["data"][1]
    resolution, time = (along.node_coordinates() for along in decay.axes)
    np.testing.assert_allclose(crosses["x"], np.array([time[0], time[0], time[-1]]) + 0.5, rtol=5e-5)
    np.testing.assert_allclose(crosses["y"], resolution[[0, 1, 0]], rtol=5e-5)


@pytest.mark.parametrize("law", ["quadratic", "linear"])
def test_dose_decay(tmp_path: Path, law: str) -> None:
    dose = {"dose_per_image": (0.5,), "dose_at_start": (0.0, 10.0), "resolution_dependence": law}
    options = {"model": "dose_decay", "dose_decay": dose | {"scale_interval": 20.0}, "exclude_images": "1:1:6"}
    result = scaled(tmp_path, options, n_sweeps=2, sweep_width=60.0, dose_decay=0.3)
    page = check_page(result)
    rate = result.models[0].component("decay").parameters[0]
    power = 2 if law == "quadratic" else 1
    for k, start in enumerate((0.0, 10.0)):
        figure = page.figures[f"dose-{k}"]
        assert figure["layout"]["xaxis"]["title"]["text"] == "dose" and "shared" in str(figure["layout"]["yaxis"])
        x = np.array(figure["data"][0]["x"])
        assert x[-1] == pytest.approx(start + 0.5 * (60 if k == 0 else 54))
        for trace in figure["data"]:
            d = float(trace["name"].split()[2])
            np.testing.assert_allclose(np.log(trace["y"]), rate * x / d**power, atol=3e-3 * abs(rate * x).max())
    (band,) = page.figures["dose-1"]["layout"]["shapes"]
    assert band["x1"] - band["x0"] == pytest.approx(3.0)


def test_image_scale_and_shared_absorption(tmp_path: Path) -> None:
    options = {"physical": {"image_scale": True, "absorption_correction": True, "share": {"absorption": True}}}
    options["exclude_images"] = "0:1:5,1:20:24"
    result = scaled(tmp_path, options, n_sweeps=2, sweep_width=60.0, jitter=0.1)
    page = check_page(result)
    for k, model in enumerate(result.models):
        images = model.component("image_scale")
        trace = next(t for t in page.figures[f"model-{k}"]["data"] if t["name"] == "image_scale")
        np.testing.assert_allclose(trace["y"], np.exp(images.parameters), rtol=1e-4)
        np.testing.assert_allclose(trace["error_y"]["array"], np.exp(images.parameters) * images.sigmas, rtol=1e-2)
        assert (trace["x0"], trace["dx"]) == ((6.0, 1), (1.0, 1))[k]
    bands = [page.figures[f"model-{k}"]["layout"]["shapes"] for k in range(2)]
    assert [[(b["x0"], b["x1"]) for b in band] for band in bands] == [[(0.5, 5.5)], [(19.5, 24.5)]]
    assert "absorption-0" in page.figures and "absorption-1" not in page.figures
    assert "(shared)" in page.figures["absorption-0"]["layout"]["title"]["text"]
    assert page.text.count("shared absorption surface is shown with data set") == 1
    assert [s["data_sets"] for s in result.to_dict()["analyses"]["beams"]["surfaces"]] == [[0, 1]]


def test_held_components_are_marked(sweeps: Result) -> None:
    model = sweeps.models[0]
    held = [dataclasses.replace(c, held=c.name == "decay") for c in model.components]
    result = dataclasses.replace(sweeps, models=[model.with_components(held), *sweeps.models[1:]])
    page = Page(render_report(result))
    assert [row["Marks"] for row in page.table("Component", "Marks")][1] == "held"
    assert "decay (held)" in [t["name"] for t in page.figures["model-0"]["data"]]


def test_models_that_were_compared(sweeps: Result) -> None:
    tried = [
        TriedModel(name=n, n_parameters=9, log_likelihood=-0.6, difference=d, standard_error=0.002, chosen=d > 0)
        for n, d in (("rules", 0.0), ("no absorption", 0.0123))
    ]
    choice = ModelChoice(sweeps.plans, tried, "held-out groups speak for it", 5, 1000)
    page = Page(render_report(dataclasses.replace(sweeps, model_choice=choice)))
    rows = page.table("Model", "Excess over the rules' model")
    assert [row["Model"] for row in rows] == ["rules", "no absorption (chosen)"]
    assert rows[1]["Excess over the rules' model"] == "0.0123 ± 0.002"
    assert "held-out groups speak for it" in page.text


def test_wide_jobs_stay_small(array: Result) -> None:
    """A page of as many array models as have maps of their own, below 6 MB with plotly.js."""
    html = render_report(array)
    maps = json.dumps({k: v for k, v in Page(html).figures.items() if k.endswith("-0")}, separators=(",", ":"))
    assert len(html) + (MAX_DETAILED - 1) * len(maps) < 6_000_000
    images = ComponentModel("image_scale", "image_scale", np.full(40_000, 0.1), sigmas=np.full(40_000, 0.01))
    model = {"type": "physical", "components": [component_entry(images)]}
    document = array.to_dict()
    document["datasets"] = [document["datasets"][0] | {"images": [1, 40_000], "model": model}]
    figures = model_figures(ModelView(document, 0))
    (trace,) = figures["model"]["data"]
    assert len(trace["y"]) <= 1500 and trace["dx"] * len(trace["y"]) >= 40_000


def test_stills(stills: Result) -> None:
    page = check_page(stills)
    assert f"first {MAX_DETAILED} of 30 data sets only" in " ".join(page.text.split())
    summary = page.figures["summary"]["data"]
    datasets = stills.to_dict()["datasets"]
    assert summary[0]["y"] == [d["model"]["components"][0]["parameters"][0] for d in datasets]
    assert summary[0]["error_y"]["array"] == [d["model"]["components"][0]["sigmas"][0] for d in datasets]
    total = sum(int(shown(row["Data sets"])[0]) for row in page.table("Choice", "Data sets"))
    assert total == sum(len(choices) for choices in stills.to_dict()["decisions"].values())


def test_one_shell(tmp_path: Path) -> None:
    options = {"output": {"merging": {"nbins": 1}}, "weighting": {"error_model": {"error_model": None}}}
    page = check_page(scaled(tmp_path, options, n_sweeps=1, sweep_width=60.0))
    assert len(page.figures["cc-half"]["data"][0]["x"]) == 1
    assert page.pairs("Error model") == {"Type": "none: σ as integrated"}


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    simulated = pyscale.simulate(d_min=5.0, oscillation_width=1.0, n_sweeps=2, sweep_width=40.0)
    evil = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>{{ 7*7 }}']
    paths = simulated.write(tmp_path)
    job = pyscale.read(*paths[:2])
    for k, name in enumerate(evil):
        job.experiments.set_identifier(k, name)
        job.data_sets[k] = dataclasses.replace(job.data_sets[k], identifier=name)
    job.sources[:] = ["</style></script><script>alert(2)</script>.expt"]
    result = pyscale.scale(job)
    assert result.to_dict()["datasets"][0]["identifier"] == evil[0]
    n_scripts = len(Page(render_report(result)).scripts)
    page = check_page(result)
    assert n_scripts == 3
    assert not {"img"} & {tag for tag, _ in page.tags}
    assert not [a for _, attrs in page.tags for a in attrs if a.startswith("on")]
    assert job.sources[0] in page.text and all(name in page.text for name in evil)
    assert page.figures["summary"]["data"][0]["text"][0] == "&lt;script&gt;alert(1)&lt;/script&gt;"


def test_warnings_come_first(sweeps: Result) -> None:
    document = sweeps.to_dict()
    assert warned.warnings(document | {"identifier_changes": []}) == []
    first, second = document["datasets"]
    names = list(document["ledger"])
    bad = document | {
        "fit": document["fit"]
        | {"termination": "max_iterations", "message": "out of steps", "undetermined": ["B of 1"], "chi_squared": 9.0},
        "error_model": document["error_model"] | {"converged": False, "reason": "no scatter"},
        "datasets": [first, second | {"component": 1}],
        "ledger": document["ledger"] | {names[1]: document["ledger"][names[1]] | {"used_in_fit": 0}},
        "identifier_changes": [["", "7"]],
    }
    found = warned.warnings(bad)
    words = ("has not converged (max_iterations", "B of 1", "2 parts", names[1], "no scatter", "χ²", "7")
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))


def test_warnings_are_on_the_page(sweeps: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps.fit, "termination", "max_iterations")
    html = render_report(sweeps)
    assert Page(html).text.index("has not converged") < Page(html).text.index("Results", 400)


def test_without_plotly(sweeps: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    html = render_report(sweeps)
    assert "plotly is not installed" in Page(html).text and len(html) < 500_000


def test_many_data_sets_stay_small(stills: Result) -> None:
    document = stills.to_dict()
    entry = document["datasets"][0]
    ledger = next(iter(document["ledger"].values()))
    many = {
        "datasets": [entry | {"identifier": f"still {k}"} for k in range(5000)],
        "ledger": {f"still {k}": ledger for k in range(5000)},
    }
    overview = tables.summary_table(document | many)
    assert len(overview.rows) == 200 and overview.note.startswith("4800 more")
    shortened = tables.ledger_table(many["ledger"])
    assert len(shortened.rows) == 201 and "4800 more" in shortened.note
    assert shown(shortened.rows[0][1])[0] == 5000 * ledger["read"]


@pytest.mark.parametrize(("n_nodes", "spacing"), [(2, 10.0), (3, 4.0), (7, 1.0)])
def test_curve_is_the_smoother(n_nodes: int, spacing: float) -> None:
    """Constants stay, and nodes stand where their weight is largest."""
    axis = Axis("image_z", n_nodes, 0.1, origin=0.5, spacing=spacing)
    constant = ComponentModel("scale", "smooth_scale", np.full(n_nodes, 1.7), axes=(axis,))
    np.testing.assert_allclose(curves.smooth_curve(constant, (1, 100)).value, 1.7, rtol=1e-14)
    for k in range(n_nodes):
        bump = dataclasses.replace(constant, parameters=np.eye(n_nodes)[k])
        curve = curves.smooth_curve(bump, (-10, 110))
        peak = curve.z[curve.value > curve.value.max() * (1 - 1e-9)]
        inside = 0 < k < n_nodes - 1
        step = curve.z[1] - curve.z[0]
        assert (np.abs(peak - curve.node_z[k]).min() <= step) if inside else curve.value.max() > 0.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (numbers.fixed(None, 2), "–"),
        (numbers.fixed(math.nan, 2), "–"),
        (numbers.fixed(-0.256, 2), "−0.26"),
        (numbers.significant(math.inf), "–"),
        (numbers.significant(-1.5e-7), "−1.5×10⁻⁷"),
        (numbers.count(1234567), "1\u202f234\u202f567"),
        (numbers.count(None), "–"),
        (numbers.with_sigma(1.0, None), "1"),
    ],
)
def test_numbers(text: str, expected: str) -> None:
    assert text == expected


def test_templates_are_loaded_only_for_a_report() -> None:
    code = (
        "import sys, pyscale, pyscale.report, pyscale.exports; print('jinja2' in sys.modules, 'plotly' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(12.34, "12.3"), (-3e8, "−300000000"), (1.65e-4, "0.000165"), (6.7e15, "6.7×10¹⁵"), (0.0, "0.0"), (None, "–")],
)
def test_mean_intensities_of_any_unit(value: float | None, text: str) -> None:
    assert numbers.intensity(value) == text
