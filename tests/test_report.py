"""The HTML report: well formed, harmless, complete, and no number in it but the document's."""

from __future__ import annotations

import dataclasses
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
from pyscale.report import curves, numbers, render_report, tables
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
        assert "<" not in self.scripts[name], "could end the script element"
        found: dict[str, Any] = json.loads(self.scripts[name])
        return found


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


def shown(text: str) -> tuple[float, float]:
    """A number on the page, and how much rounding it may have suffered."""
    clean = text.replace("\u202f", "").replace("−", "-").replace("*", "")
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
    assert html.count("plotly.js v") >= 1 and "nan" not in page.text.split()
    external = [a for _, attrs in page.tags for a in attrs if a in ("src", "srcset", "action")]
    assert external == []
    assert all(str(attrs["href"]).startswith("#") for _, attrs in page.tags if "href" in attrs)
    return page


def check_statistics(page: Page, document: dict[str, Any]) -> None:
    statistics = document["merging_statistics"]
    rows = page.table(*COLUMNS)
    entries = [statistics["overall"], *statistics["shells"]]
    for row, entry in zip(rows, entries, strict=True):
        for column, (key, factor) in COLUMNS.items():
            assert_shows(row[column], entry[key], factor)
        assert row["CC½"].endswith("*") == entry["cc_half_significant"]
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
        for name in "ab":
            value, sigma = shown_model[name].split(" ± ")
            assert_shows(value, model[name])
            assert_shows(sigma, model[f"sigma_{name}"])
        assert_shows(shown_model["ISa = 1/(ab)"], model["isa"])


def check_data_sets(page: Page, document: dict[str, Any]) -> None:
    rows = page.table("Data set", "Images", "Mean scale")
    assert [row["Data set"] for row in rows] == [d["identifier"] for d in document["datasets"]]
    for row, entry in zip(rows, document["datasets"], strict=True):
        components = {c["name"]: c["parameters"] for c in entry["model"]["components"]}
        assert_shows(row["Read"], entry["n_reflections"])
        assert_shows(row["Merged"], document["ledger"][entry["identifier"]]["merged"])
        assert_shows(row["Parameters"], sum(map(len, components.values())))
        assert_shows(row["Mean scale"], float(np.mean(components["scale"])))
    detailed = [t for t in page.tables if t[0][0] == "Component"]
    assert len(detailed) == min(MAX_DETAILED, len(document["datasets"]))
    for table, entry in zip(detailed, document["datasets"], strict=False):
        for row, component in zip(table[1:], entry["model"]["components"], strict=True):
            assert row[0] == component["name"]
            assert_shows(row[1], component["n_parameters"])
            assert_shows(row[2].removesuffix("°"), component["interval_deg"])
            if component["n_parameters"] == 1:
                value, sigma = row[4].split(" ± ")
                assert_shows(value, component["parameters"][0])
                assert_shows(sigma, component["sigmas"][0])
    reasons = {row[2] for t in page.tables if t[0][:3] == ["Choice", "Value", "Reason"] for row in t[1:]}
    assert reasons == {c["reason"] for choices in document["decisions"].values() for c in choices.values()}


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


def check_figures(page: Page, result: Result) -> None:
    document, figures = result.to_dict(), page.figures
    places = [attrs["data-figure"] for _, attrs in page.tags if "data-figure" in attrs]
    assert sorted(places) == sorted(figures)
    shells = document["merging_statistics"]["shells"]
    for name, keys in (
        ("cc-half", ("cc_half", "cc_half_sigma_tau", "cc_anom")),
        ("r-values", ("r_merge", "r_meas", "r_pim")),
        ("i-over-sigma", ("i_over_sigma",)),
        ("completeness", ("completeness", "multiplicity")),
    ):
        assert [t["y"] for t in figures[name]["data"]] == [[s[key] for s in shells] for key in keys]
    for k, entry in enumerate(document["datasets"][:MAX_DETAILED]):
        smooth = [c for c in entry["model"]["components"] if c["interval_deg"] is not None]
        traces = {t["name"]: t for t in figures[f"model-{k}"]["data"]} if smooth else {}
        for component in smooth:
            nodes = traces[f"{component['name']} nodes"]
            assert nodes["y"] == component["parameters"] and len(nodes["x"]) == component["n_parameters"]
            assert nodes["error_y"]["array"] == component["sigmas"]
        assert (f"absorption-{k}" in figures) == any(c["name"] == "absorption" for c in entry["model"]["components"])
    assert ("summary" in figures) == (len(document["datasets"]) > 1)


def test_sweeps(sweeps: Result) -> None:
    page = check_page(sweeps)
    assert {"model-0", "model-1", "absorption-0", "absorption-1", "error-model"} <= set(page.figures)
    assert "cut_data.d_min=4.2" in page.text and "Warnings" in page.text
    for trace in ("uncorrected_variance", "corrected_variance"):
        bins = sorted(sweeps.to_dict()["error_model"]["bins"], key=lambda b: b["intensity_min"])
        assert [b[trace] for b in bins] in [t["y"] for t in page.figures["error-model"]["data"]]


def test_real_data(data_root: Path) -> None:
    files = [data_root / "quartz_ed" / f"integrated.{kind}" for kind in ("expt", "refl")]
    found = [f for f in files if f.is_file()] or sorted((data_root / "l_cysteine").glob("20_integrated.*"))
    check_page(pyscale.scale(pyscale.read(*found)))


def test_constant_model(tmp_path: Path) -> None:
    page = check_page(scaled(tmp_path, {"model": "KB"}, n_sweeps=1, sweep_width=60.0))
    assert not any(name.startswith(("model", "absorption", "summary")) for name in page.figures)


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
    assert tables.warnings(document | {"identifier_changes": []}) == []
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
    found = tables.warnings(bad)
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
    assert len(tables.summary_table(document | many).rows) == 5000
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


def test_surface_is_the_sum_of_harmonics() -> None:
    coefficients = np.random.default_rng(3).normal(0, 0.05, 15)
    surface = curves.absorption_surface(ComponentModel("absorption", "absorption", coefficients))
    for row, column in ((0, 0), (10, 71), (44, 13)):
        polar, azimuth = math.radians(surface.polar_deg[row]), math.radians(surface.azimuth_deg[column])
        x, y, z = math.sin(polar) * math.cos(azimuth), math.sin(polar) * math.sin(azimuth), math.cos(polar)
        expected = 1 + coefficients @ pyscale._core.real_harmonics(3, (x, y, z))
        assert surface.value[row, column] == pytest.approx(expected, rel=1e-12)


def test_unmeasured_directions(sweeps: Result) -> None:
    grey = curves.unmeasured_directions(sweeps.observations, 0)
    assert grey.shape == (45, 90) and 0.05 < grey.mean() < 0.95
    here = sweeps.observations.data_set == 0
    x, y, z = sweeps.observations.s1_crystal[here][0]
    row, column = int(math.degrees(math.acos(z)) / 4), int((math.degrees(math.atan2(y, x)) + 180) / 4)
    assert not grey[row, column]


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
        (numbers.with_sigma(1.0, None), "1 ± –"),
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
