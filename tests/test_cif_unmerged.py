"""CIF and mmCIF files of unmerged reflections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

import other_formats
import pyscale
from pyscale.errors import DataError
from pyscale.io.cif_unmerged import is_cif
from pyscale.io.scan_of_angles import Scan, fitted_scan

CORE = """data_x
_cell_length_a 30.00(2)
_cell_length_b 40
_cell_length_c 55
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_Hall 'P 2 2'
_diffrn_radiation_wavelength 0.56086
"""
MMCIF = """data_r1abcsf
_cell.length_a 30.0
_cell.length_b 40.0
_cell.length_c 55.0
_cell.angle_alpha 90.0
_cell.angle_beta 90.0
_cell.angle_gamma 90.0
_symmetry.space_group_name_H-M 'P 2 2 2'
_diffrn_radiation_wavelength.wavelength 1.1
"""


def loop(prefix: str, columns: Mapping[str, Sequence[Any]]) -> str:
    rows = zip(*columns.values(), strict=True)
    titles = "\n".join(f"{prefix}{name}" for name in columns)
    return f"loop_\n{titles}\n" + "\n".join(" ".join(map(str, row)) for row in rows) + "\n"


def one_row(**items: Any) -> str:
    return MMCIF + loop("_diffrn_refln.", {name: [value] for name, value in items.items()})


def indices(index: np.ndarray) -> dict[str, Any]:
    return {f"index_{name}": index[:, k] for k, name in enumerate("hkl")}


def of_batches(b: other_formats.Batches) -> dict[str, Any]:
    columns = {"intensity_net": np.round(b.intensity, 2), "intensity_u": np.round(b.sigma, 2)}
    return indices(b.index) | columns | {"scale_group_code": b.batch}


def write(folder: Path, text: str) -> Path:
    path = folder / "x.cif"
    path.write_text(text)
    return path


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    b = other_formats.simulated_batches()
    plain = write(tmp_path, CORE + loop("_diffrn_refln_", of_batches(b)))
    marked = tmp_path / "marked.cif"
    marked.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())
    assert pyscale.read(marked).identifiers == pyscale.read(plain).identifiers


def test_small_molecule_loops_are_as_hklf4(tmp_path: Path) -> None:
    batches = other_formats.simulated_batches()
    job = pyscale.read(write(tmp_path, CORE + loop("_diffrn_refln_", of_batches(batches))))
    hkl = tmp_path / "x.hkl"
    hkl.write_text(other_formats.hklf4_text(batches.index, batches.intensity, batches.sigma, batches.batch))
    same = pyscale.read(hkl, unit_cell=other_formats.CELL, space_group="P222", wavelength=0.56086)
    assert len(job.data_sets) == len(same.data_sets) == 4
    for a, b in zip(job.data_sets, same.data_sets, strict=True):
        np.testing.assert_array_equal(a.reflections["miller_index"], b.reflections["miller_index"])
        np.testing.assert_allclose(a.reflections["intensity.sum.value"], b.reflections["intensity.sum.value"])
        assert a.experiment.space_group == b.experiment.space_group
        assert a.experiment.wavelength == b.experiment.wavelength == 0.56086
        assert a.experiment.unit_cell == pytest.approx(b.experiment.unit_cell)
    result = pyscale.scale(job, nproc=1)
    g, number = np.asarray(result.inverse_scale_factor), result.table["id"]
    found = np.array([np.median(g[number == k]) for k in range(4)])
    true = np.array([batches.scale[k + 1] for k in range(4)])
    np.testing.assert_allclose(found / found[0], true / true[0], rtol=0.01)


def test_embedded_hklf4_is_read_with_the_symmetry_of_its_block(tmp_path: Path) -> None:
    b = other_formats.simulated_batches(2)
    text = other_formats.hklf4_text(b.index, b.intensity, b.sigma, b.batch)
    job = pyscale.read(write(tmp_path, f"{CORE}_shelx_hkl_file\n;\n{text}\n;\n_shelx_hkl_checksum 1\n"))
    assert len(job.data_sets) == 2 and sum(len(d.reflections) for d in job.data_sets) == len(b.index)
    assert job.data_sets[0].experiment.space_group.xhm() == "P 2 2 2"


def sweep(n: int = 900, seed: int = 4) -> tuple[dict[str, Any], np.ndarray]:
    """Different reflections of images 11 to 70, 0.5 deg each from 30 deg, on a scale that varies with rotation."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), -1).reshape(-1, 3)
    index = random.choice(grid[(grid != 0).all(axis=1)], n, replace=False)
    true = 100.0 + 37.0 * (np.abs(index) @ [1, 7, 49] % 23)
    angle = random.uniform(30.0, 60.0, n)
    g = 1.0 + 0.3 * np.sin(np.radians(angle) * 6)
    sigma = 0.01 * g * true
    value = g * true + sigma * random.normal(size=n)
    columns = indices(index) | {"intensity_net": np.round(value, 3), "intensity_sigma": np.round(sigma, 3)}
    columns |= {"pdbx_scan_angle": np.round(angle, 4), "pdbx_image_id": np.floor((angle - 30.0) / 0.5).astype(int) + 11}
    return columns, g


def test_sweeps_follow_from_angles_and_images(tmp_path: Path) -> None:
    columns, g = sweep()
    job = pyscale.read(write(tmp_path, MMCIF + loop("_diffrn_refln.", columns)))
    (data_set,) = job.data_sets
    assert data_set.experiment.image_range == (11, 70)
    assert data_set.experiment.oscillation == pytest.approx((30.0, 0.5))
    z = data_set.reflections["xyzobs.px.value"][:, 2]
    np.testing.assert_allclose(z, 10 + (columns["pdbx_scan_angle"] - 30.0) / 0.5)
    result = pyscale.scale(job, nproc=1, reflection_selection={"method": "use_all"})
    (plan,) = result.plans
    assert plan.model.value == "physical" and not plan.absorption.value
    assert "no s1" in plan.absorption.reason
    found = np.log(np.asarray(result.inverse_scale_factor))
    assert np.std(found - np.log(g)) < 0.02


def test_scans_that_are_described_come_first(tmp_path: Path) -> None:
    columns, _ = sweep()
    n = len(columns["index_h"])
    columns["scan_angle_reflection"] = columns.pop("pdbx_scan_angle")
    columns["intensity_sum"] = columns.pop("intensity_net")
    columns["intensity_sum_sigma"] = columns.pop("intensity_sigma")
    columns["intensity_prf"] = columns["intensity_sum"] * 2
    columns["intensity_prf_sigma"] = ["?" if k % 3 == 0 else 1.5 for k in range(n)]
    columns["scan_id"] = 1 + np.arange(n) % 2
    scans = {
        "scan_id": [1, 2],
        "image_id_begin": [1, 1],
        "image_id_end": [80, 40],
        "scan_angle_begin": [25.0, 25.0],
        "scan_angle_end": [65.0, 65.0],
    }
    del columns["pdbx_image_id"]
    text = MMCIF + loop("_pdbx_diffrn_scan.", scans) + loop("_pdbx_diffrn_unmerged_refln.", columns)
    job = pyscale.read(write(tmp_path, text))
    assert [d.experiment.image_range for d in job.data_sets] == [(1, 80), (1, 40)]
    assert [d.experiment.oscillation[1] for d in job.data_sets] == [0.5, 1.0]
    table = job.data_sets[0].reflections
    fitted = (table["flags"] & 512) != 0
    assert fitted.sum() == sum(columns["intensity_prf_sigma"][k] == 1.5 for k in range(0, n, 2))
    np.testing.assert_allclose(table["intensity.prf.value"][fitted], 2 * table["intensity.sum.value"][fitted])


def test_parts_on_neighbouring_images_are_summed(tmp_path: Path) -> None:
    columns, _ = sweep(300)
    n = len(columns["index_h"])
    double = {name: np.repeat(values, 2) for name, values in columns.items()}
    second = np.arange(2 * n) % 2
    double["pdbx_image_id"] = double["pdbx_image_id"] + second
    share = np.where(second, 0.25, 0.75)
    double["intensity_net"] = double["intensity_net"] * share
    double["intensity_sigma"] = double["intensity_sigma"] * np.sqrt(share)
    job = pyscale.read(write(tmp_path, MMCIF + loop("_diffrn_refln.", double)))
    (decision,) = (d for d in job.input_decisions[job.identifiers[0]] if d.name == "n_parts")
    assert decision.is_warning
    result = pyscale.scale(job, nproc=1)
    whole = pyscale.scale(pyscale.read(write(tmp_path, MMCIF + loop("_diffrn_refln.", columns))), nproc=1)
    (entry,) = result.ledger
    assert entry.to_dict()["partials_merged"] == n
    ours, theirs = result.statistics.overall, whole.statistics.overall
    assert ours.n_unique == theirs.n_unique and ours.n_obs == theirs.n_obs


@pytest.mark.parametrize(("first", "start", "width"), [(1, 0.0, 0.1), (301, -12.5, 0.25), (7, 359.0, -1.0)])
def test_scans_are_fitted(first: int, start: float, width: float) -> None:
    random = np.random.default_rng(1)
    z = random.uniform(0.0, 120.0, 2000)
    image, angle = np.floor(z) + first, start + width * (z + random.normal(0.0, 0.4, z.size))
    scan = fitted_scan(image, angle)
    assert scan is not None
    assert scan.image_range == (first, first + 119)
    assert scan.oscillation == pytest.approx((start, width), abs=0.11 * abs(width))
    assert scan.oscillation[1] == pytest.approx(width, rel=0.002)
    np.testing.assert_allclose(scan.array_coordinate(angle), (angle - start) / width + first - 1, atol=0.4)


def test_scans_without_images_or_rotation() -> None:
    scan = fitted_scan(None, np.array([5.2, 17.9, 9.0]))
    assert scan is not None and scan.image_range == (1, 13) and scan.oscillation == (5.0, 1.0)
    assert fitted_scan(None, np.full(9, 3.0)) is None
    assert fitted_scan(np.ones(9), np.arange(9.0)) is None
    assert fitted_scan(None, np.full(9, np.nan)) is None
    impossible = (((5, 4), (0.0, 1.0)), ((1, 10**9), (0.0, 1.0)), ((1, 2), (0.0, np.inf)), ((1, 2), (3.0, 3.0)))
    for images, angles in impossible:
        with pytest.raises(ValueError, match=r"\("):
            Scan.of_ends(images, angles)


def test_unmerged_mtz_files_that_gemmi_converts(tmp_path: Path) -> None:
    columns, _ = sweep(200)
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = gemmi.SpaceGroup("P 2 2 2")
    mtz.set_cell_for_all(gemmi.UnitCell(*other_formats.CELL))
    mtz.add_dataset("x").wavelength = 0.98
    for label, kind in (("M/ISYM", "Y"), ("BATCH", "B"), ("I", "J"), ("SIGI", "Q"), ("ROT", "R")):
        mtz.add_column(label, kind)
    index = np.abs(np.column_stack([columns[f"index_{x}"] for x in "hkl"]))
    rest = [columns[x] for x in ("pdbx_image_id", "intensity_net", "intensity_sigma", "pdbx_scan_angle")]
    mtz.set_data(np.column_stack([index, np.ones(len(index)), *rest]).astype(np.float32))
    for number in range(11, 71):
        batch = gemmi.Mtz.Batch()
        batch.number, batch.dataset_id, batch.wavelength = number, 1, 0.98
        mtz.batches.append(batch)
    text = gemmi.MtzToCif().write_cif_to_string(mtz, None)
    (data_set,) = pyscale.read(write(tmp_path, text)).data_sets
    assert data_set.experiment.space_group.xhm() == "P 2 2 2"
    assert data_set.experiment.image_range == (11, 70)
    assert data_set.experiment.wavelength == pytest.approx(0.98)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data_x\nloop_\n_refln.index_h\n1\n2\n", "holds merged reflections only"),
        ("data_x\n_a b\n", "holds no reflections"),
        ("data_x\nloop_\n_a\n_b\n1\n", "is a corrupt CIF"),
        ("data_x\n_a 'unfinished\n", "is a corrupt CIF"),
        (one_row(index_h=1, index_k=1, index_l="x", intensity_net=1), "index_l"),
        (one_row(index_h=1, index_k=1, index_l=1.5, intensity_net=1), "integers"),
        (one_row(index_h=1, index_k=1, intensity_net=1), "integers"),
        (one_row(index_h=1, index_k=1, index_l=1), "no intensities with sigmas"),
        (one_row(index_h="9" * 90, index_k=1, index_l=1), "longer than 32"),
        (one_row(index_h=1, index_k=1, index_l=1, intensity_net=5, intensity_sigma=1).replace("30.0", "-3"), "volume"),
    ],
)
def test_faults_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as info:
        pyscale.read(write(tmp_path, text))
    assert "\n" not in str(info.value)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, "data_x\n" + loop("_diffrn_refln_", of_batches(other_formats.simulated_batches(1))))
    with pytest.raises(DataError, match="has no unit cell and no space group: give unit_cell="):
        pyscale.read(path)
    job = pyscale.read(path, unit_cell=other_formats.CELL, space_group="P222")
    assert job.data_sets[0].experiment.space_group.xhm() == "P 2 2 2"


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    columns, _ = sweep(20)
    text = MMCIF + loop("_diffrn_refln.", columns)
    random = np.random.default_rng(9)
    words = ["", "nan", "inf", "1e999", "'", ";\n", "\nloop_\n", "?", "data_", "\x00", "-1e30"]
    for _ in range(250):
        at = int(random.integers(6, len(text)))
        damaged = text[:at] + words[random.integers(len(words))] + text[at + int(random.integers(0, 12)) :]
        try:
            pyscale.read(write(tmp_path, damaged))
        except DataError as error:
            assert "\n" not in str(error)


def test_the_kind_is_told_by_content() -> None:
    assert is_cif(b"# comment\n\ndata_x\n_a b\n") and is_cif(b"DATA_1\n")
    assert not is_cif(b"") and not is_cif(b"dat") and not is_cif(b"TITL data_x\n")
