"""exclude_images: what the commands mean, what they remove, and that it lasts."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import pyscale
from pyscale.cli import main
from pyscale.dataset import Job, make_job
from pyscale.dataset_selection import DataSetNames, assign_identifiers
from pyscale.errors import UsageError
from pyscale.exclude_images import centroid_z, exclude_images, parse_image_commands
from pyscale.experiment import ExperimentList
from pyscale.io.refl import read_refl
from pyscale.reflections import Flag
from pyscale.result import ScalingResult

USER_EXCLUDED, SCALED = np.uint64(int(Flag.user_excluded_in_scaling)), np.uint64(int(Flag.scaled))


@pytest.fixture(scope="module")
def job() -> Job:
    """Two sweeps of 40 images, called a and x:1."""
    data = pyscale.simulate(d_min=4.0, sweep_width=40.0, oscillation_width=1.0, n_sweeps=2, seed=5)
    return assign_identifiers(make_job(data.experiments(), [data.reflections()]), ["a", "x:1"])


def excluded(job: Job, *texts: str, multiple: int | None = None) -> Job:
    names = DataSetNames(tuple(job.identifiers))
    return exclude_images(job, names, parse_image_commands(texts, names, "exclude_images"), multiple)


def left(job: Job) -> list[list[tuple[int, int]]]:
    return [e.valid_image_ranges for e in job.experiments]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["0:1:5"], [[(6, 40)], [(1, 40)]]),
        (["a:11:20"], [[(1, 10), (21, 40)], [(1, 40)]]),
        (["x:1:3:40"], [[(1, 40)], [(1, 2)]]),
        (["#1:3:40"], [[(1, 40)], [(1, 2)]]),
        (["0:1:5,1:36:40 0:6:6"], [[(7, 40)], [(1, 35)]]),
        (["0:1:5", "1:36:40"], [[(6, 40)], [(1, 35)]]),
        (["*:39:100"], [[(1, 38)], [(1, 38)]]),
        (["0:-5:3"], [[(4, 40)], [(1, 40)]]),
        ([], [[(1, 40)], [(1, 40)]]),
    ],
)
def test_forms(job: Job, texts: list[str], expected: object) -> None:
    assert left(excluded(job, *texts)) == expected
    assert left(job) == [[(1, 40)], [(1, 40)]]


def test_one_data_set_needs_no_name(job: Job) -> None:
    single = job.select([1])
    assert left(excluded(single, "1:5")) == [[(6, 40)]]
    assert left(excluded(single, "x:1:1:5")) == [[(6, 40)]]


def test_every_multiple(job: Job) -> None:
    assert left(excluded(job.select([0]), multiple=15)) == [[(1, 14), (16, 29), (31, 40)]]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["2:1:5"], r"exclude_images: there is no data set 2 \(there are 0: a, 1: x:1\)"),
        (["b:1:5"], "there is no data set b"),
        (["0:5:1"], "exclude_images=0:5:1: the range is back to front"),
        (["0:41:50"], "wholly outside the scan of data set a, which has images 1 to 40"),
        (["0:-5:0"], "wholly outside"),
        (["*:41:50"], "no data set has such images .scans have images 1 to 40"),
        (["1:5"], "names no data set, and there are 2"),
        (["0:1"], "names no data set"),
        (["0:1:x"], "expected data set:first:last"),
        (["0"], "expected data set:first:last"),
        (["0:1:99999999999999999999"], "expected data set:first:last"),
        (["0:1:40 1:1:40"], "no reflection in any data set"),
        (["*:1:40"], "no reflection in any data set"),
    ],
)
def test_wrong_commands(job: Job, texts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        excluded(job, *texts)


def test_no_multiple_in_the_scan(job: Job) -> None:
    with pytest.raises(UsageError, match="exclude_images_multiple=50: no data set has an image"):
        excluded(job, multiple=50)


def messages(caplog: pytest.LogCaptureFixture) -> list[tuple[str, bool]]:
    return [(r.getMessage(), bool(getattr(r, "notice", False))) for r in caplog.records]


def test_each_command_tells_what_it_removed(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    z = centroid_z(job.data_sets[0].reflections)
    with caplog.at_level(logging.INFO):
        excluded(job, "0:1:5", "0:3:8", "0:2:4", "*:39:99")
    first, second = int((z < 5).sum()), int(((z > 5) & (z < 8)).sum())
    (one, two, three, *rest) = messages(caplog)
    assert one == (f"exclude_images=0:1:5: removed 5 images and {first} reflections of data set a", False)
    assert two == (f"exclude_images=0:3:8: removed 3 images and {second} reflections of data set a", False)
    assert three == ("exclude_images=0:2:4: these images of data set a are excluded already", True)
    assert [text.split(":")[2].split(" and")[0] for text, _ in rest] == ["99", "99"]


def test_images_without_reflections(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    single = job.select([0])
    table = single.data_sets[0].reflections
    single.data_sets[0].reflections = table.select(centroid_z(table) > 10)
    with caplog.at_level(logging.INFO):
        excluded(single, "0:1:5")
    assert messages(caplog) == [("exclude_images=0:1:5: removed 5 images of data set a, without reflections", True)]


def test_a_data_set_without_images_leaves(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        result = excluded(job, "0:1:40")
    assert result.identifiers == ["x:1"]
    assert "Data set a: no reflection is left on its images; it is removed" in caplog.text


def test_a_data_set_that_is_left_out(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    names = DataSetNames(tuple(job.identifiers))
    with caplog.at_level(logging.INFO):
        result = exclude_images(job.select([1]), names, parse_image_commands(["0:1:5,1:1:5"], names, "exclude_images"))
    assert left(result) == [[(6, 40)]]
    assert "data set a is left out altogether" in caplog.text


def test_stills() -> None:
    """Stills have no images to exclude: an error if one is named, nothing for all data sets."""
    data = pyscale.simulate(kind="stills", n_sweeps=2, d_min=3.0, seed=1)
    stills = make_job(data.experiments(), [data.reflections()])
    with pytest.raises(UsageError, match="is a still, without a scan; leave it out with exclude_datasets="):
        excluded(stills, "0:1:1")
    with pytest.raises(UsageError, match=r"no data set has such images \(there are only stills"):
        excluded(stills, "*:1:1")
    with pytest.raises(UsageError, match="there are only stills"):
        excluded(stills, multiple=2)
    assert excluded(stills).identifiers == stills.identifiers


COMMANDS = st.lists(
    st.tuples(st.integers(-3, 40), st.integers(0, 12)).map(lambda p: (p[0], max(1, sum(p)))), max_size=4
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(COMMANDS, COMMANDS)
def test_exclusions_accumulate(job: Job, first: Sequence[tuple[int, int]], second: Sequence[tuple[int, int]]) -> None:
    """Two jobs one after the other, with the file between them, leave the images that set arithmetic does."""
    single = job.select([0])
    wanted = set(range(1, 41))
    for ranges in (first, second):
        wanted -= {n for a, b in ranges for n in range(a, b + 1)}
    texts = [[f"0:{a}:{b}" for a, b in ranges] for ranges in (first, second)]
    if not wanted:
        return
    once = excluded(single, *texts[0])
    again = json.loads(json.dumps(once.experiments.document))
    read_back = Job(ExperimentList(again), once.data_sets)
    twice = excluded(read_back.select([0]), *texts[1])
    found = {n for a, b in left(twice)[0] for n in range(a, b + 1)}
    assert found == wanted


@pytest.mark.parametrize("texts", [["0:1:8"], ["0:11:14", "1:30:40"]])
def test_scaling_as_if_rows_were_removed_by_hand(job: Job, texts: list[str]) -> None:
    """The rows on excluded images take no part: nodes, scales and statistics are those without them."""
    ours = pyscale.scale(job, exclude_images=tuple(texts), nproc=1)
    keep = [_kept(d, r) for d, r in zip(job.data_sets, left(excluded(job, *texts)), strict=True)]
    by_hand = excluded(job, *texts)
    for data_set, rows in zip(by_hand.data_sets, keep, strict=True):
        data_set.reflections = data_set.reflections.select(rows)
    theirs = pyscale.scale(by_hand, nproc=1)
    assert ours.statistics.overall == theirs.statistics.overall
    for table, other, rows in zip(ours.tables, theirs.tables, keep, strict=True):
        assert_array_equal(table["inverse_scale_factor"][rows], other["inverse_scale_factor"])
        assert_array_equal(table["flags"][rows], other["flags"])
        assert ((table["flags"][~rows] & USER_EXCLUDED) != 0).all()
        assert ((table["flags"][~rows] & SCALED) == 0).all()
    assert [e.user_excluded.get("exclude_images", 0) for e in ours.ledger] == [int((~rows).sum()) for rows in keep]


def _kept(data_set: Any, ranges: list[tuple[int, int]]) -> np.ndarray:
    z = centroid_z(data_set.reflections)
    kept: np.ndarray = np.logical_or.reduce([(z >= a - 1) & (z <= b) for a, b in ranges])
    return kept


def test_the_model_is_that_of_the_images_left() -> None:
    """Rules and nodes see the rotation from the first to the last image in use (110 of 120 degrees, then 70, 20)."""
    data = pyscale.simulate(d_min=5.0, sweep_width=120.0, oscillation_width=1.0, seed=8)

    def scaled(*texts: str) -> ScalingResult:
        return pyscale.scale(make_job(data.experiments(), [data.reflections()]), exclude_images=texts, nproc=1)

    for texts, images, degrees, interval in (
        ((), [1, 120], 120, 15.0),
        (("0:1:10",), [11, 120], 110, 15.0),
        (("0:1:10", "0:81:120"), [11, 80], 70, 8.0),
        (("0:1:80", "0:101:120", "0:90:91"), [81, 100], 20, 4.0),
    ):
        result = scaled(*texts)
        plan, model = result.plans[0], result.experiments[0].scaling_model
        assert plan.scale_interval is not None and model is not None
        assert plan.scale_interval.value == interval, texts
        assert f"rotation of {degrees} deg" in plan.scale_interval.reason
        assert model["configuration_parameters"]["valid_image_range"] == images
        assert model["configuration_parameters"]["valid_osc_range"] == pytest.approx([images[0] - 1, images[1]])
        excluded_images = result.to_dict()["datasets"][0]["excluded_images"]
        assert sum(b - a + 1 for a, b in excluded_images) == 120 - sum(
            b - a + 1 for a, b in result.experiments[0].valid_image_ranges
        )


READ_WITH_DIALS = """
import json
from dials.array_family import flex
from dials.util.exclude_images import get_selection_for_valid_image_ranges
from dxtbx.model.experiment_list import ExperimentListFactory
experiments = ExperimentListFactory.from_json_file("scaled.expt", check_format=False)
table = flex.reflection_table.from_file("scaled.refl")
result = []
for i, e in enumerate(experiments):
    rows = table.select(table["id"] == i)
    kept = get_selection_for_valid_image_ranges(rows, e)
    flagged = rows.get_flags(rows.flags.user_excluded_in_scaling)
    ranges = e.scan.get_valid_image_ranges(e.identifier) if e.scan else None
    result.append([e.identifier, ranges, (~kept & ~flagged).count(True), (~kept).count(True)])
print("RESULT" + json.dumps(result))
"""


def read_with_dials(require_dials: Path, folder: Path) -> Any:
    """Valid ranges that DIALS finds, and how many rows outside of them we did not flag, and all of these."""
    python = (require_dials / "dials.scale").read_text().partition("\n")[0].removeprefix("#!").split()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [*python, "-c", READ_WITH_DIALS], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.partition("RESULT")[2])


def four_sweeps(data_root: Path) -> list[str]:
    return [str(p) for p in sorted((data_root / "l_cysteine").glob("*_integrated.*"))]


def document() -> Any:
    return json.loads(Path("pyscale.scale.json").read_text())


@pytest.mark.data
class TestOnRealData:
    """Rows of the list of what the guide of 2018-19 promises (O.8 to O.10), on its own four sweeps."""

    @pytest.fixture(autouse=True)
    def _in_empty_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def test_identifiers_are_shown(self, data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """O.8: identifiers '0', '1', ... and the line in which the guide looks for them."""
        assert main(["scale", *four_sweeps(data_root)]) == 0
        line = "Dataset unique identifiers are ['0', '1', '2', '3']"
        assert line in Path("pyscale.scale.log").read_text()
        capsys.readouterr()
        assert main(["show", "scaled.expt", "scaled.refl"]) == 0
        shown = [text.split()[:2] for text in capsys.readouterr().out.splitlines()]
        assert all([str(i), str(i)] in shown for i in range(4))

    @pytest.mark.parametrize(
        ("argument", "kept", "logged"),
        [
            ("exclude_datasets=0 2", ["1", "3"], "1,3"),
            ('exclude_datasets="0,2"', ["1", "3"], "1,3"),
            ("use_datasets=1 3", ["1", "3"], "1,3"),
            ("use_datasets=0,2,3", ["0", "2", "3"], "0,2,3"),
        ],
    )
    def test_data_sets_vanish(self, data_root: Path, argument: str, kept: list[str], logged: str) -> None:
        """O.9: data sets that are not used are removed at the start, and absent from the output."""
        assert main(["scale", *four_sweeps(data_root), argument]) == 0
        assert f"Dataset ids for retained datasets are: {logged}" in Path("pyscale.scale.log").read_text()
        assert [d["identifier"] for d in document()["datasets"]] == kept
        table = read_refl("scaled.refl")
        assert list(table.identifiers.values()) == kept
        assert np.unique(table["id"]).tolist() == list(range(len(kept)))
        experiments = json.loads(Path("scaled.expt").read_text())
        assert [e["identifier"] for e in experiments["experiment"]] == kept
        assert len(experiments["scan"]) == len(experiments["scaling_model"]) == len(kept)

    def test_images_stay_excluded(self, data_root: Path, require_dials: Path) -> None:
        """O.10: inclusive ranges, flagged, the model on the images left; later jobs keep them out and add to them."""
        assert main(["scale", *four_sweeps(data_root), "exclude_images=0:101:200,3:1501:1700"]) == 0
        self._check(require_dials, {"0": [[1, 100], [201, 1800]], "3": [[1, 1500]]})
        log = Path("pyscale.scale.log").read_text()
        assert "exclude_images=0:101:200: removed 100 images and " in log
        model = json.loads(Path("scaled.expt").read_text())["scaling_model"][3]["configuration_parameters"]
        assert model["valid_image_range"] == [1, 1500]
        assert model["valid_osc_range"] == pytest.approx([-145.0, 5.0])
        again = ["output.experiments=scaled.expt", "output.reflections=scaled.refl"]
        assert main(["scale", "scaled.expt", "scaled.refl", *again]) == 0
        self._check(require_dials, {"0": [[1, 100], [201, 1800]], "3": [[1, 1500]]})
        assert main(["scale", "scaled.expt", "scaled.refl", "exclude_images=0:1:110 1:1700:1700", *again]) == 0
        self._check(require_dials, {"0": [[201, 1800]], "1": [[1, 1699]], "3": [[1, 1500]]})
        assert document()["datasets"][0]["excluded_images"] == [[1, 200]]

    def _check(self, require_dials: Path, cut: dict[str, list[list[int]]]) -> None:
        whole = {"0": [[1, 1800]], "1": [[1, 1700]], "2": [[1, 1700]], "3": [[1, 1700]]} | cut
        ledger = document()["ledger"]
        for identifier, ranges, n_missed, n_outside in read_with_dials(require_dials, Path()):
            assert ranges == whole[identifier]
            assert n_missed == 0
            assert ledger[identifier]["user_excluded"].get("exclude_images", 0) == n_outside
            assert (n_outside > 0) == (identifier in cut)

    def test_image_number_zero(self, data_root: Path) -> None:
        stem = data_root / "ed_p212121" / "integrated"
        files = [f"{stem}.expt", f"{stem}.refl"]
        assert main(["scale", *files, "exclude_images=0:0:1"]) == 0
        assert document()["datasets"][0]["excluded_images"] == [[0, 1]]
        assert "0–89 (2 excluded)" in Path("pyscale.scale.html").read_text(encoding="utf-8")
        table = read_refl("scaled.refl")
        flagged = (table["flags"] & USER_EXCLUDED) != 0
        assert flagged[table["xyzobs.px.value"][:, 2] < 1].all()
        assert document()["ledger"][table.identifiers[0]]["user_excluded"]["exclude_images"] > 0

    @pytest.mark.parametrize(
        "argument",
        ["exclude_images=0:200:101", "exclude_images=9:1:5", "exclude_images=0:1801:1900", "use_datasets=7"],
    )
    def test_wrong_usage(self, data_root: Path, argument: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["scale", *four_sweeps(data_root), argument]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
        assert not list(Path().iterdir())
