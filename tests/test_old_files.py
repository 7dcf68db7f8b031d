"""Experiments and reflections of 2018 and 2019 as input of the commands; what is written is of today."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import pyscale
from pyscale.cli import main
from pyscale.dataset import make_job
from pyscale.experiment import ExperimentList
from pyscale.io.expt import read_expt
from pyscale.io.refl import read_refl

SWEEPS = ("20_integrated", "25_integrated")


def old_files(data_root: Path) -> list[str]:
    folder = data_root / "l_cysteine_legacy"
    return [str(folder / f"{name}{end}") for name in SWEEPS for end in ("_experiments.json", ".pickle")]


@pytest.fixture(scope="module")
def scaled(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sweeps of 2019, scaled to the names of 2019."""
    folder = tmp_path_factory.mktemp("old")
    names = [f"output.{key}={folder / name}" for key, name in OUTPUTS.items()]
    assert main(["scale", *old_files(data_root), *names, "nproc=1"]) == 0
    return folder


OUTPUTS = {
    "experiments": "scaled_experiments.json",
    "reflections": "scaled.pickle",
    "log": "scale.log",
    "json": "scale.json",
    "html": "scale.html",
}


@pytest.mark.data
def test_row_O17_files_of_2019_are_scaled_as_their_newer_forms(data_root: Path, scaled: Path, tmp_path: Path) -> None:
    folder = data_root / "l_cysteine"
    job = pyscale.read(*(folder / f"{name}{end}" for name in SWEEPS for end in (".expt", ".refl")))
    pyscale.scale(job, nproc=1).write(tmp_path / "new.expt", tmp_path / "new.refl")
    old, new = read_refl(scaled / "scaled.pickle"), read_refl(tmp_path / "new.refl")
    assert_array_equal(old["flags"], new["flags"])
    assert_allclose(old["inverse_scale_factor"], new["inverse_scale_factor"], rtol=1e-9)
    assert ((old["flags"] & np.uint64(1 << 26)) != 0).sum() > 5000


@pytest.mark.data
def test_row_O17_what_is_written_is_of_today_whatever_its_name(scaled: Path) -> None:
    assert (scaled / "scaled.pickle").read_bytes()[:2] == b"\x93\xbb"
    experiments = read_expt(scaled / "scaled_experiments.json")
    assert experiments.identifiers == ["0", "1"]
    assert read_refl(scaled / "scaled.pickle").identifiers == {0: "0", 1: "1"}
    assert "is_scaled" not in json.dumps(experiments.document["scaling_model"])
    assert "|pyscale scale|" in experiments.document["history"][-1]
    again = pyscale.read(scaled / "scaled_experiments.json", scaled / "scaled.pickle")
    assert again.identifiers == ["0", "1"]


@pytest.mark.data
@pytest.mark.parametrize("command", ["dials.show", "dials.merge"])
def test_row_O17_dials_reads_what_was_made_of_old_files(
    scaled: Path, tmp_path: Path, require_dials: Path, command: str
) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    files = [str(scaled / "scaled_experiments.json"), str(scaled / "scaled.pickle")]
    done = subprocess.run(
        [str(require_dials / command), *files],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if command == "dials.merge":
        assert (tmp_path / "merged.mtz").stat().st_size > 10_000
    if command == "dials.show":
        assert "image range:   {1,1800}" in done.stdout and "oscillation:   {-145,0.1}" in done.stdout


@pytest.mark.data
def test_row_O17_show_describes_old_files(data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", *old_files(data_root)]) == 0
    text = capsys.readouterr().out
    assert "1-1800" in text and "-145 to 25 by 0.1" in text and "P 2 2 2" in text
    assert "dqe" in text and "Problem" not in text


def _no_identifier(document: dict[str, Any]) -> None:
    for experiment in document["experiment"]:
        del experiment["identifier"]


def _empty_identifier(document: dict[str, Any]) -> None:
    for experiment in document["experiment"]:
        experiment["identifier"] = ""


def _numbered(document: dict[str, Any]) -> None:
    for i, experiment in enumerate(document["experiment"]):
        experiment["identifier"] = str(i)


def _old_scan(document: dict[str, Any]) -> None:
    scans = []
    for scan in document["scan"]:
        first, last = scan["image_range"]
        n = last - first + 1
        width = ExperimentList(document)[0].oscillation
        assert width is not None
        old = {"image_range": [first, last], "oscillation": list(width)}
        scans.append(old | {"exposure_time": [0.1] * n, "epochs": [0.1 * i for i in range(n)]})
    document["scan"] = scans


def _scalar_exposure(document: dict[str, Any]) -> None:
    _old_scan(document)
    document["scan"] = [{**scan, "exposure_time": 0.1, "epochs": None} for scan in document["scan"]]


def _no_imageset(document: dict[str, Any]) -> None:
    for experiment in document["experiment"]:
        experiment.pop("imageset", None)
    document.pop("imageset", None)


def _missing_keys(document: dict[str, Any]) -> None:
    document.pop("history", None)
    document.pop("scaling_model", None)
    document.pop("profile", None)
    for experiment in document["experiment"]:
        experiment.pop("profile", None)
    for beam in document["beam"]:
        for key in set(beam) - {"direction", "wavelength"}:
            del beam[key]
    for goniometer in document["goniometer"]:
        for key in set(goniometer) - {"rotation_axis"}:
            del goniometer[key]


def _old_model(document: dict[str, Any]) -> None:
    """A stored model without any optional key."""
    components = {"scale": {"n_parameters": 1, "parameters": [1.0]}}
    document["scaling_model"] = [{"__id__": "KB", "is_scaled": True, **components, "configuration_parameters": {}}]
    for experiment in document["experiment"]:
        experiment["scaling_model"] = 0


CHANGES = [
    _no_identifier,
    _empty_identifier,
    _numbered,
    _old_scan,
    _scalar_exposure,
    _no_imageset,
    _missing_keys,
    _old_model,
]


@pytest.fixture(scope="module")
def simulated() -> Any:
    return pyscale.simulate(d_min=4.0, sweep_width=80.0, oscillation_width=1.0, n_sweeps=2, seed=11)


@pytest.fixture(scope="module")
def reference(simulated: Any) -> np.ndarray[Any, Any]:
    result = pyscale.scale(make_job(simulated.experiments(), [simulated.reflections()]), nproc=1)
    return np.asarray(result.inverse_scale_factor)


@pytest.mark.parametrize("change", CHANGES)
def test_keys_that_old_experiments_lack_or_have_differently_do_not_matter(
    simulated: Any, reference: np.ndarray[Any, Any], tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    document = json.loads(json.dumps(simulated.experiments().document))
    change(document)
    (tmp_path / "old.json").write_text(json.dumps(document))
    table = simulated.reflections()
    if change in (_no_identifier, _empty_identifier):
        table.identifiers = {}
    if change is _numbered:
        table.identifiers = {0: "0", 1: "1"}
    job = make_job(read_expt(tmp_path / "old.json"), [table])
    result = pyscale.scale(job, nproc=1, overwrite_existing_models=True)
    assert_allclose(result.inverse_scale_factor, reference, rtol=1e-12)
    if change in (_no_identifier, _empty_identifier, _numbered):
        assert job.identifiers == ["0", "1"]


def test_a_model_in_a_file_of_its_own_is_found(tmp_path: Path, simulated: Any) -> None:
    document = json.loads(json.dumps(simulated.experiments().document))
    model = {"__id__": "KB", "is_scaled": True, "scale": {"n_parameters": 1, "parameters": [2.0]}}
    (tmp_path / "model.json").write_text(json.dumps(model))
    for experiment in document["experiment"]:
        experiment["scaling_model"] = "model.json"
    (tmp_path / "old.json").write_text(json.dumps(document))
    assert [e.scaling_model for e in read_expt(tmp_path / "old.json")] == [model, model]
