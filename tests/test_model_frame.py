"""Absorption surfaces of DIALS before 2021: recognised by age and stored scales, evaluated in their frame."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.transform import Rotation

from pyscale.applied import AppliedModels, apply_files
from pyscale.cli import main
from pyscale.experiment import ExperimentList
from pyscale.io.refl import read_refl, write_refl
from pyscale.model_frame import SurfaceFrame, checked_frame, is_legacy_model, surface_frame
from pyscale.observations import beam_directions
from pyscale.reflections import Flag, ReflectionTable

BAD = np.uint64(int(Flag.bad_for_scaling))
Change = Callable[[dict[str, Any]], None]


def experiment(
    model: dict[str, Any] | None = None, imageset: str | None = "ImageSequence", history: list[str] | None = None
) -> Any:
    document: dict[str, Any] = {"experiment": [{"scaling_model": 0}], "scaling_model": [{"__id__": "physical"}]}
    document["scaling_model"][0] |= {"absorption": {"parameters": [0.0] * 24}} | (model or {})
    if imageset is not None:
        document["imageset"] = [{"__id__": imageset}]
        document["experiment"][0]["imageset"] = 0
    if history is not None:
        document["history"] = history
    return ExperimentList(document)[0]


OURS = {"configuration_parameters": {"pyscale": {"schema_version": 1}}}
BY_DIALS = ["2026-11-22T12:27:20Z|dials.scale|v3.25.dev0|scaled"]
OTHERS = ["2026-11-22T12:27:20Z|dials.combine_experiments|v3.25.dev0|"]


@pytest.mark.parametrize(
    ("given_experiment", "legacy", "certain", "words"),
    [
        (experiment({"is_scaled": True}), True, True, "is_scaled"),
        (experiment({"is_scaled": True}, imageset=None), True, True, "is_scaled"),
        (experiment({"is_scaled": True}, history=OTHERS), True, True, "is_scaled"),
        (experiment(imageset="ImageSweep"), True, True, "ImageSweep"),
        (experiment(OURS, imageset="ImageSweep"), False, True, "pyscale"),
        (experiment(OURS | {"is_scaled": True}), False, True, "pyscale"),
        (experiment(history=BY_DIALS), False, True, "dials.scale"),
        (experiment(history=OTHERS), False, False, "no mark"),
        (experiment(), False, False, "no history"),
        (experiment(imageset=None), False, False, "no history"),
        (experiment({"configuration_parameters": None}), False, False, "no history"),
    ],
)
def test_the_age_of_a_file_tells_the_frame(given_experiment: Any, legacy: bool, certain: bool, words: str) -> None:
    frame = surface_frame(given_experiment)
    assert (frame.legacy, frame.certain) == (legacy, certain)
    assert words in frame.reason
    assert is_legacy_model(given_experiment) == legacy


def test_a_model_without_a_surface_is_the_same_in_both_frames() -> None:
    document = {"experiment": [{"scaling_model": 0}, {}], "scaling_model": [{"__id__": "KB", "is_scaled": True}]}
    assert [is_legacy_model(e) for e in ExperimentList(document)] == [False, False]


@settings(deadline=None)
@given(
    frame=st.builds(SurfaceFrame, st.booleans(), st.booleans(), st.just("age")),
    noise=st.sampled_from([0.0, 1e-12, 1e-5, 1e-2]),
    truth=st.booleans(),
)
def test_the_frame_that_gives_the_stored_scales_is_taken(frame: SurfaceFrame, noise: float, truth: bool) -> None:
    rng = np.random.default_rng(3)
    g = {legacy: rng.uniform(0.8, 1.2, 500) for legacy in (False, True)}
    stored = g[truth] * (1.0 + noise * rng.normal(size=500))
    found = checked_frame(frame, g.__getitem__, stored)
    assert found.legacy == truth and found.certain
    assert "stored scales" in found.reason and "age" in found.reason


def test_scales_of_another_model_leave_the_decision_to_the_age() -> None:
    rng = np.random.default_rng(3)
    g = {legacy: rng.uniform(0.8, 1.2, 500) for legacy in (False, True)}
    for frame in (SurfaceFrame(True, True, "age"), SurfaceFrame(False, False, "age")):
        found = checked_frame(frame, g.__getitem__, rng.uniform(0.8, 1.2, 500))
        assert (found.legacy, found.certain) == (frame.legacy, frame.certain)
        assert "no model here" in found.reason
        same = checked_frame(frame, lambda legacy: g[False], g[False])
        assert (same.legacy, same.certain) == (frame.legacy, True)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_directions_of_the_legacy_frame(seed: int) -> None:
    rng = np.random.default_rng(seed)
    axis, direction = rng.normal(size=3), rng.normal(size=3)
    fixed, setting = Rotation.random(2, random_state=seed).as_matrix()
    width, start = rng.uniform(0.05, 2.0), rng.uniform(-180, 180)
    goniometer = {
        "rotation_axis": axis.tolist(),
        "fixed_rotation": fixed.ravel().tolist(),
        "setting_rotation": setting.ravel().tolist(),
    }
    scan = {"image_range": [11, 100], "oscillation": [start, width]}
    entry = {"beam": 0, "goniometer": 0, "scan": 0}
    beam = {"direction": direction.tolist()}
    e = ExperimentList({"experiment": [entry], "beam": [beam], "goniometer": [goniometer], "scan": [scan]})[0]
    table = ReflectionTable()
    table["s1"] = rng.normal(size=(20, 3))
    z = rng.uniform(10, 100, 20)

    s0_crystal, s1_crystal = beam_directions(table, e, z, legacy=True)

    laboratory_axis = setting @ axis / np.linalg.norm(axis)
    back = Rotation.from_rotvec(-np.radians(z * width)[:, None] * laboratory_axis)
    for found, vectors in ((s0_crystal, np.tile(-direction, (20, 1))), (s1_crystal, table["s1"])):
        rotated = back.apply(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        assert_allclose(found, np.stack([-rotated[:, 2], rotated[:, 1], rotated[:, 0]], axis=1), atol=1e-13)


def applied(folder: Path, expt: Path, refl: Path, change: Change | None = None) -> AppliedModels:
    document = json.loads(expt.read_text())
    if change is not None:
        change(document)
    (folder / "model.expt").write_text(json.dumps(document))
    return apply_files(folder / "model.expt", [refl])


def assert_reproduces(found: AppliedModels, refl: Path) -> None:
    stored = read_refl(refl)
    good = (stored["flags"] & BAD) == 0
    assert good.sum() > 3000
    assert_allclose(found.inverse_scale_factor[good], stored["inverse_scale_factor"][good], rtol=1e-9, atol=0)
    assert_array_equal(
        found.table["inverse_scale_factor_variance"][good], stored["inverse_scale_factor_variance"][good]
    )


def _without_age(document: dict[str, Any]) -> None:
    del document["scaling_model"][0]["is_scaled"]
    document["imageset"][0]["__id__"] = "ImageSequence"


def _old(document: dict[str, Any]) -> None:
    document["scaling_model"][0]["is_scaled"] = True
    del document["history"]


@pytest.mark.data
def test_row_O17_a_model_of_2019_gives_the_scales_that_dials_stored(
    data_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = data_root / "l_cysteine_legacy"
    with caplog.at_level(logging.INFO):
        found = applied(tmp_path, folder / "scaled_30.expt", folder / "scaled_30.refl")
    assert_reproduces(found, folder / "scaled_30.refl")
    assert "crystal frame of DIALS before 2021: the model has the old key is_scaled; the stored" in caplog.text
    assert "confirm it" in caplog.text and "warning" not in caplog.text.lower()
    assert "absorption in the crystal frame of DIALS before 2021" in found.summary()


@pytest.mark.data
def test_the_stored_scales_show_the_frame_of_a_model_without_age(
    data_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = data_root / "l_cysteine_legacy"
    with caplog.at_level(logging.INFO):
        found = applied(tmp_path, folder / "scaled_30.expt", folder / "scaled_30.refl", _without_age)
    assert_reproduces(found, folder / "scaled_30.refl")
    assert "before 2021: the stored scales show it" in caplog.text


@pytest.mark.data
def test_the_stored_scales_overrule_a_wrong_mark_of_age(data_root: Path, tmp_path: Path) -> None:
    folder = data_root / "reference" / "lcys_20_physical"
    found = applied(tmp_path, folder / "scaled.expt", folder / "scaled.refl", _old)
    stored = read_refl(folder / "scaled.refl")
    good = (stored["flags"] & BAD) == 0
    assert_allclose(found.inverse_scale_factor[good], stored["inverse_scale_factor"][good], rtol=1e-9, atol=0)
    assert "2021" not in found.summary()


@pytest.mark.data
def test_a_frame_that_nothing_shows_is_a_warning(
    data_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = data_root / "l_cysteine_legacy"
    table = read_refl(folder / "scaled_30.refl")
    table["inverse_scale_factor"] = np.random.default_rng(1).uniform(0.5, 2.0, len(table))
    write_refl(table, tmp_path / "other.refl")
    applied(tmp_path, folder / "scaled_30.expt", tmp_path / "other.refl", _without_age)
    (record,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "presumed to be in today's crystal frame" in record.getMessage() and "\n" not in record.getMessage()
    caplog.clear()
    found = applied(tmp_path, folder / "scaled_30.expt", tmp_path / "other.refl")
    assert "before 2021" in found.summary()
    assert not [r for r in caplog.records if r.levelno == logging.WARNING]


@pytest.mark.data
def test_the_frame_is_that_of_the_model_file_whatever_the_reflections_are(data_root: Path, tmp_path: Path) -> None:
    folder = data_root / "l_cysteine_legacy"
    geometry = json.loads((folder / "scaled_30.expt").read_text())
    del geometry["experiment"][0]["scaling_model"], geometry["scaling_model"]
    geometry["imageset"][0]["__id__"] = "ImageSequence"
    geometry["history"] = BY_DIALS
    (tmp_path / "geometry.expt").write_text(json.dumps(geometry))
    files = [tmp_path / "geometry.expt", folder / "scaled_30.refl"]
    assert_reproduces(apply_files(folder / "scaled_30.expt", files), folder / "scaled_30.refl")


@pytest.mark.data
def test_an_applied_legacy_model_is_still_recognised(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = data_root / "l_cysteine_legacy"
    assert main(["apply", str(folder / "scaled_30.expt"), str(folder / "scaled_30.refl"), "nproc=1"]) == 0
    assert (
        main(["apply", "applied.expt", "applied.refl", "output.experiments=b.expt", "output.reflections=b.refl"]) == 0
    )
    assert capsys.readouterr().out.count("absorption in the crystal frame of DIALS before 2021") == 2
    assert_array_equal(read_refl("b.refl")["inverse_scale_factor"], read_refl("applied.refl")["inverse_scale_factor"])
    assert main(["show", "applied.expt"]) == 0
    assert "crystal frame of DIALS before 2021" in " ".join(capsys.readouterr().out.split())
