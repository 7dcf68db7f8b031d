"""Scaling against a reference: simulated data against their true intensities on another scale."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

import pyscale
from pyscale.dataset import Job, make_job
from pyscale.errors import DataError, UsageError
from pyscale.exports import write_merged
from pyscale.reflections import Flag
from pyscale.result import ScalingResult
from pyscale.symmetry import inverse_d_squared, to_asu
from pyscale.typing import FloatArray, IntArray

CELL = (20.0, 24.0, 30.0, 90.0, 90.0, 90.0)
GROUP = "P 21 21 21"
OUTLIER = np.uint64(int(Flag.outlier_in_scaling))
SCALE, B = 250.0, -12.0
"""Of the data against the references: g = SCALE exp(B / 2d^2) times the simulated one."""


class Simulation:
    """A job, its true scales, and the true intensities of its unique reflections on the scale of the references."""

    def __init__(self, **options: Any) -> None:
        settings = {"unit_cell": CELL, "n_sweeps": 2, "sweep_width": 90.0, "d_min": 2.0, "truth": "model", "seed": 5}
        data = pyscale.simulate(**(settings | {"absorption": 0.05} | options))
        self.table = data.reflections()
        self.job = make_job(data.experiments(), [self.table])
        self.half_inv_d2 = 0.5 * inverse_d_squared(CELL, self.table["miller_index"])
        self.change = SCALE * np.exp(B * self.half_inv_d2)
        self.g = data.truth["g"] * self.change
        asu, isym = to_asu(str(options.get("space_group", GROUP)), self.table["miller_index"])
        self.miller_index, first, self.unique = np.unique(asu, axis=0, return_index=True, return_inverse=True)
        self.intensity = data.truth["I"][first] / self.change[first]
        own = data.truth["I_own"] / self.change
        self.plus, self.minus = np.full((2, len(first)), np.nan)
        self.plus[self.unique[isym % 2 == 1]] = own[isym % 2 == 1]
        self.minus[self.unique[isym % 2 == 0]] = own[isym % 2 == 0]

    def sigma(self) -> FloatArray:
        return 0.01 * self.intensity + 0.002 * self.intensity.mean()


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation()


def write_mtz(
    path: Path,
    miller_index: IntArray,
    columns: list[tuple[str, str, FloatArray]],
    space_group: str = GROUP,
    cell: tuple[float, ...] = CELL,
) -> str:
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = gemmi.SpaceGroup(space_group)
    mtz.set_cell_for_all(gemmi.UnitCell(*cell))
    mtz.add_dataset("reference")
    for label, kind, _ in columns:
        mtz.add_column(label, kind)
    mtz.set_data(np.column_stack([miller_index, *(values for _, _, values in columns)]).astype(np.float32))
    mtz.write_to_file(str(path))
    return str(path)


def noisy(simulation: Simulation, values: FloatArray) -> FloatArray:
    return values + simulation.sigma() * np.random.default_rng(1).normal(size=values.size)


def intensities(simulation: Simulation, path: Path) -> str:
    values = noisy(simulation, simulation.intensity)
    return write_mtz(path, simulation.miller_index, [("IMEAN", "J", values), ("SIGIMEAN", "Q", simulation.sigma())])


def scaled(simulation: Simulation, reference: str, **options: Any) -> ScalingResult:
    return pyscale.scale(simulation.job, reference=reference, absorption_correction=True, **options)


def assert_true_scales(simulation: Simulation, result: ScalingResult, pull: float = 1.6) -> None:
    """Absolute scale and B included, within the uncertainties."""
    sigma = np.sqrt(result.table["inverse_scale_factor_variance"])
    use = sigma > 0
    deviation = np.log(result.inverse_scale_factor / simulation.g)[use]
    assert use.mean() > 0.99
    assert abs(np.median(deviation)) < 0.01
    assert abs(np.polyfit(simulation.half_inv_d2[use], deviation, 1)[0]) < 0.15
    assert np.sqrt(np.mean((deviation * (result.inverse_scale_factor / np.where(use, sigma, 1.0))[use]) ** 2)) < pull


def test_true_intensities_give_the_absolute_scales(simulation: Simulation, tmp_path: Path) -> None:
    result = scaled(simulation, intensities(simulation, tmp_path / "ref.mtz"))
    assert_true_scales(simulation, result)
    assert result.fit.gauge.directions == ()
    assert result.fit.covariance.undetermined == []
    report = result.reference
    assert report is not None and report.kind == "intensities" and report.labels == ("IMEAN", "SIGIMEAN")
    assert report.n_groups == len(np.unique(simulation.unique))
    assert max(s.u for s in report.shells) < 0.01
    for found in report.data_sets.values():
        assert found.cc > 0.995 > found.cc_before and found.r < 0.06 < found.r_before
    document = result.to_dict()["reference"]
    assert document["n_groups"] == report.n_groups and len(document["data_sets"]) == 2
    json.dumps(document, allow_nan=False)


def test_the_model_may_be_one_scale_and_one_b(simulation: Simulation, tmp_path: Path) -> None:
    flat = Simulation(scale_variation=0.0, decay=0.0, absorption=0.0)
    result = pyscale.scale(flat.job, model="KB", reference=intensities(flat, tmp_path / "ref.mtz"))
    assert_true_scales(flat, result)
    for model in result.models:
        scale, decay = (c.parameters[0] for c in sorted(model.components, key=lambda c: c.name, reverse=True))
        assert decay == pytest.approx(B, abs=0.3)
        assert scale > 0.5 * SCALE


def test_amplitudes_are_squared(simulation: Simulation, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    f = np.sqrt(np.maximum(noisy(simulation, simulation.intensity), 0.0))
    sigma = simulation.sigma() / np.maximum(2.0 * f, np.sqrt(simulation.sigma()))
    path = write_mtz(tmp_path / "f.mtz", simulation.miller_index, [("FP", "F", f), ("SIGFP", "Q", sigma)])
    with caplog.at_level(logging.INFO, "pyscale"):
        result = scaled(simulation, path)
    assert_true_scales(simulation, result)
    assert result.reference is not None and result.reference.kind == "amplitudes"
    assert "French" in caplog.text


@pytest.mark.parametrize("what", ["intensity_meas", "F_squared_meas", "F_meas_au"])
def test_structure_factors_in_mmcif(simulation: Simulation, tmp_path: Path, what: str) -> None:
    values = np.maximum(noisy(simulation, simulation.intensity), 1e-3)
    sigma = {"intensity_meas": "intensity_sigma", "F_squared_meas": "F_squared_sigma"}.get(what, "F_meas_sigma_au")
    errors = simulation.sigma()
    if what.startswith("F_meas"):
        values, errors = np.sqrt(values), errors / (2.0 * np.sqrt(values))
    block = gemmi.cif.Document().add_new_block("r1simsf")
    block.set_pairs("_symmetry.", {"space_group_name_H-M": f"'{GROUP}'"}, raw=True)
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    block.set_pairs("_cell.", {name: str(x) for name, x in zip(names, CELL, strict=True)}, raw=True)
    loop = block.init_loop("_refln.", ["index_h", "index_k", "index_l", "status", what, sigma])
    for h, value, error in zip(simulation.miller_index.tolist(), values, errors, strict=True):
        loop.add_row([*map(str, h), "o", f"{value:.5f}", f"{error:.5f}"])
    # What a file is follows from its content.
    path = tmp_path / "sf.mtz"
    path.write_text(block.as_string())
    result = scaled(simulation, str(path))
    assert_true_scales(simulation, result)
    assert result.reference is not None and result.reference.labels == (what, sigma)


def test_mates_are_merged_or_apart(tmp_path: Path) -> None:
    simulation = Simulation(anomalous=0.1)
    columns = [
        (f"{name}({sign})", kind, values)
        for sign, mate in (("+", simulation.plus), ("-", simulation.minus))
        for name, kind, values in (("I", "K", mate), ("SIGI", "M", simulation.sigma()))
    ]
    path = write_mtz(tmp_path / "mates.mtz", simulation.miller_index, columns)
    apart = scaled(simulation, path, anomalous=True)
    assert_true_scales(simulation, apart)
    assert apart.reference is not None and apart.reference.labels == ("I(+)", "SIGI(+)", "I(-)", "SIGI(-)")
    merged = scaled(simulation, path)
    assert merged.reference is not None
    assert merged.reference.n_groups < apart.reference.n_groups
    assert max(s.u for s in apart.reference.shells) < 0.01
    reversed_mates = [(label.translate({43: 45, 45: 43}), kind, values) for label, kind, values in columns]
    path = write_mtz(tmp_path / "swapped.mtz", simulation.miller_index, reversed_mates)
    swapped = scaled(simulation, path, anomalous=True)
    assert swapped.reference is not None
    assert np.mean([s.u for s in swapped.reference.shells]) > 3 * np.mean([s.u for s in apart.reference.shells])


def test_a_crude_reference_gives_the_scale_and_leaves_the_rest_to_the_equivalents(
    simulation: Simulation, tmp_path: Path
) -> None:
    """Intensities that are correlated by 1 - u, in Wilson's statistics, are told by u."""
    rng = np.random.default_rng(2)
    n, u = len(simulation.miller_index), 0.3
    d_star_squared = inverse_d_squared(CELL, simulation.miller_index)
    mean = np.exp(np.polyval(np.polyfit(d_star_squared, np.log(simulation.intensity), 1), d_star_squared))
    mean *= np.mean(simulation.intensity / mean)
    phase = np.exp(2j * np.pi * rng.uniform(size=n))
    other = np.sqrt(mean / 2) * (rng.normal(size=n) + 1j * rng.normal(size=n))
    model = np.abs(np.sqrt(1 - u) * np.sqrt(simulation.intensity) * phase + np.sqrt(u) * other) ** 2
    path = write_mtz(tmp_path / "crude.mtz", simulation.miller_index, [("FC", "F", np.sqrt(model))])
    result = scaled(simulation, path)
    without = pyscale.scale(simulation.job, absorption_correction=True)
    assert result.reference is not None
    assert np.mean([s.u for s in result.reference.shells]) == pytest.approx(u, abs=0.08)
    deviation = np.log(result.inverse_scale_factor / simulation.g)
    # three standard deviations of what so many pairs of correlated intensities can tell
    relative = np.sqrt(2.0 * u / n)
    assert abs(np.median(deviation)) < 3.0 * relative + 0.01
    assert abs(np.polyfit(simulation.half_inv_d2, deviation, 1)[0]) < 3.0 * relative / np.std(simulation.half_inv_d2)
    spread = []
    for r in (result, without):
        y, x = np.log(r.inverse_scale_factor / simulation.g), simulation.half_inv_d2
        spread.append(np.std(y - np.polyval(np.polyfit(x, y, 1), x)))
    assert spread[0] < 1.05 * spread[1]


def test_one_sweep_without_equivalents_has_a_scale(tmp_path: Path) -> None:
    """In P1 a narrow sweep measures nothing twice, and a single observation suffices where there is a reference."""
    simulation = Simulation(space_group="P 1", n_sweeps=1, sweep_width=30.0, decay=0.0, absorption=0.0)
    with pytest.raises(DataError, match="no reflection is measured more than once"):
        pyscale.scale(simulation.job, anomalous=True)
    values, sigma = np.tile(simulation.intensity, 2), np.tile(simulation.sigma(), 2)
    columns = [("I", "J", values), ("SIGI", "Q", sigma)]
    miller_index = np.concatenate([simulation.miller_index, -simulation.miller_index])
    path = write_mtz(tmp_path / "p1.mtz", miller_index, columns, space_group="P 1")
    result = pyscale.scale(simulation.job, anomalous=True, reference=path)
    deviation = np.log(result.inverse_scale_factor / simulation.g)
    assert abs(np.median(deviation)) < 0.02


def test_a_wrong_observation_of_two_is_told_by_the_reference(simulation: Simulation, tmp_path: Path) -> None:
    one = Simulation(n_sweeps=1, sweep_width=60.0, outlier_fraction=0.0)
    counts = np.bincount(one.unique)
    pairs = np.flatnonzero(counts[one.unique] == 2)
    strong = pairs[one.intensity[one.unique[pairs]] > np.median(one.intensity)]
    wrong = strong[np.unique(one.unique[strong], return_index=True)[1]][::5]
    for name in ("prf", "sum"):
        one.table[f"intensity.{name}.value"][wrong] *= 3.0
    path = intensities(one, tmp_path / "ref.mtz")
    job = make_job(one.job.experiments, [one.table])
    result, without = pyscale.scale(job, reference=path), pyscale.scale(job)
    found, before = (r.table["flags"][wrong] & OUTLIER > 0 for r in (result, without))
    # without it only those that are too strong for any reflection are told
    assert wrong.size > 10 and before.mean() < 0.5 and found.mean() > 0.9


def test_the_cutoff_of_scales_follows_the_reference(simulation: Simulation, tmp_path: Path) -> None:
    tiny = write_mtz(
        tmp_path / "tiny.mtz",
        simulation.miller_index,
        [("I", "J", 1e6 * simulation.intensity), ("SIGI", "Q", 1e6 * simulation.sigma())],
    )
    result = scaled(simulation, tiny)
    assert not result.fit.small_scale.any()
    assert np.median(result.inverse_scale_factor / simulation.g) == pytest.approx(1e-6, rel=0.01)


def test_equal_results_for_any_number_of_threads_and_order(simulation: Simulation, tmp_path: Path) -> None:
    path = intensities(simulation, tmp_path / "ref.mtz")
    first = scaled(simulation, path, nproc=1)
    order = np.random.default_rng(3).permutation(len(simulation.table))
    shuffled: Job = make_job(simulation.job.experiments, [simulation.table.select(order)])
    second = pyscale.scale(shuffled, reference=path, absorption_correction=True, nproc=3)
    np.testing.assert_array_equal(first.inverse_scale_factor[order], second.inverse_scale_factor)


def test_the_same_again_from_the_output(simulation: Simulation, tmp_path: Path) -> None:
    path = intensities(simulation, tmp_path / "ref.mtz")
    first = scaled(simulation, path)
    second = pyscale.scale(make_job(first.experiments, [first.table]), reference=path)
    sigma = np.sqrt(first.table["inverse_scale_factor_variance"])
    use = sigma > 0
    assert np.abs((second.inverse_scale_factor - first.inverse_scale_factor)[use] / sigma[use]).max() < 0.2


@pytest.mark.parametrize("old", ["target_mtz", "target_model"])
def test_old_names_of_the_option(simulation: Simulation, tmp_path: Path, old: str, caplog: Any) -> None:
    path = intensities(simulation, tmp_path / "ref.mtz")
    with caplog.at_level(logging.INFO, "pyscale"):
        result = pyscale.scale(simulation.job, **{old: path, "absorption_correction": True})
    assert result.reference is not None and f"{old} was renamed to scaling_options.reference" in caplog.text
    with pytest.raises(UsageError, match="different files"):
        pyscale.scale(simulation.job, **{old: path, "reference": "other.mtz"})


@pytest.mark.parametrize(
    ("space_group", "cell", "words"),
    [
        ("P 1 2 1", CELL, "point group"),
        ("P 4 21 2", CELL, "point group"),
        (GROUP, (22.0, *CELL[1:]), "unit cell"),
        (GROUP, (*CELL[:3], 90.0, 96.0, 90.0), "unit cell"),
    ],
)
def test_another_crystal_form_is_refused(
    simulation: Simulation, tmp_path: Path, space_group: str, cell: tuple[float, ...], words: str
) -> None:
    columns = [("I", "J", simulation.intensity), ("SIGI", "Q", simulation.sigma())]
    path = write_mtz(tmp_path / "other.mtz", simulation.miller_index, columns, space_group, cell)
    with pytest.raises(DataError, match=words):
        scaled(simulation, path)


def test_nothing_in_common(simulation: Simulation, tmp_path: Path) -> None:
    columns = [("I", "J", simulation.intensity), ("SIGI", "Q", simulation.sigma())]
    path = write_mtz(tmp_path / "far.mtz", simulation.miller_index + np.int32(40), columns)
    with pytest.raises(DataError, match="no reflection in common"):
        scaled(simulation, path)


def test_files_that_are_no_reference(simulation: Simulation, tmp_path: Path) -> None:
    for name, content, words in (
        ("missing.mtz", None, "cannot be read"),
        ("empty.pdb", b"", "scale against"),
        ("words.txt", b"nothing of use\n", "scale against"),
        ("half.mtz", b"MTZ \x00\x01", "no reference that can be read"),
        ("quote.cif", b"data_x\n_cell.length_a 'ten\n", "no reference that can be read"),
        ("none.cif", b"data_x\n_cell.length_a 10\n", "neither"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError, match=words) as caught:
            scaled(simulation, str(path))
        assert "\n" not in str(caught.value) and name in str(caught.value)
    only_flags = write_mtz(
        tmp_path / "flags.mtz", simulation.miller_index, [("FreeR_flag", "I", np.ones(len(simulation.miller_index)))]
    )
    with pytest.raises(DataError, match="neither intensities nor amplitudes"):
        scaled(simulation, only_flags)


@pytest.mark.data
def test_real_sweeps_against_what_others_merge_to(data_root: Path, tmp_path: Path) -> None:
    def read(*numbers: int) -> Job:
        stems = [data_root / f"l_cysteine/{n}_integrated" for n in numbers]
        return pyscale.read(*(s.with_suffix(x) for s in stems for x in (".expt", ".refl")))

    write_merged(pyscale.scale(read(20, 25)), tmp_path / "merged.mtz")
    result = pyscale.scale(read(30, 35), reference=str(tmp_path / "merged.mtz"))
    assert result.reference is not None and len(result.reference.data_sets) == 2
    for found in result.reference.data_sets.values():
        assert found.n_groups > 1000 and found.cc > 0.998 and found.r < 0.06 < found.r_before
