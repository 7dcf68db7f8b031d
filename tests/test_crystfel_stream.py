"""CrystFEL streams."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import other_formats
import pyscale
from other_formats import Still
from pyscale.errors import DataError
from pyscale.io.crystfel_geometry import parse_geometry


@pytest.fixture(scope="module")
def stills() -> list[Still]:
    return other_formats.simulated_stills()


@pytest.fixture(scope="module")
def text(stills: list[Still]) -> str:
    return other_formats.stream_text(stills)


def write(folder: Path, text: str) -> Path:
    path = folder / "run.stream"
    path.write_text(text)
    return path


def test_each_crystal_is_a_still_with_its_geometry(tmp_path: Path, stills: list[Still], text: str) -> None:
    job = pyscale.read(write(tmp_path, text))
    assert len(job.data_sets) == len(stills)
    wavelength = 12398.41984 / other_formats.ENERGY
    for data_set, still in zip(job.data_sets, stills, strict=True):
        experiment, table = data_set.experiment, data_set.reflections
        assert experiment.is_still
        np.testing.assert_array_equal(table["miller_index"], still.index)
        np.testing.assert_allclose(table["intensity.sum.value"], still.intensity, atol=0.006)
        np.testing.assert_allclose(np.sqrt(table["intensity.sum.variance"]), still.sigma, atol=0.006)
        np.testing.assert_allclose(table["xyzobs.px.value"][:, :2], still.place, atol=6e-4)
        # A thousandth of a pixel at 0.12 m
        np.testing.assert_allclose(table["s1"] * wavelength, still.direction, atol=2e-6)
        np.testing.assert_allclose(1.0 / table["lp"], 1.0 - still.direction[:, 0] ** 2, atol=1e-5)
        np.testing.assert_allclose(experiment.unit_cell, other_formats.CELL, rtol=1e-6)
        np.testing.assert_allclose(experiment.beam_direction, [0, 0, -1])
        assert experiment.wavelength == pytest.approx(wavelength, rel=1e-6)
    assert job.data_sets[1].experiment.imageset["images"] == ["run/0.h5 tag-5//1"]
    assert len(set(job.identifiers)) == len(stills)


def test_scales_are_found(tmp_path: Path, stills: list[Still], text: str) -> None:
    result = pyscale.scale(pyscale.read(write(tmp_path, text)), nproc=1, KB={"decay_correction": False})
    g, number = np.asarray(result.inverse_scale_factor), result.table["id"]
    found = np.log([np.median(g[number == k]) for k in range(len(stills))])
    true = np.log([s.scale for s in stills])
    assert np.std(found - true) < 0.03
    assert np.std(true) > 0.3


def test_line_ends_of_windows_are_read(tmp_path: Path, text: str) -> None:
    unix = pyscale.read(write(tmp_path, text), space_group="P222")
    (tmp_path / "windows").write_bytes(text.replace("\n", "\r\n").encode())
    windows = pyscale.read(tmp_path / "windows", space_group="P222")
    assert windows.identifiers == unix.identifiers
    for a, b in zip(unix.data_sets, windows.data_sets, strict=True):
        np.testing.assert_array_equal(a.reflections["s1"], b.reflections["s1"])


def test_beams_follow_from_the_orientation_without_a_detector(tmp_path: Path, stills: list[Still]) -> None:
    text = other_formats.stream_text(stills[:4], geometry="clen = 0.1\nres = 10000\na/fs = 1.0x\n")
    job = pyscale.read(write(tmp_path, text))
    for data_set, still in zip(job.data_sets, stills, strict=False):
        beam = data_set.reflections["s1"] * data_set.experiment.wavelength
        np.testing.assert_allclose(beam, still.direction, atol=1e-6)


def test_without_orientation_and_detector_there_is_no_beam(tmp_path: Path, stills: list[Still]) -> None:
    text = other_formats.stream_text(stills[:6], geometry="", with_axes=False)
    job = pyscale.read(write(tmp_path, text))
    assert "s1" not in job.data_sets[0].reflections and "lp" not in job.data_sets[0].reflections
    np.testing.assert_allclose(job.data_sets[0].experiment.unit_cell, other_formats.CELL)
    assert any(d.name == "beam_directions" and d.is_warning for d in job.input_decisions[job.identifiers[0]])


@pytest.mark.parametrize(
    ("lattice", "centring", "name"),
    [
        ("triclinic", "P", "P 1"),
        ("monoclinic", "P", "P 1 2 1"),
        ("monoclinic", "C", "C 1 2 1"),
        ("orthorhombic", "P", "P 2 2 2"),
        ("orthorhombic", "F", "F 2 2 2"),
    ],
)
def test_lattices_of_one_laue_class_tell_the_rotations(
    tmp_path: Path, stills: list[Still], lattice: str, centring: str, name: str
) -> None:
    path = write(tmp_path, other_formats.stream_text(stills[:2], lattice=lattice, centring=centring))
    job = pyscale.read(path)
    assert job.data_sets[0].experiment.space_group.xhm() == name
    (decision,) = (d for d in job.input_decisions[job.identifiers[0]] if d.name == "space_group")
    assert decision.is_warning and "give space_group=" in decision.reason


@pytest.mark.parametrize("lattice", ["tetragonal", "hexagonal", "rhombohedral", "cubic", "?"])
def test_other_lattices_need_a_space_group(tmp_path: Path, stills: list[Still], lattice: str) -> None:
    path = write(tmp_path, other_formats.stream_text(stills[:2], lattice=lattice))
    with pytest.raises(DataError, match=rf"{lattice.replace('?', '.')} P\): give space_group="):
        pyscale.read(path)
    assert pyscale.read(path, space_group="P212121").data_sets[0].experiment.space_group.number == 19


def test_a_wavelength_may_be_given(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, "\n".join(x for x in text.splitlines() if not x.startswith("photon_energy_eV")) + "\n")
    with pytest.raises(DataError, match="no photon energy stands with some images: give wavelength="):
        pyscale.read(path)
    assert pyscale.read(path, wavelength=1.25).data_sets[0].experiment.wavelength == 1.25


def test_streams_cut_within_an_image_are_refused(tmp_path: Path, stills: list[Still]) -> None:
    text = other_formats.stream_text(stills[:2], per_chunk=1)
    for stop in range(text.index("--- Begin crystal"), len(text) - 5, 97):
        if "----- Begin chunk -----" not in text[:stop].rpartition("----- End chunk -----")[2]:
            continue
        with pytest.raises(DataError, match=r"run\.stream: ") as info:
            pyscale.read(write(tmp_path, text[:stop]))
        assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("num_reflections = ", "num_reflections = 1", "reflections has .* lines"),
        ("     7.50 ", "     x.50 ", "column background"),
        ("sigma(I)", "sigma", "no column sigma"),
        ("End of reflections", "End of reflectionz", "has no end"),
    ],
)
def test_faults_are_named(tmp_path: Path, stills: list[Still], old: str, new: str, message: str) -> None:
    text = other_formats.stream_text(stills[:2])
    assert old in text
    path = write(tmp_path, text.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        pyscale.read(path)


def test_damaged_streams_are_read_or_refused(tmp_path: Path, stills: list[Still]) -> None:
    text = other_formats.stream_text(stills[:2], per_chunk=1)
    random = np.random.default_rng(3)
    words = ["", "\x00", "nan", "1e999", "-", "=", "\n", "--- Begin crystal\n", "End of reflections\n", "9" * 400]
    n_refused = 0
    for _ in range(400):
        at = int(random.integers(30, len(text)))
        damaged = text[:at] + words[random.integers(len(words))] + text[at + int(random.integers(0, 30)) :]
        try:
            pyscale.read(write(tmp_path, damaged))
        except DataError as error:
            n_refused += 1
            assert "\n" not in str(error)
    assert n_refused > 20


def test_vectors_and_lengths_of_geometry_files() -> None:
    geometry = parse_geometry(
        "res = 5000\nclen = 150 mm ; comment\np/fs = x\np/ss = -0.5y +0.25z\n"
        "p/corner_x = 10\np/corner_y = -2\nbad_x/fs = 1\n"
    )
    assert geometry is not None
    np.testing.assert_array_equal(geometry.axes, [[[1, 0, 0], [0, -0.5, 0.25]]])
    assert geometry.distance.tolist() == [0.15]
    unit = geometry.directions(np.array([0, -1]), np.array([3.0, 0.0]), np.array([4.0, 0.0]), np.full(2, np.nan))
    place = np.array([13.0, -4.0, 1.0]) / 5000 + [0, 0, 0.15]
    np.testing.assert_allclose(unit[0], place / np.linalg.norm(place))
    assert np.isnan(unit[1]).all()
    assert parse_geometry("") is None and parse_geometry("p/fs = q\np/ss = y\np/res = 1") is None


def test_many_portions_are_as_one(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, text)
    whole = pyscale.read(path)
    monkeypatch.setattr("pyscale.io.crystfel_reflections._MOST_BYTES", 100)
    small = pyscale.read(path)
    for a, b in itertools.zip_longest(whole.data_sets, small.data_sets):
        assert a.identifier == b.identifier
        for name in a.reflections.names():
            np.testing.assert_array_equal(a.reflections[name], b.reflections[name])


def test_real_stream(data_root: Path) -> None:
    path = data_root / "sfx_stream" / "test.stream"
    job = pyscale.read(path, space_group="C2221")
    assert len(job.data_sets) == 32
    assert sum(len(d.reflections) for d in job.data_sets) == 7966
    assert_beams_agree_with_orientations(job.data_sets)


def assert_beams_agree_with_orientations(data_sets: Sequence[pyscale.dataset.DataSet]) -> None:
    """Two ways that share nothing but the wavelength: places on 64 panels, and reciprocal axes."""
    for data_set in data_sets:
        crystal = data_set.experiment.crystal
        axes = np.array([crystal[f"real_space_{x}"] for x in "abc"])
        wavelength = data_set.experiment.wavelength
        beam = data_set.reflections["miller_index"] @ np.linalg.inv(axes).T + [0, 0, 1 / wavelength]
        beam /= np.linalg.norm(beam, axis=1)[:, None]
        seen = data_set.reflections["s1"] * wavelength
        assert np.degrees(np.arccos(np.clip((beam * seen).sum(axis=1), -1, 1))).max() < 0.1
