"""pyscale slice: parts of sweeps as data sets of their own."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import pyscale
from pyscale.cli import main
from pyscale.dataset import Job, load_job, make_job
from pyscale.dataset_selection import assign_identifiers
from pyscale.errors import UsageError
from pyscale.experiment import ExperimentList
from pyscale.io.refl import read_refl
from pyscale.slicing import slice_job

SCAN_POINTS = np.arange(41.0)


@pytest.fixture(scope="module")
def job() -> Job:
    """Two sweeps of 40 images, a and b, of one crystal that varies with the scan."""
    data = pyscale.simulate(d_min=4.0, sweep_width=40.0, oscillation_width=1.0, n_sweeps=2, seed=5)
    simulated = make_job(data.experiments(), [data.reflections()])
    document = copy.deepcopy(simulated.experiments.document)
    crystal = document["crystal"][0]
    axes = [x for name in "abc" for x in crystal[f"real_space_{name}"]]
    document["crystal"] = [crystal | {"A_at_scan_points": [[*axes[:8], float(i)] for i in SCAN_POINTS]}]
    document["profile"] = [{"__id__": "gaussian_rs", "scan_varying": True, "sigma_b": list(range(40)), "n_sigma": 3}]
    document["imageset"] = [{"__id__": "ImageSequence", "template": "image_####.cbf"}]
    document["experiment"] = [
        {**e, "crystal": 0, "profile": 0, "imageset": 0, "identifier": "ab"[i]}
        for i, e in enumerate(document["experiment"])
    ]
    document["scaling_model"] = [{"__id__": "KB"}]
    document["experiment"][0]["scaling_model"] = 0
    tables = [d.reflections.copy() for d in simulated.data_sets]
    for table in tables:
        table.identifiers = {}
    return make_job(ExperimentList(document), tables)


def test_models_are_cut(job: Job) -> None:
    result = slice_job(job, ["a:1:10", "a:31:40"]).job
    assert result.identifiers == ["a_1_10", "a_31_40", "b"]
    assert [e.image_range for e in result.experiments] == [(1, 10), (31, 40), (1, 40)]
    whole = job.experiments[0].oscillation_range
    assert whole is not None
    assert_allclose([e.oscillation_range for e in result.experiments][:2], [[0.0, 10.0], [30.0, 40.0]])
    points = [[row[8] for row in (e.crystal or {})["A_at_scan_points"]] for e in result.experiments]
    assert points == [list(SCAN_POINTS[:11]), list(SCAN_POINTS[30:]), list(SCAN_POINTS)]
    sigmas = [(result.experiments.model(i, "profile") or {})["sigma_b"] for i in range(3)]
    assert sigmas == [list(range(10)), list(range(30, 40)), list(range(40))]
    document = result.experiments.document
    assert len({e["imageset"] for e in document["experiment"]}) == 3
    assert len({e["detector"] for e in document["experiment"]}) == len(job.experiments.document["detector"])
    assert [e.scaling_model for e in result.experiments] == [None] * 3
    assert job.identifiers == ["a", "b"]
    assert job.experiments[0].image_range == (1, 40)


def test_each_reflection_goes_to_its_slice(job: Job) -> None:
    """Slices side by side share no reflection; cut from end to end they hold all on the images."""
    result = slice_job(job, ["0:1:10,0:11:25 0:26:40"]).job
    z = job.data_sets[0].reflections["xyzobs.px.value"][:, 2]
    for data_set, first, last in zip(result.data_sets, (0, 10, 25), (10, 25, 40), strict=False):
        expected = z[(z >= first) & (z < last)]
        assert_array_equal(data_set.reflections["xyzobs.px.value"][:, 2], expected)
    assert sum(len(d.reflections) for d in result.data_sets[:3]) == ((z >= 0) & (z < 40)).sum()
    assert len(result.data_sets[3].reflections) == len(job.data_sets[1].reflections)


@pytest.mark.parametrize("per_image", [False, True])
def test_formats_of_scans(job: Job, per_image: bool) -> None:
    """Start and width, as older files have it, or an angle per image; a slice may be one image."""
    document = copy.deepcopy(job.select([0]).experiments.document)
    values = {"exposure_time": [0.1 * i for i in range(40)], "epochs": [float(i) for i in range(40)]}
    scan: dict[str, Any] = {"image_range": [11, 50], "batch_offset": 3}
    if per_image:
        scan["properties"] = values | {"oscillation": [-20.0 + 0.5 * i for i in range(40)]}
    else:
        scan |= values | {"oscillation": [-20.0, 0.5]}
    scan["valid_image_ranges"] = {"a": [[11, 20], [31, 50]]}
    document["scan"] = [scan]
    table = job.data_sets[0].reflections.copy()
    table["xyzobs.px.value"] = table["xyzobs.px.value"] + [0.0, 0.0, 10.0]
    shifted = make_job(ExperimentList(document), [table])
    result = slice_job(shifted, ["16:35,36:36"]).job
    cut = [e.scan or {} for e in result.experiments]
    assert [s["batch_offset"] for s in cut] == [3, 3]
    times = [(s["properties"] if per_image else s)["exposure_time"] for s in cut]
    assert times == [values["exposure_time"][5:25], values["exposure_time"][25:26]]
    for experiment, start in zip(result.experiments, (-17.5, -7.5), strict=True):
        assert experiment.oscillation == pytest.approx((start, 0.5))
    assert cut[0]["valid_image_ranges"] == {"a_16_35": [[16, 20], [31, 35]]}
    assert cut[1]["valid_image_ranges"] == {"a_36_36": [[36, 36]]}
    with pytest.raises(UsageError, match="image_range=22:28: all these images are excluded"):
        slice_job(shifted, ["22:28"])


def test_names_that_are_taken(job: Job) -> None:
    named = assign_identifiers(job, ["a", "a_1_9"])
    assert slice_job(named, ["0:1:9"]).job.identifiers == ["a_1_9_2", "a_1_9"]


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ([], "give the images of a slice"),
        (["0:1:41"], "data set a has other images .1 to 40."),
        (["0:0:5"], "has other images"),
        (["*:1:41"], "no scan has all these images"),
        (["0:9:1"], "back to front"),
        (["1:9"], "names no data set"),
        (["c:1:9"], "there is no data set c"),
        (["0:1:9", "0:9:12"], "slices 1 to 9 and 9 to 12 of data set a overlap"),
        (["*:1:9", "0:3:4"], "overlap"),
    ],
)
def test_wrong_ranges(job: Job, texts: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        slice_job(job, texts)


def test_slice_without_reflections(job: Job) -> None:
    single = job.select([0])
    table = single.data_sets[0].reflections
    single.data_sets[0].reflections = table.select(table["xyzobs.px.value"][:, 2] > 10)
    with pytest.raises(UsageError, match="image_range=a:1:5: no reflection lies on these images"):
        slice_job(single, ["1:5"])


def test_stills_are_not_cut() -> None:
    data = pyscale.simulate(kind="stills", n_sweeps=2, d_min=3.0, seed=1)
    stills = make_job(data.experiments(), [data.reflections()])
    with pytest.raises(UsageError, match=r"has other images \(a still, without a scan\)"):
        slice_job(stills, ["0:1:1"])


READ_WITH_DIALS = """
import json, sys
from dials.array_family import flex
from dxtbx.model.experiment_list import ExperimentListFactory
read = lambda name: ExperimentListFactory.from_json_file(name + ".expt", check_format=False)
ours, table = read("sliced"), flex.reflection_table.from_file("sliced.refl")
result = []
for e, rows, name in zip(ours, table.split_by_experiment_id(), sys.argv[1:]):
    (other,), other_rows = read(name), flex.reflection_table.from_file(name + ".refl")
    models = ("beam", "detector", "goniometer", "scan", "crystal")
    result.append({
        "different": [m for m in models if getattr(e, m) != getattr(other, m)],
        "scan points": [e.crystal.num_scan_points, other.crystal.num_scan_points],
        "images": [list(x.imageset.get_array_range()) for x in (e, other)],
        "rows": [len(rows), len(other_rows)],
        "same rows": bool((rows["miller_index"] == other_rows["miller_index"]).count(False) == 0),
    })
print("RESULT" + json.dumps(result))
"""


@pytest.mark.data
def test_as_dials_slices(data_root: Path, require_dials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models and rows of each slice are those of dials.slice_sequence, and dials.show reads them."""
    monkeypatch.chdir(tmp_path)
    files = [str(p) for p in sorted((data_root / "l_cysteine").glob("20_integrated.*"))]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}

    def dials(*command: str) -> str:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert main(["slice", *files, "image_range=1:900", "image_range=0:1001:1800"]) == 0
    for images in ("1,900", "1001,1800"):
        dials(str(require_dials / "dials.slice_sequence"), *files, f"image_range={images}")
    python = (require_dials / "dials.scale").read_text().partition("\n")[0].removeprefix("#!").split()
    output = dials(*python, "-c", READ_WITH_DIALS, "20_integrated_1_900", "20_integrated_1001_1800")
    for found, n_images in zip(json.loads(output.partition("RESULT")[2]), (900, 800), strict=True):
        assert found["different"] == []
        assert found["scan points"] == [n_images + 1] * 2
        assert found["images"][0] == found["images"][1]
        assert found["rows"][0] == found["rows"][1] > 1000
        assert found["same rows"]
    shown = dials(str(require_dials / "dials.show"), "sliced.expt", "sliced.refl")
    assert "{1,900}" in shown and "{1001,1800}" in shown


@pytest.mark.data
def test_wide_interior_exclusion(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """O.11: a hole twice as wide as the parameter spacing breaks no fit, and the sweep can be cut at it instead."""
    monkeypatch.chdir(tmp_path)
    files = [str(p) for p in sorted((data_root / "l_cysteine").glob("*_integrated.*"))]
    assert main(["scale", *files, "exclude_images=0:601:900"]) == 0
    with_hole = json.loads(Path("pyscale.scale.json").read_text())
    assert with_hole["fit"]["termination"] in ("converged", "no_further_decrease")
    assert main(["slice", *files, "image_range=0:1:600,0:901:1800"]) == 0
    names = [f"output.{name}=cut.{name}" for name in ("experiments", "reflections", "log", "html", "json")]
    assert main(["scale", "sliced.expt", "sliced.refl", *names]) == 0
    cut = json.loads(Path("cut.json").read_text())
    assert [d["images"] for d in cut["datasets"]][:2] == [[1, 600], [901, 1800]]
    overall, cut_overall = (d["merging_statistics"]["overall"] for d in (with_hole, cut))
    assert cut_overall["n_obs"] == pytest.approx(overall["n_obs"], rel=0.01)
    assert overall["r_meas"] < 0.04
    assert cut_overall["r_meas"] == pytest.approx(overall["r_meas"], rel=0.05)


def test_command(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    pyscale.simulate(d_min=5.0, sweep_width=40.0, oscillation_width=1.0, seed=5).write(tmp_path)
    before = {p.name: p.read_bytes() for p in Path().iterdir()}
    assert main(["slice", "simulated.expt", "simulated.refl", "image_range=1:20", "image_range=21:40"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split(":")[1].split(",")[0] for line in out if " images " in line] == [" images 1-20", " images 21-40"]
    again = load_job(["sliced.expt", "sliced.refl"])
    assert np.unique(read_refl("sliced.refl")["id"]).tolist() == [0, 1]
    assert again.experiments.document["history"][-1].endswith("|sliced")
    assert main(["scale", "sliced.expt", "sliced.refl"]) == 0
    assert all(Path(name).read_bytes() == data for name, data in before.items())
    assert main(["slice", "simulated.expt", "simulated.refl"]) == 2
    assert main(["slice", "simulated.expt", "simulated.refl", "image_range=1:2", "output.experiments=x/y"]) == 2
    assert main(["slice", "--help"]) == 0
