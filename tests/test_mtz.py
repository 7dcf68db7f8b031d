"""MTZ files read back by gemmi and by iotbx."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

from pyscale.errors import DataError
from pyscale.io.batch_numbers import batch_offsets
from pyscale.io.merged_mtz import write_merged_mtz
from pyscale.io.mtz import (
    MtzDataset,
    MtzSweep,
    UnmergedReflections,
    write_unmerged_mtz,
)
from pyscale.merging import MergedReflections, merge_reflections
from pyscale.symmetry import possible_reflections, rotation_matrices

CELLS = {
    "P 1": (15, 16, 18, 81, 95, 104),
    "P -1": (15, 16, 18, 81, 95, 104),
    "P 21 21 21": (21, 25, 31, 90, 90, 90),
    "P 43 21 2": (32, 32, 24, 90, 90, 90),
    "R 3:H": (35, 35, 40, 90, 90, 120),
    "C 1 2 1": (35, 21, 26, 90, 103, 90),
}


def observations(name: str, n: int = 1500, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    unique = possible_reflections(CELLS[name], name, 3.0)
    rotations = rotation_matrices(name)
    index = np.einsum(
        "ni,nij->nj",
        unique[rng.integers(0, len(unique), n)],
        rotations[rng.integers(0, len(rotations), n)],
    )
    index = (index * rng.choice([-1, 1], n)[:, None]).astype(np.int32)
    return index, rng.normal(100, 30, n), rng.uniform(20, 90, n)


def dataset(name: str, wavelength: float = 0.9795) -> MtzDataset:
    return MtzDataset(wavelength, CELLS[name], project="Proj", crystal="Lyso", dataset="Peak")


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.skipif(not hasattr(gemmi.Intensities, "merged"), reason="the oracle needs gemmi 0.7.4")
def test_merged_columns_equal_the_merge_of_gemmi(name: str, tmp_path: Path) -> None:
    index, intensity, variance = observations(name)
    merged = merge_reflections(index, intensity, variance, name)
    path = tmp_path / "merged.mtz"
    write_merged_mtz(path, merged, dataset(name), name, history=["pyscale test"])
    mtz = gemmi.read_mtz_file(str(path))
    types = {c.label: c.type for c in mtz.columns}
    assert "".join(types.values()) == "HHHJQKMKMIII"
    assert list(types)[3:] == ["IMEAN", "SIGIMEAN", "I(+)", "SIGI(+)", "I(-)", "SIGI(-)", "N", "N(+)", "N(-)"]
    assert mtz.spacegroup.xhm() == name and mtz.history == ["pyscale test"]
    entry = mtz.datasets[1]
    assert (entry.project_name, entry.crystal_name, entry.dataset_name) == ("Proj", "Lyso", "Peak")
    assert entry.wavelength == pytest.approx(0.9795)
    assert entry.cell.parameters == pytest.approx(CELLS[name])
    unit = gemmi.ReciprocalAsu(mtz.spacegroup)
    assert all(unit.is_in(h) for h in mtz.make_miller_array().tolist())

    theirs = gemmi.Intensities()
    theirs.set_data(mtz.cell, mtz.spacegroup, index, intensity, np.sqrt(variance))
    mean, mates = theirs.merged(gemmi.DataType.Mean), theirs.merged(gemmi.DataType.Anomalous)
    np.testing.assert_array_equal(mtz.make_miller_array(), mean.miller_array)
    np.testing.assert_allclose(mtz.column_with_label("IMEAN").array, mean.value_array, rtol=1e-6)
    np.testing.assert_allclose(mtz.column_with_label("SIGIMEAN").array, mean.sigma_array, rtol=1e-6)
    np.testing.assert_array_equal(mtz.column_with_label("N").array, mean.nobs_array)
    row = {tuple(h): k for k, h in enumerate(mtz.make_miller_array().tolist())}
    seen = 0
    for k, (h, sign) in enumerate(zip(mates.miller_array.tolist(), mates.isign_array, strict=True)):
        side = "(-)" if sign < 0 else "(+)"
        for label, value in (("I", mates.value_array[k]), ("SIGI", mates.sigma_array[k])):
            assert mtz.column_with_label(label + side).array[row[tuple(h)]] == pytest.approx(value, rel=1e-6)
        assert mtz.column_with_label("N" + side).array[row[tuple(h)]] == mates.nobs_array[k]
        seen += 1
    both = [np.asarray(mtz.column_with_label(f"I({side})").array) for side in "+-"]
    assert sum(int(np.isfinite(column).sum()) for column in both) == seen
    assert np.all((np.asarray(mtz.column_with_label("N(-)").array) == 0) == np.isnan(both[1]))


@pytest.mark.skipif(not hasattr(gemmi.Intensities, "merged"), reason="the oracle needs gemmi 0.7.4")
def test_reading_the_merged_file_as_gemmi_does_gives_the_same_intensities(tmp_path: Path) -> None:
    name = "P 1"
    columns = observations(name)
    write_merged_mtz(tmp_path / "m.mtz", merge_reflections(*columns, name), dataset(name), name)
    found = gemmi.Intensities()
    found.import_mtz(gemmi.read_mtz_file(str(tmp_path / "m.mtz")), gemmi.DataType.Anomalous)
    expected = gemmi.Intensities()
    expected.set_data(gemmi.UnitCell(*CELLS[name]), gemmi.SpaceGroup(name), *columns[:2], np.sqrt(columns[2]))
    expected = expected.merged(gemmi.DataType.Anomalous)
    found.sort()
    expected.sort()
    np.testing.assert_array_equal(found.miller_array, expected.miller_array)
    np.testing.assert_array_equal(found.isign_array, expected.isign_array)
    np.testing.assert_allclose(found.value_array, expected.value_array, rtol=1e-6)


def test_absent_reflections_and_bad_variances_are_not_written(tmp_path: Path) -> None:
    index = np.array([[3, 0, 0], [2, 1, 0], [2, 1, 1]], dtype=np.int32)
    merged = merge_reflections(index, np.ones(3), np.array([1.0, 1.0, 0.0]), "P 21 21 21")
    write_merged_mtz(tmp_path / "m.mtz", merged, dataset("P 21 21 21"), "P 21 21 21")
    mtz = gemmi.read_mtz_file(str(tmp_path / "m.mtz"))
    assert mtz.make_miller_array().tolist() == [[2, 1, 0]]
    assert math.isnan(mtz.column_with_label("I(-)").array[0])


# --- unmerged ---------------------------------------------------------------------------------------------


def rotation(axis: np.ndarray, degrees: float) -> np.ndarray:
    """Rodrigues' formula."""
    k = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -k[2], k[1]], [k[2], 0, -k[0]], [-k[1], k[0], 0]])
    angle = math.radians(degrees)
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def sweep(name: str, seed: int, **changes: Any) -> MtzSweep:
    rng = np.random.default_rng(seed)
    reciprocal = np.asarray(gemmi.UnitCell(*CELLS[name]).frac.mat.tolist()).T
    turn = rotation(rng.normal(size=3), 123.0)
    plain = MtzSweep(
        dataset=dataset(name),
        image_range=(1, 20),
        oscillation=(10.0, 0.5),
        rotation_axis=(0.6, 0.79, 0.1),
        s0=(0.02, -0.01, -1.0),
        setting_matrix=turn @ reciprocal,
        detector_distance=190.0,
        detector_size=(2463.0, 2527.0),
        mosaicity=0.13,
    )
    return replace(plain, **changes)


def unmerged(name: str, n_sweeps: int = 2) -> UnmergedReflections:
    index, intensity, variance = observations(name, n=600)
    rng = np.random.default_rng(9)
    n = len(index)
    return UnmergedReflections(
        miller_index=index,
        sweep=rng.integers(0, n_sweeps, n),
        image=rng.integers(1, 21, n),
        intensity=intensity,
        sigma=np.sqrt(variance),
        scale=rng.uniform(0.5, 2, n),
        scale_sigma=rng.uniform(0, 0.1, n),
        fraction_calc=np.ones(n),
        x_det=rng.uniform(0, 2463, n),
        y_det=rng.uniform(0, 2527, n),
        rot=rng.uniform(10, 20, n),
        lp=rng.uniform(0.1, 1, n),
        qe=rng.uniform(0.5, 1, n),
    )


LABELS = {
    "intensity": "I",
    "sigma": "SIGI",
    "scale": "SCALEUSED",
    "scale_sigma": "SIGSCALEUSED",
    "fraction_calc": "FRACTIONCALC",
    "x_det": "XDET",
    "y_det": "YDET",
    "rot": "ROT",
    "lp": "LP",
    "qe": "QE",
}


def sorted_rows(*columns: Any) -> np.ndarray:
    """Rows of a table in a fixed order, as the file may have any; single precision, as in the file."""
    table = np.column_stack([np.asarray(c, dtype=np.float32) for c in columns])
    return table[np.lexsort(table.T)]


@pytest.mark.parametrize("name", CELLS)
def test_original_indices_and_all_columns_come_back(name: str, tmp_path: Path) -> None:
    table = unmerged(name)
    sweeps = [sweep(name, 1), sweep(name, 2)]
    offsets = write_unmerged_mtz(tmp_path / "u.mtz", table, sweeps, name, title="A title")
    assert offsets == [0, 100]
    mtz = gemmi.read_mtz_file(str(tmp_path / "u.mtz"))
    assert mtz.title == "A title"
    assert "".join(c.type for c in mtz.columns) == "HHHYBJQRRRRRRRR"
    assert [c.label for c in mtz.columns][3:] == ["M/ISYM", "BATCH", *LABELS.values()]
    unit = gemmi.ReciprocalAsu(mtz.spacegroup)
    assert all(unit.is_in(h) for h in mtz.make_miller_array().tolist())
    keys = np.asarray(mtz.array)[:, :5]
    np.testing.assert_array_equal(np.lexsort(keys.T[::-1]), np.arange(len(keys)))
    assert mtz.sort_order == [1, 2, 3, 4, 5]
    assert mtz.switch_to_original_hkl()
    batch = table.image + np.array(offsets)[table.sweep]
    ours = sorted_rows(*table.miller_index.T, batch, *(getattr(table, key) for key in LABELS))
    theirs = sorted_rows(
        *mtz.make_miller_array().T, *(mtz.column_with_label(x).array for x in ("BATCH", *LABELS.values()))
    )
    np.testing.assert_array_equal(ours, theirs)
    assert [b.number for b in mtz.batches] == [*range(1, 21), *range(101, 121)]


@pytest.mark.parametrize("name", ["P 21 21 21", "C 1 2 1", "P 1", "R 3:H"])
def test_batch_orientation_predicts_reciprocal_vectors(name: str, tmp_path: Path) -> None:
    """U B h turned about z by phi, of the headers, are our vectors seen in the Cambridge frame."""
    s = sweep(name, 4)
    write_unmerged_mtz(tmp_path / "u.mtz", unmerged(name, 1), [s], name)
    batch = gemmi.read_mtz_file(str(tmp_path / "u.mtz")).batches[3]
    floats = np.array(list(batch.floats))
    u = floats[6:15].reshape(3, 3).T
    np.testing.assert_allclose(u @ u.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(u) == pytest.approx(1, abs=1e-6)
    r = gemmi.UnitCell(*CELLS[name]).reciprocal()
    # Busing & Levy's B from the reciprocal metric alone: upper triangular with positive diagonal.
    metric = np.array(
        [
            [r.a**2, r.a * r.b * math.cos(math.radians(r.gamma)), r.a * r.c * math.cos(math.radians(r.beta))],
            [0, r.b**2, r.b * r.c * math.cos(math.radians(r.alpha))],
            [0, 0, r.c**2],
        ]
    )
    metric = metric + np.triu(metric, 1).T
    b = np.linalg.cholesky(metric).T
    index = np.array([[1, 2, 3], [-4, 0, 2], [5, -1, -3]])
    phi = 0.5 * (floats[36] + floats[37])
    assert phi == pytest.approx(10 + 3.5 * 0.5)
    theirs = index @ (rotation(np.array([0, 0, 1.0]), phi) @ u @ b).T
    ours = index @ (rotation(np.asarray(s.rotation_axis), phi) @ s.setting_matrix).T
    # Lengths, angles to the axis and to the beam do not depend on the frame.
    np.testing.assert_allclose(theirs @ theirs.T, ours @ ours.T, atol=1e-6)
    axis = np.asarray(s.rotation_axis) / np.linalg.norm(s.rotation_axis)
    np.testing.assert_allclose(theirs[:, 2], ours @ axis, atol=1e-6)
    source = floats[83:86]
    beam = np.asarray(s.s0) / np.linalg.norm(s.s0)
    np.testing.assert_allclose(theirs @ source, -(ours @ beam), atol=1e-6)
    assert source[1] == pytest.approx(0, abs=1e-7) and source[0] < 0


def test_stills_and_missing_geometry_have_headers_too(tmp_path: Path) -> None:
    name = "P 21 21 21"
    plain = MtzSweep(dataset(name), (7, 7))
    parallel = sweep(name, 1, rotation_axis=(0.0, 0.0, 1.0), s0=(0.0, 0.0, -1.0), image_range=(7, 7))
    table = replace(unmerged(name), image=np.full(600, 7), lp=None, qe=None)
    assert write_unmerged_mtz(tmp_path / "u.mtz", table, [plain, parallel], name) == [0, 94]
    mtz = gemmi.read_mtz_file(str(tmp_path / "u.mtz"))
    assert "LP" not in mtz.column_labels()
    assert np.all(np.isfinite([list(b.floats) for b in mtz.batches]))


def test_sweeps_of_two_wavelengths_are_two_data_sets(tmp_path: Path) -> None:
    name = "P 21 21 21"
    sweeps = [
        sweep(name, 1),
        sweep(name, 2, dataset=dataset(name, 1.2)),
        sweep(name, 3, image_range=(31, 50)),
    ]
    table = replace(unmerged(name), sweep=np.arange(600) % 2)
    assert write_unmerged_mtz(tmp_path / "u.mtz", table, sweeps, name) == [0, 100, 0]
    mtz = gemmi.read_mtz_file(str(tmp_path / "u.mtz"))
    assert [d.wavelength for d in mtz.datasets] == pytest.approx([0, 0.9795, 1.2])
    found = {b.number: (b.dataset_id, b.wavelength) for b in mtz.batches}
    assert found[1] == (1, pytest.approx(0.9795)) and found[101] == (2, pytest.approx(1.2))
    assert found[31][0] == 1


def test_an_observation_beyond_its_sweep_is_an_error(tmp_path: Path) -> None:
    table = unmerged("P 1")
    table.image[17] = 21
    with pytest.raises(DataError, match="observation 17 lies on image 21, outside the images 1 to 20") as error:
        write_unmerged_mtz(tmp_path / "u.mtz", table, [sweep("P 1", 1), sweep("P 1", 2)], "P 1")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "u.mtz").exists()


@pytest.mark.parametrize(
    ("ranges", "offsets"),
    [
        ([(1, 90), (1, 90)], [0, 100]),
        ([(1, 90), (91, 180)], [0, 0]),
        ([(1, 100), (1, 100)], [0, 200]),
        ([(1, 90), (50, 120), (1, 10)], [0, 51, 200]),
        ([(0, 9)], [101]),
        ([(301, 310), (1, 10), (305, 306)], [0, 0, 96]),
    ],
)
def test_batch_offsets(ranges: list[tuple[int, int]], offsets: list[int]) -> None:
    assert batch_offsets(ranges) == offsets
    taken = [range(a + o, b + o + 1) for (a, b), o in zip(ranges, offsets, strict=True)]
    numbers = [n for r in taken for n in r]
    assert len(set(numbers)) == len(numbers) and min(numbers) > 0


# --- iotbx ------------------------------------------------------------------------------------------------


def read_by_iotbx(run_oracle: Callable[..., None], path: Path) -> dict[str, Any]:
    out = path.with_suffix(".json")
    run_oracle("cctbx_mtz.py", path, out)
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def test_iotbx_reads_the_merged_file(run_oracle: Callable[..., None], tmp_path: Path) -> None:
    name = "C 1 2 1"
    merged: MergedReflections = merge_reflections(*observations(name), name)
    write_merged_mtz(tmp_path / "m.mtz", merged, dataset(name), name, title="T")
    found = read_by_iotbx(run_oracle, tmp_path / "m.mtz")
    assert found["space_group"] == "C 1 2 1" and found["title"] == "T"
    assert found["crystals"][-1][:2] == ["Proj", "Lyso"] and found["crystals"][-1][3] == "Peak"
    assert found["crystals"][-1][2] == pytest.approx(CELLS[name])
    assert "".join(found["columns"].values()) == "HHHJQKMKMIII"
    assert sorted(found["values"]["IMEAN"]) == pytest.approx(np.sort(merged.intensity), rel=1e-6)
    missing = sum(found["values"][f"I({side})"].count(None) for side in "+-")
    assert missing == np.isnan(merged.intensity_minus).sum() + np.isnan(merged.intensity_plus).sum()


def test_iotbx_reads_the_unmerged_file(run_oracle: Callable[..., None], tmp_path: Path) -> None:
    name = "P 43 21 2"
    table, s = unmerged(name, 1), sweep(name, 3)
    write_unmerged_mtz(tmp_path / "u.mtz", table, [s], name)
    found = read_by_iotbx(run_oracle, tmp_path / "u.mtz")
    original = sorted_rows(*np.array(found["original"]).T, found["values"]["I"])
    np.testing.assert_array_equal(original, sorted_rows(*table.miller_index.T, table.intensity))
    batch = found["batches"][4]
    expected = {
        "num": 5,
        "nbsetid": 1,
        "phistt": 12.0,
        "phiend": 12.5,
        "phirange": 0.5,
        "alambd": 0.9795,
        "ngonax": 1,
        "ndet": 1,
        "ldtype": 2,
        "jsaxs": 1,
        "cell": CELLS[name],
        "scanax": [0, 0, 1],
        "e1": [0, 0, 1],
        "source": [-1, 0, 0],
        "dx": [190, 0],
    }
    for key, value in expected.items():
        assert batch[key] == pytest.approx(value, rel=1e-6), key
    assert batch["detlm"][:4] == [0, 2463, 0, 2527]
    assert np.linalg.det(np.reshape(batch["umat"], (3, 3))) == pytest.approx(1, abs=1e-5)
