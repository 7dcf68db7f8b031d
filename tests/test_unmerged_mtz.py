"""Unmerged MTZ files read back to the truth that they were written from, and files that lie."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

import pyscale
from mtz_files import CELL, DISTANCE, GROUP, PIXEL, REFLECTING_RANGE, SimulatedSweep, simulate_sweep, write_mtz
from pyscale.errors import DataError, UsageError
from pyscale.exports import write_unmerged
from pyscale.flags import Flag
from pyscale.io.imported import INPUT_FATES, ImportedDataSet
from pyscale.io.mtz_batches import pack_batches, unpack_batches
from pyscale.io.unmerged_mtz import read_unmerged_mtz
from pyscale.options.importing import InputOptions
from pyscale.result import ScalingResult


@pytest.fixture(scope="module")
def sweep() -> SimulatedSweep:
    return simulate_sweep()


def read(path: Path, **options: Any) -> list[ImportedDataSet]:
    return read_unmerged_mtz(path, InputOptions(**options))


def decision(data_set: ImportedDataSet, name: str) -> Any:
    found = [d for d in data_set.decisions if d.name == name]
    return found[0] if found else None


def is_recorded(sweep: SimulatedSweep) -> np.ndarray:
    """Spots of which at least 95 % are on images."""
    end = sweep.start + sweep.n_images * sweep.width
    low, high = sweep.angle - REFLECTING_RANGE / 2, sweep.angle + REFLECTING_RANGE / 2
    lost = np.maximum(sweep.start - low, 0) + np.maximum(high - end, 0)
    return lost / REFLECTING_RANGE <= 0.05


def check_geometry(data_set: ImportedDataSet, sweep: SimulatedSweep, tolerance: float = 1e-4) -> None:
    """Indices, centroids, beams in their own frame, and the orientation, against the truth."""
    spot = data_set.columns["mtz.SPOT"].astype(int)
    np.testing.assert_array_equal(data_set.columns["miller_index"], sweep.miller_index[spot])
    centroid = data_set.columns["xyzobs.px.value"]
    np.testing.assert_allclose(centroid[:, :2], sweep.place[spot], atol=1e-3)
    z = (sweep.angle - sweep.start) / sweep.width + sweep.first_batch - 1
    np.testing.assert_allclose(centroid[:, 2], z[spot], atol=2e-3)
    assert data_set.image_range == (sweep.first_batch, sweep.first_batch + sweep.n_images - 1)
    assert data_set.oscillation == pytest.approx((sweep.start, sweep.width), abs=2e-3)
    # The frame: x along the axis, z to the source; the Cambridge frame has z along the axis, x along the beam.
    to_laboratory = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], float)
    truth = sweep.s1[spot] @ to_laboratory.T
    np.testing.assert_allclose(data_set.columns["s1"], truth, atol=tolerance / sweep.wavelength)
    np.testing.assert_allclose(data_set.beam_direction, [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(data_set.rotation_axis, [1, 0, 0], atol=1e-6)
    angle = np.radians(sweep.angle[spot])
    r = data_set.columns["miller_index"] @ np.linalg.inv(data_set.real_space).T
    turned = np.stack(
        [r[:, 0], np.cos(angle) * r[:, 1] - np.sin(angle) * r[:, 2], np.sin(angle) * r[:, 1] + np.cos(angle) * r[:, 2]],
        axis=1,
    )
    np.testing.assert_allclose(turned - [0, 0, 1 / sweep.wavelength], truth, atol=tolerance)


def test_partials_are_summed_and_what_is_incomplete_is_told(sweep: SimulatedSweep, tmp_path: Path) -> None:
    records = write_mtz(tmp_path / "a.mtz", [sweep])
    (data_set,) = read(tmp_path / "a.mtz")
    columns = data_set.columns
    spot = columns["mtz.SPOT"].astype(int)
    assert np.unique(spot).size == spot.size == np.unique(records["SPOT"]).size
    np.testing.assert_array_equal(columns["n_records"], np.bincount(records["SPOT"])[spot])
    assert columns["n_records"].sum() == len(records["SPOT"])
    complete = is_recorded(sweep)[spot]
    assert 0 < (~complete).sum() < 0.1 * spot.size
    np.testing.assert_array_equal(columns["input_fate"] == INPUT_FATES["incomplete"], ~complete)
    integrated = (columns["flags"] & np.uint64(int(Flag.integrated))) == int(Flag.integrated)
    np.testing.assert_array_equal(integrated, complete)
    for label, which in (("I", "sum"), ("IPR", "prf")):
        wanted = np.bincount(records["SPOT"], records[label])[spot]
        np.testing.assert_allclose(columns[f"intensity.{which}.value"], wanted, rtol=1e-5)
        wanted = np.bincount(records["SPOT"], records[f"SIG{label}"] ** 2)[spot]
        np.testing.assert_allclose(columns[f"intensity.{which}.variance"], wanted, rtol=1e-5)
    whole = columns["mtz.FRACTIONCALC"][complete]
    assert whole.min() >= 0.95 and whole.max() <= 1.0001
    check_geometry(data_set, sweep)
    assert not any(d.is_warning for d in data_set.decisions)


@pytest.mark.parametrize("what", ["no MPART", "MPART of zeros", "no FRACTIONCALC", "neither"])
def test_partials_with_less_to_tell_them_by(sweep: SimulatedSweep, tmp_path: Path, what: str) -> None:
    def empty(records: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return records | {"MPART": 0 * records["MPART"]} if what == "MPART of zeros" else records

    without = {"no MPART": ("MPART",), "no FRACTIONCALC": ("FRACTIONCALC",), "neither": ("MPART", "FRACTIONCALC")}
    records = write_mtz(tmp_path / "a.mtz", [sweep], columns=empty, without=without.get(what, ()))
    (data_set,) = read(tmp_path / "a.mtz")
    spot = data_set.columns["mtz.SPOT"].astype(int)
    np.testing.assert_array_equal(data_set.columns["n_records"], np.bincount(records["SPOT"])[spot])
    incomplete = data_set.columns.get("input_fate", np.zeros(spot.size)) == INPUT_FATES["incomplete"]
    if what == "neither":
        assert not incomplete.any()
        assert decision(data_set, "partials").is_warning
    elif what == "no FRACTIONCALC":
        end = sweep.start + sweep.n_images * sweep.width
        half = REFLECTING_RANGE / 2
        cut = (sweep.angle - half < sweep.start) | (sweep.angle + half > end)
        np.testing.assert_array_equal(incomplete, cut[spot])
    else:
        np.testing.assert_array_equal(incomplete, ~is_recorded(sweep)[spot])


def test_the_detector_is_found_from_the_spots(sweep: SimulatedSweep, tmp_path: Path) -> None:
    write_mtz(tmp_path / "a.mtz", [sweep])
    (data_set,) = read(tmp_path / "a.mtz")
    d = data_set.detector
    assert d is not None
    assert d.pixel_size == pytest.approx((PIXEL, PIXEL), rel=1e-4)
    assert abs(np.cross(d.fast, d.slow) @ d.origin) == pytest.approx(DISTANCE, rel=1e-6)
    assert d.image_size == (2048, 2048)
    pixel = d.pixel_size
    xy = data_set.columns["xyzobs.px.value"][:, :2]
    at = d.origin + xy[:, :1] * pixel[0] * d.fast + xy[:, 1:] * pixel[1] * d.slow
    s1 = data_set.columns["s1"] * data_set.wavelength
    np.testing.assert_allclose(at / np.linalg.norm(at, axis=1)[:, None], s1, atol=1e-4)


@pytest.mark.parametrize("order", [(0, 3, 1, 2), (0, 2, 1, 3), (0, 1, 3, 2)])
def test_isym_numbers_that_do_not_count_the_symm_records(
    sweep: SimulatedSweep, tmp_path: Path, order: tuple[int, ...]
) -> None:
    place = np.argsort(order)
    write_mtz(tmp_path / "a.mtz", [sweep], isym=lambda code: 2 * place[(code - 1) // 2] + (code - 1) % 2 + 1)
    (data_set,) = read(tmp_path / "a.mtz")
    check_geometry(data_set, sweep)
    found = decision(data_set, "symmetry_numbers")
    assert found.is_warning
    moved = [k for k in range(4) if order[k] != k]
    # Not all of them need to occur.
    assert set(found.value) <= {str(2 * k + f) for k in moved for f in (1, 2)}
    assert len(found.value) >= len(moved)


@pytest.mark.parametrize("images", [1, -1])
def test_angles_that_are_off_by_an_image(sweep: SimulatedSweep, tmp_path: Path, images: int) -> None:
    write_mtz(tmp_path / "a.mtz", [sweep], rot_offset=images * sweep.width)
    (data_set,) = read(tmp_path / "a.mtz")
    check_geometry(data_set, sweep)
    found = decision(data_set, "rotation_angles")
    assert found.is_warning and "ROT is off" in found.reason
    assert found.value == pytest.approx(images * sweep.width)


def test_headers_whose_angles_are_off_by_an_image(sweep: SimulatedSweep, tmp_path: Path) -> None:
    def shift(batch: Any) -> None:
        for k in (36, 37):
            batch.floats[k] = batch.floats[k] + sweep.width

    write_mtz(tmp_path / "a.mtz", [sweep], edit_header=shift)
    (data_set,) = read(tmp_path / "a.mtz")
    check_geometry(data_set, sweep)
    assert "batch headers are off" in decision(data_set, "rotation_angles").reason


@pytest.mark.parametrize("what", ["transposed", "source", "rotation"])
def test_headers_that_break_the_conventions(sweep: SimulatedSweep, tmp_path: Path, what: str) -> None:
    def turn(batch: Any) -> None:
        if what == "transposed":
            u = np.array(list(batch.floats)[6:15]).reshape(3, 3).T.ravel()
            for k in range(9):
                batch.floats[6 + k] = float(u[k])
        elif what == "source":
            batch.floats[83] = 1.0
        else:
            batch.floats[61] = -1.0

    write_mtz(tmp_path / "a.mtz", [sweep], edit_header=turn)
    (data_set,) = read(tmp_path / "a.mtz")
    check_geometry(data_set, sweep)


def test_without_batch_headers_the_orientation_is_fitted(sweep: SimulatedSweep, tmp_path: Path) -> None:
    write_mtz(tmp_path / "a.mtz", [sweep], headers=False)
    (data_set,) = read(tmp_path / "a.mtz")
    spot = data_set.columns["mtz.SPOT"].astype(int)
    np.testing.assert_array_equal(data_set.columns["miller_index"], sweep.miller_index[spot])
    # The hand of the axis cannot be known from angles alone.
    s1 = data_set.columns["s1"]
    np.testing.assert_allclose(-s1[:, 2], sweep.s1[spot, 0], atol=2e-4)
    np.testing.assert_allclose(np.abs(s1[:, 0]), np.abs(sweep.s1[spot, 2]), atol=2e-4)
    z = (sweep.angle - sweep.start) / sweep.width
    np.testing.assert_allclose(data_set.columns["xyzobs.px.value"][:, 2], z[spot], atol=0.05)
    assert data_set.oscillation == pytest.approx((sweep.start, sweep.width), abs=0.05)
    assert decision(data_set, "geometry").is_warning


def test_permuted_numbers_and_no_headers(sweep: SimulatedSweep, tmp_path: Path) -> None:
    place = np.array([0, 2, 3, 1])
    write_mtz(
        tmp_path / "a.mtz",
        [sweep],
        headers=False,
        isym=lambda code: 2 * place[(code - 1) // 2] + (code - 1) % 2 + 1,
    )
    (data_set,) = read(tmp_path / "a.mtz")
    spot = data_set.columns["mtz.SPOT"].astype(int)
    np.testing.assert_array_equal(data_set.columns["miller_index"], sweep.miller_index[spot])


def test_some_headers_are_missing(sweep: SimulatedSweep, tmp_path: Path) -> None:
    write_mtz(tmp_path / "a.mtz", [sweep], headers=lambda number: number not in (7, 8, 31))
    (data_set,) = read(tmp_path / "a.mtz")
    check_geometry(data_set, sweep)


def test_a_wavelength_that_is_nowhere_is_fitted(sweep: SimulatedSweep, tmp_path: Path) -> None:
    write_mtz(tmp_path / "a.mtz", [sweep], wavelength_in_header=False)
    (data_set,) = read(tmp_path / "a.mtz")
    assert data_set.wavelength == pytest.approx(sweep.wavelength, rel=1e-3)
    (given,) = read(tmp_path / "a.mtz", wavelength=sweep.wavelength)
    check_geometry(given, sweep)


def test_angles_that_fall(tmp_path: Path) -> None:
    rising = simulate_sweep(3)
    write_mtz(
        tmp_path / "a.mtz",
        [rising],
        edit_header=lambda batch: _mirror(batch),
        columns=lambda records: records | {"ROT": -records["ROT"]},
    )
    (data_set,) = read(tmp_path / "a.mtz")
    check_geometry(data_set, rising)


def test_the_cell_is_the_mean_of_the_images(sweep: SimulatedSweep, tmp_path: Path) -> None:
    def refined(batch: Any) -> None:
        batch.floats[0] = batch.floats[0] * (1 - 2e-5 * (batch.number - sweep.first_batch))

    write_mtz(tmp_path / "a.mtz", [sweep], edit_header=refined)
    mtz = gemmi.read_mtz_file(str(tmp_path / "a.mtz"))
    edges = np.array([b.cell.a for b in mtz.batches])
    (data_set,) = read(tmp_path / "a.mtz")
    assert np.linalg.norm(data_set.real_space[0]) == pytest.approx(edges.mean(), rel=1e-6)
    assert abs(edges.mean() / mtz.cell.a - 1) > 1e-4


def _mirror(batch: Any) -> None:
    """The same rotation about the reversed axis."""
    low, high = batch.floats[36], batch.floats[37]
    batch.floats[36], batch.floats[37], batch.floats[61] = -high, -low, -1.0


def test_sweeps_are_kept_apart(tmp_path: Path) -> None:
    sweeps = [
        simulate_sweep(1, n_images=30),
        simulate_sweep(2, n_images=30, first_batch=31, start=200.0),
        simulate_sweep(2, n_images=30, first_batch=61, start=230.0, wavelength=0.98, dataset=2),
        simulate_sweep(4, n_images=20, first_batch=501, start=350.0),
    ]
    for k, s in enumerate(sweeps):
        s.dataset = max(s.dataset, 2 if k == 2 else 1)
    write_mtz(tmp_path / "a.mtz", sweeps)
    found = read(tmp_path / "a.mtz")
    assert [d.image_range for d in found] == [(1, 30), (31, 60), (61, 90), (501, 520)]
    assert [d.wavelength for d in found] == pytest.approx([s.wavelength for s in sweeps])
    for data_set, sweep in zip(found, sweeps, strict=True):
        check_geometry(data_set, sweep)


def test_an_angle_beyond_a_full_turn_goes_on(tmp_path: Path) -> None:
    sweep = simulate_sweep(4, n_images=20, start=350.0)

    def wrap(batch: Any) -> None:
        if batch.floats[36] >= 359.999:
            batch.floats[36], batch.floats[37] = batch.floats[36] - 360, batch.floats[37] - 360

    write_mtz(
        tmp_path / "a.mtz", [sweep], edit_header=wrap, columns=lambda records: records | {"ROT": records["ROT"] % 360}
    )
    (data_set,) = read(tmp_path / "a.mtz")
    check_geometry(data_set, sweep)


def test_images_that_are_left_out_leave_one_sweep(sweep: SimulatedSweep, tmp_path: Path) -> None:
    def drop(records: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        keep = (records["BATCH"] < 20) | (records["BATCH"] > 25)
        return {k: v[keep] for k, v in records.items()}

    write_mtz(tmp_path / "a.mtz", [sweep], headers=lambda number: not 20 <= number <= 25, columns=drop)
    (data_set,) = read(tmp_path / "a.mtz")
    check_geometry(data_set, sweep)


def flagged(records: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    flags = np.zeros(records["SPOT"].size)
    # One part of the spot is enough.
    first = np.unique(records["SPOT"], return_index=True)[1]
    flags[first[records["SPOT"][first] % 10 == 3]] = 16
    return records | {"FLAG": flags}


@pytest.mark.parametrize("what", ["drop", "keep"])
def test_flagged_observations(sweep: SimulatedSweep, tmp_path: Path, what: str) -> None:
    write_mtz(tmp_path / "a.mtz", [sweep], columns=flagged)
    (data_set,) = read(tmp_path / "a.mtz", flagged=what)
    spot = data_set.columns["mtz.SPOT"].astype(int)
    bad, complete = spot % 10 == 3, is_recorded(sweep)[spot]
    dropped = data_set.columns["input_fate"] == INPUT_FATES["flagged_by_integration"]
    np.testing.assert_array_equal(dropped, bad & complete if what == "drop" else np.zeros_like(bad))
    overloaded = (data_set.columns["flags"] & np.uint64(int(Flag.overloaded))) != 0
    np.testing.assert_array_equal(overloaded, bad)
    assert str(int((bad & complete).sum())) in decision(data_set, "flagged").reason


def scaled(records: dict[str, np.ndarray], power: int, way: int) -> dict[str, np.ndarray]:
    """Intensities that vary by a smooth factor; `power` 1: the file holds corrected ones; SCALEUSED = factor^way."""
    factor = 1.0 + 0.5 * np.sin(records["BATCH"] / 9.0)
    damage = factor ** (power - 1.0)
    return records | {
        "I": (records["I"] - 3.0) * damage,
        "SIGI": records["SIGI"] * damage,
        "SCALEUSED": factor**way,
    }


@pytest.mark.parametrize(
    ("history", "power", "way", "undone"),
    [
        (["From AIMLESS, version 0.7.8"], 1, 1, True),
        (["From pyscale", "From AIMLESS"], 1, -1, True),
        (["dials.export"], 1, -1, True),
        (["From AIMLESS, version 0.7.8"], 0, 1, False),
    ],
)
def test_stored_scales(tmp_path: Path, history: list[str], power: int, way: int, undone: bool) -> None:
    """The corrected intensity is the true one, the recorded one is the true one over the factor."""
    sweep = simulate_sweep(n_images=90)
    left = {"without": ("IPR", "SIGIPR"), "partials": False, "history": history}
    records = write_mtz(tmp_path / "a.mtz", [sweep], columns=lambda r: scaled(r, power, way), **left)
    (data_set,) = read(tmp_path / "a.mtz")
    factor = 1.0 + 0.5 * np.sin(records["BATCH"] / 9.0)
    spot = records["SPOT"].astype(int)
    raw = sweep.intensity[spot] / factor
    np.testing.assert_allclose(data_set.columns["intensity.sum.value"], raw, rtol=1e-5)
    np.testing.assert_array_equal(data_set.columns["mtz.SPOT"].astype(int), spot)
    assert decision(data_set, "stored_scale").value == ("undone" if undone else "none")
    (kept,) = read(tmp_path / "a.mtz", stored_scale="keep")
    np.testing.assert_allclose(kept.columns["intensity.sum.value"], records["I"], rtol=1e-5)
    np.testing.assert_allclose(kept.columns["mtz.SCALEUSED"], records["SCALEUSED"], rtol=1e-6)


def test_every_other_column_is_passed_through(sweep: SimulatedSweep, tmp_path: Path) -> None:
    records = write_mtz(
        tmp_path / "a.mtz",
        [sweep],
        partials=False,
        columns=lambda r: r | {"BGPKRATIOS": np.arange(r["SPOT"].size) * 0.25, "LP": 0.5 + r["SPOT"] % 7},
    )
    (data_set,) = read(tmp_path / "a.mtz")
    for name in ("BATCH", "ROT", "WIDTH", "FLAG", "LP", "BGPKRATIOS"):
        np.testing.assert_allclose(data_set.columns[f"mtz.{name}"], records[name], rtol=1e-6)
    assert data_set.columns["mtz.BATCH"].dtype == np.int32
    assert "n_records" not in data_set.columns


def test_the_order_of_records_does_not_matter(sweep: SimulatedSweep, tmp_path: Path) -> None:
    for k in range(2):
        write_mtz(tmp_path / f"{k}.mtz", [sweep], seed=k)
    (a,), (b,) = (read(tmp_path / f"{k}.mtz") for k in range(2))
    order = [np.argsort(d.columns["mtz.SPOT"]) for d in (a, b)]
    for name in a.columns:
        one, other = a.columns[name][order[0]], b.columns[name][order[1]]
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    assert a.real_space == pytest.approx(b.real_space)


def test_batch_headers_travel_with_the_experiment(sweep: SimulatedSweep, tmp_path: Path) -> None:
    write_mtz(tmp_path / "a.mtz", [sweep])
    job = pyscale.read(tmp_path / "a.mtz")
    imageset = job.experiments.document["imageset"][0]
    origin = imageset["params"]["pyscale_origin"]
    assert origin["format"] == "mtz" and origin["history"] == ["From MOSFLM"]
    assert origin["dataset"]["dataset"] == "set1"
    batches = list(gemmi.read_mtz_file(str(tmp_path / "a.mtz")).batches)
    back = unpack_batches(origin["batches"])
    assert len(back) == len(batches) == sweep.n_images
    for a, b in zip(batches, back, strict=True):
        assert (a.number, a.title.strip(), list(a.axes)) == (b.number, b.title, list(b.axes))
        assert list(a.ints) == list(b.ints) and list(a.floats) == list(b.floats)
    assert len(str(pack_batches(batches))) < 200 * len(batches)


def test_a_job_counts_every_record(sweep: SimulatedSweep, tmp_path: Path) -> None:
    records = write_mtz(tmp_path / "a.mtz", [sweep], columns=flagged)
    result = pyscale.scale(pyscale.read(tmp_path / "a.mtz"), d_min=3.2)
    (entry,) = result.ledger
    n_spots = np.unique(records["SPOT"]).size
    assert entry.read == records["SPOT"].size
    assert entry.partials_merged == entry.read - n_spots
    out = {**entry.filtered, **entry.user_excluded, **entry.rejected}
    assert entry.read == entry.partials_merged + sum(out.values()) + entry.merged
    present = np.unique(records["SPOT"])
    complete, bad = is_recorded(sweep)[present], present % 10 == 3
    assert entry.filtered["incomplete"] == (~complete).sum()
    assert entry.filtered["flagged_by_integration"] == (complete & bad).sum()
    assert result.statistics.overall.r_meas < 0.05
    result.write(tmp_path / "scaled.expt", tmp_path / "scaled.refl")
    again = pyscale.scale(pyscale.read(tmp_path / "scaled.expt", tmp_path / "scaled.refl"), d_min=3.2)
    assert again.ledger[0].filtered["incomplete"] == entry.filtered["incomplete"]
    assert again.ledger[0].merged == entry.merged


def test_overrides(sweep: SimulatedSweep, tmp_path: Path) -> None:
    write_mtz(tmp_path / "a.mtz", [sweep])
    cell = (32.1, 40.1, 51.1, 90.0, 90.0, 90.0)
    (data_set,) = read(tmp_path / "a.mtz", space_group="P 2 2 2", unit_cell=cell)
    assert data_set.space_group.xhm() == "P 2 2 2"
    lengths = np.linalg.norm(data_set.real_space, axis=1)
    assert lengths == pytest.approx(cell[:3])
    with pytest.raises(UsageError, match="space_group"):
        read(tmp_path / "a.mtz", space_group="P 7 7 7")


def test_stills(sweep: SimulatedSweep, tmp_path: Path) -> None:
    def stand(batch: Any) -> None:
        batch.floats[36] = batch.floats[37] = 0.0

    write_mtz(tmp_path / "a.mtz", [sweep], partials=False, edit_header=stand, without=("ROT",))
    found = read(tmp_path / "a.mtz")
    assert len(found) == sweep.n_images
    assert all(d.image_range is None and d.oscillation is None for d in found)
    assert sum(len(d.columns["miller_index"]) for d in found) == len(sweep.angle)


def test_other_symmetry(tmp_path: Path) -> None:
    cell = (45.0, 45.0, 60.0, 90.0, 90.0, 120.0)
    sweep = simulate_sweep(8, cell=cell, group="R 3:H", n_images=40)
    write_mtz(tmp_path / "a.mtz", [sweep], cell=cell, group="R 3:H")
    (data_set,) = read(tmp_path / "a.mtz")
    assert data_set.space_group.xhm() == "R 3:H"
    check_geometry(data_set, sweep)


def test_geometry_that_explains_nothing(sweep: SimulatedSweep, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)

    def scramble(records: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        batch = rng.integers(1, sweep.n_images + 1, records["SPOT"].size)
        return records | {"BATCH": batch, "ROT": sweep.start + (batch - 0.5) * sweep.width}

    write_mtz(tmp_path / "a.mtz", [sweep], partials=False, columns=scramble)
    (data_set,) = read(tmp_path / "a.mtz")
    spot = data_set.columns["mtz.SPOT"].astype(int)
    np.testing.assert_array_equal(data_set.columns["miller_index"], sweep.miller_index[spot])
    assert "s1" not in data_set.columns
    assert decision(data_set, "geometry").is_warning


def test_files_that_cannot_be_used(sweep: SimulatedSweep, tmp_path: Path) -> None:
    path = tmp_path / "a.mtz"
    merged = gemmi.Mtz(with_base=True)
    merged.spacegroup = gemmi.find_spacegroup_by_name(GROUP)
    merged.set_cell_for_all(gemmi.UnitCell(*CELL))
    merged.add_dataset("x")
    merged.add_column("IMEAN", "J")
    merged.set_data(np.array([[1, 2, 3, 4]], np.float32))
    merged.write_to_file(str(path))
    with pytest.raises(DataError, match=r"a\.mtz: is a merged MTZ file.*reference="):
        read(path)
    write_mtz(path, [sweep], without=("I", "SIGI", "IPR", "SIGIPR"))
    with pytest.raises(DataError, match="neither columns I and SIGI"):
        read(path)
    write_mtz(path, [sweep], columns=lambda r: r | {"BATCH": np.where(r["SPOT"] == 5, np.nan, r["BATCH"])})
    with pytest.raises(DataError, match="column BATCH holds nan in record"):
        read(path)


def test_truncated_and_corrupt_files(sweep: SimulatedSweep, tmp_path: Path) -> None:
    path = tmp_path / "a.mtz"
    write_mtz(path, [sweep])
    whole = path.read_bytes()
    for length in (4, 19, 20, 79, 80, 1000, len(whole) // 2, len(whole) - 200_000, len(whole) - 20_000):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"a\.mtz: .*truncated"):
            read(path)
    start = whole.index(b"NCOL")
    for counts in (b"NCOL 17 2000000000 60", b"NCOL 999999999 99999999 60", b"NCOL 17 -5 60", b"NCOL x"):
        path.write_bytes(whole[:start] + counts.ljust(80) + whole[start + 80 :])
        with pytest.raises(DataError, match=r"a\.mtz: .*corrupt"):
            read(path)
    n_batches = whole[:start] + whole[start : start + 80].replace(b" 60 ", b" 99999999 ")[:80] + whole[start + 80 :]
    path.write_bytes(n_batches)
    with pytest.raises(DataError, match=r"a\.mtz"):
        read(path)


def test_random_damage_ends_in_a_message(tmp_path: Path) -> None:
    path = tmp_path / "a.mtz"
    write_mtz(path, [simulate_sweep(n_images=4)])
    whole = path.read_bytes()
    header = int(np.frombuffer(whole[4:8], "<i4")[0] - 1) * 4
    rng = np.random.default_rng(0)
    for k in range(300):
        damaged = bytearray(whole)
        for _ in range(int(rng.integers(1, 6))):
            at = int(rng.integers(header, len(whole)) if k % 3 else rng.integers(0, len(whole)))
            damaged[at] = int(rng.integers(0, 256))
        path.write_bytes(bytes(damaged))
        try:
            for data_set in read(path):
                assert len(data_set.columns["miller_index"])
        except (DataError, UsageError) as error:
            assert "\n" not in str(error)


def invariants(s1: np.ndarray, axis: np.ndarray, to_source: np.ndarray) -> np.ndarray:
    """Components of directions along the axis, to the source and across: the same in any frame."""
    u = s1 / np.linalg.norm(s1, axis=1)[:, None]
    return np.stack([u @ axis, u @ to_source, u @ np.cross(axis, to_source)], axis=1)


def test_what_pyscale_writes_can_be_read_again(small_result: ScalingResult, tmp_path: Path) -> None:
    """The scale comes off again, and the geometry comes back."""
    write_unmerged(small_result, tmp_path / "a.mtz")
    found = read(tmp_path / "a.mtz")
    o, jobs = small_result.observations, small_result.job.data_sets
    kept = ~small_result.scaled.outlier & ~small_result.scaled.small_scale
    assert len(found) == len(jobs)
    for k, (data_set, original) in enumerate(zip(found, jobs, strict=True)):
        mine = np.flatnonzero(kept & (o.data_set == k))
        columns = data_set.columns
        ours = np.lexsort((o.intensity[mine], *o.miller_index[mine].T))
        theirs = np.lexsort((columns["intensity.sum.value"], *columns["miller_index"].T))
        np.testing.assert_array_equal(columns["miller_index"][theirs], o.miller_index[mine][ours])
        np.testing.assert_allclose(columns["intensity.sum.value"][theirs], o.intensity[mine][ours], rtol=1e-4)
        table = small_result.prepared[k].table
        rows = o.row[mine][ours]
        e = original.experiment
        wanted = invariants(table["s1"][rows], e.rotation_axis, e.beam_direction)
        got = invariants(columns["s1"][theirs], data_set.rotation_axis, data_set.beam_direction)
        assert np.median(np.abs(got - wanted)) < 1e-4
        assert np.abs(got - wanted).max() < 0.01


@pytest.mark.data
def test_what_dials_exports(data_root: Path, require_dials: Path, tmp_path: Path) -> None:
    """An independent writer of the same data: indices, places and beams are those of the table."""
    files = [data_root / "l_cysteine" / f"20_integrated.{kind}" for kind in ("expt", "refl")]
    command = [str(require_dials / "dials.export"), *map(str, files), "mtz.hklout=a.mtz"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    (data_set,) = read(tmp_path / "a.mtz")
    (original,) = pyscale.read(*files).data_sets
    table, experiment = original.reflections, original.experiment
    z = table["xyzobs.px.value"]
    key = {(*h, round(x, 1), round(y, 1)): row for row, (h, (x, y, _)) in enumerate(
        zip(table["miller_index"].tolist(), z.tolist(), strict=True))}  # fmt: skip
    columns = data_set.columns
    places = columns["xyzobs.px.value"].tolist()
    indices = columns["miller_index"].tolist()
    matched = [key.get((*h, round(x, 1), round(y, 1)), -1) for h, (x, y, _) in zip(indices, places, strict=True)]
    rows = np.array(matched)
    assert (rows >= 0).mean() > 0.95
    found = rows >= 0
    # ROT is that of the prediction; some rows are partials that dials.export has joined.
    off = columns["xyzobs.px.value"][found, 2] - table["xyzcal.px"][rows[found], 2]
    assert (np.abs(off) < 0.01).mean() > 0.98
    assert np.abs(off).max() < 0.5
    wanted = invariants(table["s1"][rows[found]], experiment.rotation_axis, experiment.beam_direction)
    got = invariants(columns["s1"][found], data_set.rotation_axis, data_set.beam_direction)
    assert np.median(np.abs(got - wanted)) < 1e-3
