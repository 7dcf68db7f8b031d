"""`pyscale report`: the same page from the JSON file, what scaled files tell, two jobs, figures for papers."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import pyscale
from pyscale.cli import main
from pyscale.scaled_files import document_of_scaled_files


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a scaled job with all its outputs."""
    folder = tmp_path_factory.mktemp("job")
    simulated = pyscale.simulate(d_min=3.5, oscillation_width=1.0, n_sweeps=2, sweep_width=90.0, outlier_fraction=0.02)
    paths = simulated.write(folder)
    names = ("experiments", "reflections", "html", "json")
    files = ("scaled.expt", "scaled.refl", "pyscale.scale.html", "pyscale.scale.json")
    outputs = [f"output.{name}={folder / file}" for name, file in zip(names, files, strict=True)]
    assert main(["scale", *map(str, paths[:2]), *outputs, "output.log=None"]) == 0
    return folder


def test_same_page(job: Path, tmp_path: Path) -> None:
    """The report of the JSON file is the one that scale wrote, byte for byte."""
    assert main(["report", str(job / "pyscale.scale.json"), f"output.html={tmp_path / 'again.html'}"]) == 0
    assert (tmp_path / "again.html").read_bytes() == (job / "pyscale.scale.html").read_bytes()


def test_scaled_files(job: Path, tmp_path: Path) -> None:
    """Statistics, analyses and ledger of the files are those of the job; what it alone knew is said to be unknown."""
    known = json.loads((job / "pyscale.scale.json").read_text())
    files = [job / "scaled.expt", job / "scaled.refl"]
    found = document_of_scaled_files(files)
    alike(found["merging_statistics"], known["merging_statistics"])
    for name in ("resolution", "by_data_set", "wilson", "twinning"):
        alike(found["analyses"][name], known["analyses"][name], name)
    for name, entry in known["ledger"].items():
        rejected = {rule: n for rule, n in entry["rejected"].items() if n}
        assert found["ledger"][name] == entry | {"rejected": rejected}
    assert found["verdict"]["grade"] == known["verdict"]["grade"]
    assert [d["model"]["type"] for d in found["datasets"]] == [d["model"]["type"] for d in known["datasets"]]
    assert main(["report", *map(str, files), f"output.html={tmp_path / 'files.html'}"]) == 0
    page = (tmp_path / "files.html").read_text()
    assert "Not known from them: options; decisions" in page and "not known from scaled files" in page


def alike(one: Any, other: Any, path: str = "") -> None:
    """Equal to the precision of columns on file."""
    if isinstance(other, dict):
        assert set(one) == set(other)
        for key in other:
            alike(one[key], other[key], f"{path}.{key}")
    elif isinstance(other, list):
        assert len(one) == len(other), path
        for k, (a, b) in enumerate(zip(one, other, strict=True)):
            alike(a, b, f"{path}[{k}]")
    elif isinstance(other, float):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=1e-6, err_msg=path)
    else:
        assert one == other, path


def test_two_jobs(job: Path, tmp_path: Path) -> None:
    """What differs stands side by side."""
    document = json.loads((job / "pyscale.scale.json").read_text())
    document["options"]["cut_data"]["d_min"] = 4.25
    document["merging_statistics"]["overall"]["r_meas"] = 0.1234
    other = tmp_path / "other.json"
    other.write_text(json.dumps(document))
    page = tmp_path / "two.html"
    assert main(["report", "--compare", str(job / "pyscale.scale.json"), str(other), f"output.html={page}"]) == 0
    text = page.read_text()
    assert "cut_data.d_min" in text and "4.25" in text and "0.1234" in text and "output.merging.nbins" not in text


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["report"], 2, "no input files"),
        (["report", "--compare", "JSON"], 2, "two files"),
        (["report", "JSON", "JSON"], 2, "one JSON file"),
        (["report", "EMPTY"], 1, "not whole"),
        (["report", "OTHER"], 1, "no key 'datasets'"),
        (["report", "HALF"], 1, "scale again"),
        (["report", "missing.json"], 2, "cannot be read"),
        (["report", "RAW"], 1, "scale"),
    ],
)
def test_bad_input(
    job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, message: str
) -> None:
    """One line that says what to do, and no page."""
    document = json.loads((job / "pyscale.scale.json").read_text())
    document["merging_statistics"] = {}
    made = {"EMPTY": "", "OTHER": "{}", "HALF": json.dumps(document)}
    for name, text in made.items():
        (tmp_path / f"{name}.json").write_text(text)
    names = {"JSON": str(job / "pyscale.scale.json")} | {name: str(tmp_path / f"{name}.json") for name in made}
    raw = [str(job / f"simulated.{kind}") for kind in ("expt", "refl")]
    given = [text for a in arguments for text in (raw if a == "RAW" else [names.get(a, a)])]
    page = tmp_path / "page.html"
    assert main([*given, f"output.html={page}"]) == status
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert not page.exists()


def test_nothing_is_written_in_part(job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure while figures are drawn leaves neither page nor figures."""
    from pyscale.report import paper

    def fails(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(paper, "_draw", fails)
    page, plots = tmp_path / "page.html", tmp_path / "plots"
    arguments = ["report", str(job / "pyscale.scale.json"), f"output.html={page}", f"output.plots={plots}"]
    assert main(arguments) != 0
    assert not page.exists() and not any(plots.glob("*"))


def test_figures_for_papers(job: Path, tmp_path: Path) -> None:
    plots = tmp_path / "plots"
    arguments = ["report", str(job / "pyscale.scale.json"), "output.html=None", f"output.plots={plots}"]
    assert main(arguments) == 0
    names = {path.stem for path in plots.glob("*.svg")}
    assert {"cc-half", "r-values", "i-over-sigma", "completeness", "model-0"} <= names
    assert {path.stem for path in plots.glob("*.png")} == names
    for path in plots.glob("*.svg"):
        root = ElementTree.parse(path).getroot()
        assert float(root.attrib["width"].removesuffix("pt")) == pytest.approx(85 / 25.4 * 72, rel=0.01)
        assert root.findall(".//{http://www.w3.org/2000/svg}text"), "text is text, not outlines"


def test_figures_without_matplotlib(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said before anything is scaled."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "matplotlib" else find(name, *a))
    assert main(["scale", str(job / "scaled.expt"), f"output.plots={tmp_path}"]) == 2
    assert "pip install 'pyscale-xtal[plots]'" in capsys.readouterr().err


def test_imports_are_paid_for_when_used_only(job: Path, tmp_path: Path) -> None:
    """Without a report neither jinja2 nor plotly nor matplotlib is loaded; with one plotly's package is not either."""
    code = (
        "import sys; from pyscale.cli import main; status = main(sys.argv[1:]);"
        "print(','.join(sorted({'jinja2', 'plotly', 'matplotlib'} & set(sys.modules)))); sys.exit(status)"
    )
    inputs = [str(job / f"simulated.{kind}") for kind in ("expt", "refl")]
    for html, loaded in (("None", ""), ("page.html", "jinja2")):
        outputs = ["output.log=None", "output.json=None", f"output.html={html}"]
        command = [sys.executable, "-c", code, "scale", *inputs, *outputs]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == loaded
