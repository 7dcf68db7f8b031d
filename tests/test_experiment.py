"""Experiment lists: what is read from every layout, what is kept, what is refused."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from pyscale.errors import DataError, UsageError
from pyscale.experiment import Experiment, ExperimentList
from pyscale.io.expt import read_expt, write_expt


def minimal(identifier: str = "a") -> dict[str, Any]:
    return {
        "__id__": "ExperimentList",
        "experiment": [
            {
                "__id__": "Experiment",
                "identifier": identifier,
                "beam": 0,
                "detector": 0,
                "goniometer": 0,
                "scan": 0,
                "crystal": 0,
                "imageset": 0,
            }
        ],
        "imageset": [{"__id__": "ImageSequence", "template": "x_###.cbf"}],
        "beam": [{"direction": [0.0, 0.0, 2.0], "wavelength": 0.98}],
        "detector": [{"panels": [{"name": "p"}]}],
        "goniometer": [{"rotation_axis": [1.0, 0.0, 0.0]}],
        "scan": [
            {
                "image_range": [3, 12],
                "oscillation": [10.0, 0.5],
                "valid_image_ranges": {identifier: [[3, 12]]},
            }
        ],
        "crystal": [
            {
                "real_space_a": [0.0, 5.0, 0.0],
                "real_space_b": [0.0, 0.0, 8.0],
                "real_space_c": [12.0, 0.0, 0.0],
                "space_group_hall_symbol": " P 2ac 2ab",
            }
        ],
        "scaling_model": [],
    }


def only(document: dict[str, Any]) -> Experiment:
    return ExperimentList(document, "x.expt")[0]


def rotation(axis: tuple[float, float, float], degrees: float) -> np.ndarray:
    """Rotation matrix from a quaternion: independent of the formula under test."""
    half = math.radians(degrees) / 2
    x, y, z = np.array(axis) / np.linalg.norm(axis) * math.sin(half)
    w = math.cos(half)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def test_values_of_a_rotation_experiment() -> None:
    experiment = only(minimal())
    assert experiment.identifier == "a"
    assert_allclose(experiment.unit_cell, (5, 8, 12, 90, 90, 90))
    assert experiment.recalculated_unit_cell is None
    assert experiment.space_group.number == 19
    assert experiment.wavelength == 0.98
    assert_allclose(experiment.beam_direction, [0, 0, 1])
    assert experiment.image_range == (3, 12)
    assert experiment.oscillation == (10.0, 0.5)
    assert experiment.oscillation_range == (10.0, 15.0)
    assert not experiment.is_still
    assert experiment.valid_image_ranges == [(3, 12)]
    assert [p["name"] for p in experiment.panels] == ["p"]
    assert experiment.scaling_model is None
    axis = experiment.rotation_axis
    assert axis is not None
    assert_allclose(axis, [1, 0, 0])
    assert_allclose(experiment.fixed_rotation, np.eye(3))


def test_a_triclinic_cell_is_recovered_in_any_orientation() -> None:
    a, b, c, alpha, beta, gamma = cell = (5.0, 7.0, 9.0, 80.0, 95.0, 103.0)
    ca, cb, cg = (math.cos(math.radians(x)) for x in (alpha, beta, gamma))
    sg = math.sin(math.radians(gamma))
    cy = (ca - cb * cg) / sg
    axes = np.array([[a, 0, 0], [b * cg, b * sg, 0], [c * cb, c * cy, c * math.sqrt(1 - cb**2 - cy**2)]])
    document = minimal()
    for name, vector in zip("abc", axes @ rotation((1, 2, 3), 77).T, strict=True):
        document["crystal"][0][f"real_space_{name}"] = vector.tolist()
    document["crystal"][0]["recalculated_unit_cell"] = [5.1, 7.1, 9.1, 80, 95, 103]
    assert_allclose(only(document).unit_cell, cell, rtol=1e-12)
    assert only(document).recalculated_unit_cell == (5.1, 7.1, 9.1, 80, 95, 103)


@pytest.mark.parametrize(
    ("scan", "oscillation", "end"),
    [
        ({"image_range": [1, 3], "properties": {"oscillation": [5.0, 5.25, 5.5]}}, (5.0, 0.25), 5.75),
        (
            {"image_range": [4, 4], "properties": {"oscillation": [5.0], "oscillation_width": [0.25]}},
            (5.0, 0.25),
            5.25,
        ),
        (
            {"image_range": [4, 4], "properties": {"oscillation": [5.0], "oscillation_width": 0.25}},
            (5.0, 0.25),
            5.25,
        ),
        ({"image_range": [1, 1800], "oscillation": [0.0, 0.1]}, (0.0, 0.1), 180.0),
    ],
)
def test_oscillation_of_modern_and_legacy_scans(
    scan: dict[str, Any], oscillation: tuple[float, float], end: float
) -> None:
    experiment = only({**minimal(), "scan": [scan]})
    assert experiment.oscillation == oscillation
    assert experiment.oscillation_range == pytest.approx((oscillation[0], end))
    assert experiment.valid_image_ranges == [tuple(scan["image_range"])]


def test_stills_are_recognised() -> None:
    for key in ("goniometer", "scan"):
        document = minimal()
        del document["experiment"][0][key]
        assert only(document).is_still
    assert only({**minimal(), "scan": [{"image_range": [1, 1], "oscillation": [0.0, 0.0]}]}).is_still
    assert only({**minimal(), "scan": [{"image_range": [1, 1], "properties": {"epochs": [0]}}]}).is_still
    document = minimal()
    document["experiment"] = [{"crystal": 0, "beam": 0}]
    still = only(document)
    assert still.identifier == ""
    assert still.image_range is None
    assert still.oscillation_range is None
    assert still.rotation_axis is None
    assert still.valid_image_ranges == []


def test_multi_axis_goniometer() -> None:
    axes = [[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.6, 0.8], [1.0, 1.0, 0.0]]
    angles = [10.0, 20.0, 30.0, 40.0]
    expected = [rotation(tuple(x), t) for x, t in zip(axes, angles, strict=True)]
    for k in range(4):
        gonio = {"axes": axes, "angles": angles, "names": list("abcd"), "scan_axis": k}
        experiment = only({**minimal(), "goniometer": [gonio]})
        before, after = np.eye(3), np.eye(3)
        for r in expected[:k]:
            before = r @ before
        for r in expected[k + 1 :]:
            after = r @ after
        axis = experiment.rotation_axis
        assert axis is not None
        assert_allclose(axis, np.array(axes[k]) / np.linalg.norm(axes[k]))
        assert_allclose(experiment.fixed_rotation, before, atol=1e-14)
        assert_allclose(experiment.setting_rotation, after, atol=1e-14)


def test_unknown_keys_pass_through_byte_for_byte(tmp_path: Path) -> None:
    document = minimal()
    document["beam"][0]["__id__"] = "time of flight"
    document["future"] = {"x": [1, {"y": None}]}
    document["tracker"] = [{"n": 1}]
    document["experiment"][0]["tracker"] = 0
    document["history"] = ["2026-01-01T00:00:00Z|dials.integrate|v3|integrated"]
    (tmp_path / "in.expt").write_text(json.dumps(document))
    write_expt(read_expt(tmp_path / "in.expt"), tmp_path / "out.expt")
    text = (tmp_path / "out.expt").read_text()
    assert json.loads(text) == document
    assert text.count("\n") < 60


def test_concatenate_shifts_all_references_and_keeps_sharing() -> None:
    first = minimal("a")
    first["experiment"].append({**first["experiment"][0], "identifier": "b"})
    first["history"] = ["one"]
    second = minimal("c")
    second["beam"][0]["wavelength"] = 1.5
    second["tracker"] = [{"n": 2}]
    second["experiment"][0]["tracker"] = 0
    second["history"] = ["two"]
    kept = copy.deepcopy([first, second])
    joined = ExperimentList.concatenate([ExperimentList(first), ExperimentList(second)])
    assert [first, second] == kept
    assert joined.identifiers == ["a", "b", "c"]
    assert [e["beam"] for e in joined.document["experiment"]] == [0, 0, 1]
    assert [e.wavelength for e in joined] == [0.98, 0.98, 1.5]
    assert joined.document["history"] == ["one", "two"]
    assert joined.document["experiment"][2]["tracker"] == 0
    backwards = joined.select([2, 0])
    assert backwards.identifiers == ["c", "a"]
    assert [e.wavelength for e in backwards] == [1.5, 0.98]
    assert len(joined.select([0, 1]).document["beam"]) == 1
    assert joined.select([0]).document["tracker"] == []


def test_scaling_models_belong_to_one_experiment() -> None:
    document = minimal()
    document["experiment"].append({**document["experiment"][0], "identifier": "b"})
    document["scaling_model"] = [{"__id__": "KB"}]
    for experiment in document["experiment"]:
        experiment["scaling_model"] = 0
    experiments = ExperimentList(document)
    experiments.set_scaling_model(1, {"__id__": "physical"})
    assert [(e.scaling_model or {})["__id__"] for e in experiments] == ["KB", "physical"]
    experiments.set_scaling_model(1, {"__id__": "array"})
    assert experiments.document["scaling_model"] == [{"__id__": "KB"}, {"__id__": "array"}]
    experiments.set_scaling_model(0, None)
    assert experiments[0].scaling_model is None
    assert (experiments[1].scaling_model or {})["__id__"] == "array"
    experiments.set_scaling_model(1, None)
    assert experiments.document["scaling_model"] == []
    experiments.set_scaling_model(0, {"__id__": "dose_decay"})
    assert experiments.document["scaling_model"] == [{"__id__": "dose_decay"}]
    assert document["scaling_model"] == [{"__id__": "KB"}]


def test_valid_image_ranges_follow_the_identifier() -> None:
    document = minimal("a")
    document["scan"][0]["valid_image_ranges"] = {"a": [[3, 5], [8, 12]]}
    experiments = ExperimentList(document)
    experiments.set_identifier(0, "7")
    assert experiments[0].valid_image_ranges == [(3, 5), (8, 12)]
    assert experiments.document["scan"][0]["valid_image_ranges"] == {"7": [[3, 5], [8, 12]]}
    experiments.set_valid_image_ranges(0, [(4, 4)])
    assert experiments[0].valid_image_ranges == [(4, 4)]
    experiments.set_valid_image_ranges(0, [])
    assert experiments[0].valid_image_ranges == []
    assert document["scan"][0]["valid_image_ranges"] == {"a": [[3, 5], [8, 12]]}


def test_ranges_of_a_shared_scan_stay_with_the_other_experiment() -> None:
    document = minimal("a")
    document["experiment"].append(dict(document["experiment"][0]))
    document["scan"][0]["valid_image_ranges"] = {"a": [[3, 5]]}
    experiments = ExperimentList(document)
    experiments.set_identifier(1, "0")
    assert [e.valid_image_ranges for e in experiments] == [[(3, 5)], [(3, 5)]]


def test_models_given_as_paths_are_read(tmp_path: Path) -> None:
    document = minimal()
    document["experiment"].append(dict(document["experiment"][0]))
    beam, crystal = document["beam"][0], document["crystal"][0]
    for experiment in document["experiment"]:
        experiment["beam"] = "models/beam.json"
    document["crystal"] = ["models/crystal.json"]
    del document["beam"]
    (tmp_path / "models").mkdir()
    (tmp_path / "models/beam.json").write_text(json.dumps(beam))
    (tmp_path / "models/crystal.json").write_text(json.dumps(crystal))
    (tmp_path / "in.expt").write_text(json.dumps(document))
    experiments = read_expt(tmp_path / "in.expt")
    assert experiments.document["beam"] == [beam]
    assert experiments[1].wavelength == 0.98
    assert experiments[0].space_group.number == 19
    (tmp_path / "models/beam.json").write_text("[1]")
    with pytest.raises(DataError, match=r"beam\.json'?: is not an object"):
        read_expt(tmp_path / "in.expt")
    (tmp_path / "models/beam.json").unlink()
    with pytest.raises(UsageError, match=r"beam 'models/beam\.json'.*No such file"):
        read_expt(tmp_path / "in.expt")


BROKEN: list[tuple[list[Any], Any, str, str]] = [
    (["beam", 0, "wavelength"], 0, "wavelength", "wavelength 0.0 is not positive"),
    (["beam", 0, "wavelength"], 10**400, "wavelength", "wavelength holds a number that is not finite"),
    (["beam", 0, "wavelength"], "1", "wavelength", "wavelength must be a list of numbers"),
    (["beam", 0, "direction"], [0, 0, 0], "beam_direction", "direction has no direction"),
    (["beam", 0, "direction"], [0, 1], "beam_direction", "direction must hold 3 numbers, not 2"),
    (["beam", 0, "direction"], None, "beam_direction", "direction is missing"),
    (["crystal", 0, "real_space_a"], [0, 0, 8], "unit_cell", "span no volume"),
    (["crystal", 0, "real_space_a"], [1e200, 0, 8], "unit_cell", "span no volume"),
    (["crystal", 0, "recalculated_unit_cell"], [5, 5, 5, 90, 90, 180], "recalculated_unit_cell", "no volume"),
    (
        ["crystal", 0, "space_group_hall_symbol"],
        "nonsense",
        "space_group",
        "'nonsense' is no known space group",
    ),
    (["crystal", 0, "space_group_hall_symbol"], 3, "space_group", "3 is no known space group"),
    (["scan", 0, "image_range"], [5, 4], "image_range", "5 to 4 is no range of images"),
    (["scan", 0, "image_range"], [1, 10**30], "image_range", "is no range of images"),
    (["scan", 0, "image_range"], [1.0, 2], "image_range", "must be two integers"),
    (["scan", 0, "oscillation"], [1], "oscillation", "oscillation must hold 2 numbers"),
    (["scan", 0, "valid_image_ranges"], [1], "valid_image_ranges", "valid_image_ranges must be an object"),
    (["scan", 0, "valid_image_ranges"], {"a": [1]}, "valid_image_ranges", "must be two integers"),
    (["goniometer", 0, "fixed_rotation"], [1] * 8, "fixed_rotation", "must hold 9 numbers, not 8"),
    (["goniometer", 0, "axes"], [], "rotation_axis", "must be a list of axes"),
    (["goniometer", 0, "axes"], [[1, 0, 0]], "rotation_axis", "scan_axis must be the number of one of 1"),
    (["detector", 0, "panels"], [1], "panels", "panels must be a list of objects"),
]


@pytest.mark.parametrize(("path", "value", "attribute", "message"), BROKEN)
def test_unsound_values_are_named(path: list[Any], value: Any, attribute: str, message: str) -> None:
    document: Any = minimal()
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(DataError, match=message) as caught:
        getattr(only(document), attribute)
    assert str(caught.value).startswith(f"x.expt: experiment 0: {path[0]}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not sound JSON"),
        ("{", "not sound JSON"),
        ('{"experiment": [NaN]}', "NaN is not a number"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "not a DIALS experiment list"),
        ("{}", "not a DIALS experiment list"),
        ('{"experiment": [3]}', "not a DIALS experiment list"),
        ('{"experiment": [{"beam": 0}]}', "experiment 0: beam 0 is not among the 0 of the file"),
        ('{"experiment": [{"beam": -1}], "beam": [{}]}', "beam -1 is not among the 1"),
        ('{"experiment": [{"beam": true}], "beam": [{}, {}]}', "beam True is not among the 2"),
        ('{"experiment": [{"beam": 0}], "beam": [5]}', "experiment 0: beam 0 must be an object"),
        ('{"experiment": [], "beam": {"x": 1}}', "beam must be a list"),
        ('{"experiment": [{"identifier": 5}]}', "identifier must be text"),
        ('{"experiment": [], "history": "x"}', "history must be a list"),
        ("\xff", "not sound JSON"),
    ],
)
def test_unsound_documents_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.expt"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(DataError, match=message) as caught:
        read_expt(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_that_json_cannot_hold_are_not_written(tmp_path: Path) -> None:
    document = minimal()
    document["future"] = math.inf
    with pytest.raises(DataError, match="cannot be written as JSON"):
        write_expt(ExperimentList(document), tmp_path / "out.expt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.data
def test_real_experiments_survive(data_root: Path, tmp_path: Path) -> None:
    paths = sorted(data_root.glob("*/*.expt")) + sorted(data_root.glob("reference/*/*.expt"))
    assert len(paths) > 10
    for path in paths:
        write_expt(read_expt(path), tmp_path / "out.expt")
        assert json.loads((tmp_path / "out.expt").read_bytes()) == json.loads(path.read_bytes())
