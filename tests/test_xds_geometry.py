"""What a reader finds wrong between positions, indices and orientation: planted in simulated sweeps, and mended."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

import pyscale
from pyscale.dataset import Job
from pyscale.io.geometry import oriented_cell
from pyscale.io.imported import InputDecision
from pyscale.io.xds_geometry import geometry_of
from pyscale.io.xds_records import XdsHeader
from pyscale.simulation import SimulatedData
from xds_files import geometry_lines, small_sweep, sweep_columns, write_integrate


@pytest.fixture(scope="module")
def data() -> SimulatedData:
    return small_sweep()


def found(path: Path, **options: Any) -> tuple[Job, dict[str, InputDecision]]:
    job = pyscale.read(path, **options)
    return job, {d.name: d for d in job.input_decisions[job.identifiers[0]]}


def angles_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    cosine = np.einsum("ij,ij->i", a, b) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def axes_of(experiment: Any) -> np.ndarray:
    return np.array([experiment.crystal[f"real_space_{name}"] for name in "abc"])


def turned(data: SimulatedData, turn: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of a crystal that has turned by vectors (n, 3) in degrees in its own frame, row by row.

    The turned reflections meet the Ewald sphere at other rotation angles, found by Newton's method.
    """
    columns, experiment = sweep_columns(data), data.experiments()[0]
    assert experiment.oscillation is not None and experiment.rotation_axis is not None
    (start, width), axis = experiment.oscillation, experiment.rotation_axis
    phi = np.radians(start + width * columns["xyz"][:, 2])
    s0 = -experiment.beam_direction / experiment.wavelength
    inside = Rotation.from_rotvec(-phi[:, None] * axis).apply(columns["s1"] - s0)
    inside = Rotation.from_rotvec(np.radians(turn)).apply(inside)
    for _ in range(20):
        r = Rotation.from_rotvec(phi[:, None] * axis).apply(inside)
        phi -= np.clip((r @ s0 + 0.5 * (r * r).sum(axis=1)) / (np.cross(axis, r) @ s0), -0.01, 0.01)
    s1 = s0 + Rotation.from_rotvec(phi[:, None] * axis).apply(inside)
    panel = experiment.panels[0]
    fast, slow, origin = (np.array(panel[name]) for name in ("fast_axis", "slow_axis", "origin"))
    normal = np.cross(fast, slow)
    at = s1 * ((origin @ normal) / (s1 @ normal))[:, None] - origin
    columns["xyz"][:, 0], columns["xyz"][:, 1] = at @ fast / panel["pixel_size"][0], at @ slow / panel["pixel_size"][1]
    columns["xyz"][:, 2] = (np.degrees(phi) - start) / width
    columns["s1"] = s1
    z = columns["xyz"][:, 2]
    good = (np.abs(np.linalg.norm(s1, axis=1) * experiment.wavelength - 1) < 1e-9) & (z > 0) & (z < 120)
    assert good.mean() > 0.8
    return {name: values[good] for name, values in columns.items()}


def test_a_crystal_that_slips_is_found_and_followed(data: SimulatedData, tmp_path: Path) -> None:
    z = sweep_columns(data)["xyz"][:, 2]
    columns = turned(data, np.outer(1.5 * z / 120.0, [0.2, -0.6, 0.77]))
    write_integrate(tmp_path / "x", data, columns)
    job, decisions = found(tmp_path / "x")
    assert decisions["slippage"].is_warning
    assert float(decisions["slippage"].value.split()[0]) == pytest.approx(1.5 * 17 / 18, abs=0.1)
    assert angles_deg(job.data_sets[0].reflections["s1"], columns["s1"]).max() < 0.01
    assert_allclose(axes_of(job.experiments[0]), axes_of(data.experiments()[0]), atol=2e-3)


def test_a_small_slip_is_nothing_to_warn_of(data: SimulatedData, tmp_path: Path) -> None:
    z = sweep_columns(data)["xyz"][:, 2]
    write_integrate(tmp_path / "x", data, turned(data, np.outer(0.05 * z / 120.0, [0.0, 0.6, 0.8])))
    assert not any(d.is_warning for d in found(tmp_path / "x")[1].values())


@pytest.mark.parametrize("frame", [0, 2])
def test_frames_off_by_one_are_mended(data: SimulatedData, tmp_path: Path, frame: int) -> None:
    write_integrate(tmp_path / "x", data, STARTING_FRAME=str(frame))
    job, decisions = found(tmp_path / "x")
    assert decisions["start_angle"].is_warning
    assert decisions["start_angle"].value.startswith("+1.0" if frame == 2 else "-1.0")
    assert job.experiments[0].oscillation is not None
    assert_allclose(job.experiments[0].oscillation, (12.0, 0.5), atol=0.01)
    assert job.experiments[0].image_range == (1, 120)


def test_a_reversed_axis_is_mended(data: SimulatedData, tmp_path: Path) -> None:
    axis = data.experiments()[0].rotation_axis
    assert axis is not None
    write_integrate(tmp_path / "x", data, ROTATION_AXIS=" ".join(f"{-x:.6f}" for x in axis))
    job, decisions = found(tmp_path / "x")
    assert decisions["rotation_axis"].is_warning
    assert_allclose(job.experiments[0].rotation_axis, axis, atol=1e-6)


def test_another_orientation_is_mended(data: SimulatedData, tmp_path: Path) -> None:
    """As in a file that was reindexed without its header."""
    axes = Rotation.from_euler("xyz", [20, 30, -40], degrees=True).apply(axes_of(data.experiments()[0]))
    changes = {f"UNIT_CELL_{n}-AXIS": " ".join(f"{x:.3f}" for x in v) for n, v in zip("ABC", axes, strict=True)}
    write_integrate(tmp_path / "x", data, **changes)
    job, decisions = found(tmp_path / "x")
    assert decisions["orientation"].is_warning
    assert_allclose(axes_of(job.experiments[0]), axes_of(data.experiments()[0]), atol=0.02)
    assert_allclose(job.experiments[0].unit_cell, data.experiments()[0].unit_cell, atol=6e-4)


def test_directions_come_from_the_indices_where_the_detector_is_wrong(data: SimulatedData, tmp_path: Path) -> None:
    write_integrate(tmp_path / "x", data, DETECTOR_DISTANCE="260.0")
    job, decisions = found(tmp_path / "x")
    assert decisions["s1"].is_warning
    assert angles_deg(job.data_sets[0].reflections["s1"], sweep_columns(data)["s1"]).max() < 0.05


def test_hopeless_geometry_is_told(data: SimulatedData, tmp_path: Path) -> None:
    columns = sweep_columns(data)
    columns["hkl"] = columns["hkl"][np.random.default_rng(2).permutation(len(columns["hkl"]))]
    write_integrate(tmp_path / "x", data, columns)
    job, decisions = found(tmp_path / "x")
    assert decisions["geometry"].value == "in doubt"
    assert decisions["geometry"].is_warning
    assert angles_deg(job.data_sets[0].reflections["s1"], columns["s1"]).max() < 0.01


def test_few_reflections_are_not_judged(data: SimulatedData, tmp_path: Path) -> None:
    columns = {name: values[:15] for name, values in sweep_columns(data).items()}
    write_integrate(tmp_path / "x", data, columns)
    assert found(tmp_path / "x")[1]["geometry"].value == "unchecked"


def test_findings_do_not_depend_on_the_order_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyscale.io.geometry_check._MOST_ROWS", 500)
    data = small_sweep(d_min=3.0)
    z = sweep_columns(data)["xyz"][:, 2]
    columns = turned(data, np.outer(z / 100.0, [0.0, 0.6, 0.8]))
    order = np.random.default_rng(0).permutation(len(columns["hkl"]))
    write_integrate(tmp_path / "x", data, columns)
    write_integrate(tmp_path / "y", data, {name: values[order] for name, values in columns.items()})
    (job_x, x), (job_y, y) = found(tmp_path / "x"), found(tmp_path / "y")
    assert x["slippage"].value == y["slippage"].value
    assert_allclose(axes_of(job_x.experiments[0]), axes_of(job_y.experiments[0]))


def test_a_detector_seen_from_behind_has_a_negative_distance(data: SimulatedData, tmp_path: Path) -> None:
    document, columns = copy.deepcopy(data.document), sweep_columns(data)
    panel = document["detector"][0]["panels"][0]
    width = panel["image_size"][0] * panel["pixel_size"][0]
    panel["origin"] = (np.array(panel["origin"]) + width * np.array(panel["fast_axis"])).tolist()
    panel["fast_axis"] = [-x for x in panel["fast_axis"]]
    columns["xyz"][:, 0] = panel["image_size"][0] - columns["xyz"][:, 0]
    entries = geometry_lines(data.experiments()[0], document)
    assert float(entries["DETECTOR_DISTANCE"]) < 0
    write_integrate(tmp_path / "x", data, columns, **entries)
    job, decisions = found(tmp_path / "x")
    assert decisions["geometry"].value == "as in the header"
    assert angles_deg(job.data_sets[0].reflections["s1"], columns["s1"]).max() < 0.01


def test_segments_have_planes_of_their_own(data: SimulatedData) -> None:
    """By the formula of the XDS documentation: x = QX (IX - ORGXS) EDSL1 + QY (IY - ORGYS) EDSL2 + FS EDSL3 + ORG."""
    entries = geometry_lines(data.experiments()[0], data.document)
    lines = "".join(f"!{key}= {value}\n" for key, value in entries.items())
    tilted = Rotation.from_euler("xyz", [10.0, -5.0, 1.0], degrees=True).as_matrix()
    shapes = [(np.eye(3), 0.0, 0.0, 0.0), (tilted, 1000.5, 700.25, 12.0)]
    for number, (axes, x, y, distance) in enumerate(shapes):
        lines += f"!SEGMENT= {1000 * number + 1} {1000 * number + 1000} 1 2527\n"
        for name, axis in zip("XY", axes, strict=False):
            lines += f"!DIRECTION_OF_SEGMENT_{name}-AXIS= {axis[0]:.9f} {axis[1]:.9f} {axis[2]:.9f}\n"
        lines += f"!SEGMENT_ORGX= {x}  SEGMENT_ORGY= {y}\n!SEGMENT_DISTANCE= {distance}\n"
    header = XdsHeader.of("x", lines)
    geometry = geometry_of(header, 1.0, tuple(data.experiments()[0].unit_cell))
    assert len(geometry.segments) == 2
    (qx,), (qy,), (org_x,), (org_y,), (f,) = (
        header.numbers(key, 1) for key in ("QX", "QY", "ORGX", "ORGY", "DETECTOR_DISTANCE")
    )
    ed = np.stack([header.direction(f"DIRECTION_OF_DETECTOR_{c}-AXIS") for c in "XY"])
    ed = np.vstack([ed, np.cross(*ed)]).T
    org = -org_x * qx * ed[:, 0] - org_y * qy * ed[:, 1] + f * ed[:, 2]
    ix, iy = np.array([100.0, 1500.0, 1700.0]), np.array([50.0, 60.0, 2000.0])
    segment = np.array([0, 1, 1], np.int32)
    expected = []
    for i, j, (axes, x, y, distance) in zip(ix, iy, [shapes[s] for s in segment], strict=True):
        edsl = ed @ axes.T
        expected.append(qx * (i - x) * edsl[:, 0] + qy * (j - y) * edsl[:, 1] + distance * edsl[:, 2] + org)
    beams = geometry.beams_from_detector(np.stack([ix - 0.5, iy - 0.5], axis=1), segment)
    assert_allclose(beams, np.array(expected) / np.linalg.norm(expected, axis=1)[:, None], atol=1e-8)


def test_an_oriented_cell_has_its_lengths_and_the_axes_directions() -> None:
    cell = (30.0, 40.0, 50.0, 90.0, 105.0, 90.0)
    upright = oriented_cell(cell, np.array([[30.0, 0, 0], [0, 40, 0], [50 * np.cos(np.radians(105)), 0, 48.3]]))
    turn = Rotation.from_euler("xyz", [20, -70, 130], degrees=True)
    assert_allclose(oriented_cell(cell, turn.apply(upright)), turn.apply(upright), atol=1e-10)
    rough = turn.apply(upright) * 1.001
    assert_allclose(np.linalg.norm(oriented_cell(cell, rough), axis=1), cell[:3])
    assert_allclose(oriented_cell(cell, rough), turn.apply(upright), atol=1e-9)
