"""`pyscale merge`: the same numbers as scaling, brute force, dials.merge and gemmi."""

from __future__ import annotations

import json
import os
import subprocess
from collections import defaultdict
from dataclasses import asdict, replace
from pathlib import Path

import gemmi
import numpy as np
import pytest

import pyscale
from pyscale import DataError, UsageError
from pyscale.cli import main
from pyscale.dataset import Job, load_job, make_job
from pyscale.io.refl import read_refl, write_refl
from pyscale.merge_result import MergeResult
from pyscale.reflections import Flag
from pyscale.result import ScalingResult
from pyscale.symmetry import d_spacing, rotation_matrices, systematic_absences
from pyscale.unit_cells import group_wavelengths

COLUMNS = """
H H K H L H IMEAN J SIGIMEAN Q I(+) K SIGI(+) M I(-) K SIGI(-) M N I N(+) I N(-) I
F F SIGF Q F(+) G SIGF(+) L F(-) G SIGF(-) L DANO D SIGDANO Q
IHALF1 J SIGIHALF1 Q NHALF1 R IHALF2 J SIGIHALF2 Q NHALF2 R FreeR_flag I
"""

KEPT = {
    *("id", "flags", "miller_index", "xyzobs.px.value", "partiality", "d"),
    *("intensity.scale.value", "intensity.scale.variance", "inverse_scale_factor", "inverse_scale_factor_variance"),
}


@pytest.fixture(scope="module")
def folder(small_result: ScalingResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with scaled.expt and scaled.refl."""
    path = tmp_path_factory.mktemp("scaled")
    small_result.write(path / "scaled.expt", path / "scaled.refl")
    return path


@pytest.fixture(scope="module")
def job(folder: Path) -> Job:
    return load_job([folder / "scaled.expt", folder / "scaled.refl"])


def columns(path: Path) -> dict[str, np.ndarray]:
    mtz = gemmi.read_mtz_file(str(path))
    return {c.label: np.array(c.array, dtype=np.float64) for c in mtz.columns}


def miller(table: dict[str, np.ndarray]) -> list[tuple[int, ...]]:
    return [tuple(h) for h in np.stack([table[c] for c in "HKL"], axis=1).astype(int).tolist()]


def test_statistics_are_those_of_scaling(small_result: ScalingResult) -> None:
    merged = pyscale.merge(small_result)
    partiality = small_result.table["partiality"]
    assert ((partiality >= 0.25) & (partiality < 0.4)).any()
    ours, theirs = merged.data_sets[0].statistics, small_result.statistics
    for mine, scaling in zip((ours.overall, *ours.shells), (theirs.overall, *theirs.shells), strict=True):
        for name, value in asdict(scaling).items():
            assert getattr(mine, name) == pytest.approx(value, rel=1e-5, nan_ok=True), name
    assert merged.n_merged == theirs.overall.n_obs
    assert merged.n_merged + sum(merged.left_out.values()) == merged.rows.n_read


def brute_force(
    table: pyscale.dataset.ReflectionTable, group: gemmi.SpaceGroup
) -> dict[tuple[int, ...], list[tuple[float, float, float, float]]]:  # type: ignore[name-defined]
    """I/g, variance/g^2, var(g)/g^2 and correlation of the scaled observations of each reflection."""
    found = defaultdict(list)
    rotations = rotation_matrices(group)
    index = table["miller_index"]
    use = (table["flags"] & np.uint64(int(Flag.scaled))) != 0
    use &= (table["flags"] & np.uint64(int(Flag.bad_for_scaling))) == 0
    use &= ~systematic_absences(group, index)
    g, variance_g = table["inverse_scale_factor"], table["inverse_scale_factor_variance"]
    value, variance = table["intensity.scale.value"], table["intensity.scale.variance"]
    for i in np.flatnonzero(use):
        images = np.concatenate([index[i] @ rotations, -(index[i] @ rotations)])
        key = max(map(tuple, images.tolist()))
        correlation = table["pyscale_scale_correlation"][i, 1]
        found[key].append((value[i] / g[i], variance[i] / g[i] ** 2, variance_g[i] / g[i] ** 2, correlation))
    return found


def test_means_and_sigmas_by_brute_force(job: Job, small_result: ScalingResult) -> None:
    groups = brute_force(small_result.table, small_result.space_group)
    independent = pyscale.merge(job, scale_errors="independent").data_sets[0].merged
    common = pyscale.merge(job).data_sets[0].merged
    internal = pyscale.merge(job, scale_errors="independent", use_internal_variance=True).data_sets[0].merged
    assert {tuple(h) for h in independent.miller_index.tolist()} == set(groups)
    for k, key in enumerate(map(tuple, independent.miller_index.tolist())):
        i, v, q, correlation = np.array(groups[key]).T
        assert np.ptp(correlation) == 0
        w = 1 / v
        mean = (w * i).sum() / w.sum()
        assert independent.intensity[k] == pytest.approx(mean, rel=1e-9, abs=1e-9)
        assert independent.sigma[k] == pytest.approx(w.sum() ** -0.5, rel=1e-9)
        assert independent.n_obs[k] == len(i)
        spread = 0.0
        if len(i) > 1:
            u = w / w.sum()
            spread = (u * (i - mean) ** 2).sum() / (1 - (u**2).sum()) / len(i)
        assert internal.sigma[k] == pytest.approx(max(spread, 1 / w.sum()) ** 0.5, rel=1e-9)
        # Weights of sigma' alone: the fixed point of v' = v - I^2 q. Errors of scales are added as they are correlated.
        for _ in range(100):
            w = 1 / np.maximum(v - mean**2 * q, 0.1 * v)
            mean = (w * i).sum() / w.sum()
        assert common.intensity[k] == pytest.approx(mean, rel=1e-6, abs=1e-6)
        pairs = np.outer(w * np.sqrt(q), w * np.sqrt(q)) * np.where(np.eye(len(i)), 1.0, correlation[0])
        scale = mean**2 * max(pairs.sum(), 0.0) / w.sum() ** 2
        assert common.sigma[k] == pytest.approx(np.sqrt(1 / w.sum() + scale), rel=1e-6)


def test_files_without_correlations_have_the_upper_bound(folder: Path) -> None:
    """As older files of pyscale: no sigma is smaller, and that of a single observation is the same."""
    job = pyscale.read(folder / "scaled.expt", folder / "scaled.refl")
    exact = pyscale.merge(job).data_sets[0].merged
    tables = [d.reflections.copy() for d in job.data_sets]
    for table in tables:
        del table["pyscale_scale_correlation"]
    bound = pyscale.merge(job.replaced(job.experiments, tables)).data_sets[0].merged
    np.testing.assert_array_equal(bound.intensity, exact.intensity)
    assert (bound.sigma >= exact.sigma * (1 - 1e-12)).all()
    single = exact.n_obs == 1
    np.testing.assert_allclose(bound.sigma[single], exact.sigma[single], rtol=1e-12)
    strong = exact.intensity > 20 * exact.sigma
    assert np.median(bound.sigma[strong] / exact.sigma[strong]) > 1.01


def test_variances_without_scale_errors_are_those_of_the_error_model(small_result: ScalingResult) -> None:
    """What scaling adds to the variances it stores, merging takes out again."""
    kept = ~small_result.scaled.outlier & ~small_result.scaled.small_scale & ~small_result.observations.absent
    g = small_result.scaled.g[kept]
    statistical = pyscale.merging.merge_reflections(
        small_result.observations.miller_index[kept],
        small_result.observations.intensity[kept] / g,
        small_result.scaled.variance[kept] / g**2,
        small_result.space_group,
    )
    merged = pyscale.merge(small_result, partiality_threshold=0).data_sets[0].merged
    np.testing.assert_array_equal(merged.miller_index, statistical.miller_index)
    np.testing.assert_allclose(merged.intensity, statistical.intensity, rtol=1e-5, atol=1e-5)
    assert np.all(merged.sigma >= statistical.sigma * (1 - 1e-6))
    assert (merged.sigma / statistical.sigma).max() > 1.02


def test_files_of_the_command(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    files = [str(folder / "scaled.expt"), str(folder / "scaled.refl")]
    assert main(["merge", *files, "additional_stats=True", "nproc=1"]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"merged.mtz", "merged.json", "pyscale.merge.log"}
    shown, log = capsys.readouterr().out, (tmp_path / "pyscale.merge.log").read_text()
    assert len(shown.splitlines()) <= 22 and "Written in " in shown
    assert "Summary of merging statistics" in log
    for text in (shown, log):
        assert "Free-R flags:" in text
    document = json.loads((tmp_path / "merged.json").read_text())
    assert document["ledger"]["read"] == document["ledger"]["merged"] + sum(document["ledger"]["left_out"].values())
    mtz = gemmi.read_mtz_file("merged.mtz")
    types = {c.label: c.type for c in mtz.columns}
    words = COLUMNS.split()
    assert types == dict(zip(words[::2], words[1::2], strict=True))
    table = columns(tmp_path / "merged.mtz")
    assert document["wavelengths"][0]["n_reflections"] == len(table["H"])
    assert np.isfinite(table["F"]).all() and (table["F"] > 0).all()
    np.testing.assert_allclose(table["DANO"], table["F(+)"] - table["F(-)"], rtol=1e-3, atol=1e-3)
    assert np.count_nonzero(table["FreeR_flag"] == 0) == document["free_flags"]["n_free"]
    asu = gemmi.ReciprocalAsu(mtz.spacegroup)
    assert all(asu.is_in(list(h)) for h in miller(table))


def test_halves_give_the_correlation_of_the_table(job: Job) -> None:
    data = pyscale.merge(job, additional_stats=True, merging={"n_splits": 1}).data_sets[0]
    assert data.halves is not None
    pair = data.merged.n_obs > 1
    a, b = (h[pair] for h in data.halves.intensity)
    assert np.corrcoef(a, b)[0, 1] == pytest.approx(data.statistics.overall.cc_half, abs=1e-9)
    np.testing.assert_array_equal(sum(data.halves.n_obs)[pair], data.merged.n_obs[pair])
    assert np.isnan(data.halves.intensity[0][~pair]).all()
    weight = [1 / s[pair] ** 2 for s in data.halves.sigma]
    np.testing.assert_allclose(
        (weight[0] * a + weight[1] * b) / (weight[0] + weight[1]), data.merged.intensity[pair], rtol=1e-9, atol=1e-9
    )
    other = pyscale.merge(job, additional_stats=True, merging={"seed": 7}).data_sets[0]
    assert other.halves is not None
    assert not np.array_equal(other.halves.intensity[0][pair], a)


def test_nothing_depends_on_the_order_of_rows_or_on_threads(small_result: ScalingResult, tmp_path: Path) -> None:
    table = small_result.table
    order = np.random.default_rng(1).permutation(len(table))
    shuffled = make_job(small_result.experiments, [table.select(order)])
    one = pyscale.merge(small_result, additional_stats=True, nproc=1)
    two = pyscale.merge(shuffled, additional_stats=True, nproc=3)
    for name, result in (("a", one), ("b", two)):
        result.write_mtz(tmp_path / f"{name}.mtz")
    a, b = columns(tmp_path / "a.mtz"), columns(tmp_path / "b.mtz")
    for label in a:
        np.testing.assert_array_equal(a[label], b[label], err_msg=label)
    assert one.data_sets[0].statistics == two.data_sets[0].statistics


def test_limits_and_exclusions_apply_to_scaled_data(job: Job, small_result: ScalingResult) -> None:
    whole = pyscale.merge(job)
    cut = pyscale.merge(job, d_min=5.0, d_max=12.0)
    d = d_spacing(cut.unit_cell, cut.data_sets[0].merged.miller_index)
    assert d.min() >= 5.0 * (1 - 1e-6)
    assert d.max() <= 12.0 * (1 + 1e-6)
    assert cut.left_out["d_min"] > 0
    place = {tuple(h): k for k, h in enumerate(whole.data_sets[0].merged.miller_index.tolist())}
    rows = [place[tuple(h)] for h in cut.data_sets[0].merged.miller_index.tolist()]
    np.testing.assert_array_equal(whole.data_sets[0].merged.intensity[rows], cut.data_sets[0].merged.intensity)
    assert whole.free_flags is not None
    assert cut.free_flags is not None
    np.testing.assert_array_equal(whole.free_flags.flag[rows], cut.free_flags.flag)
    fewer = pyscale.merge(job, exclude_images="0:1:20")
    assert fewer.left_out["exclude_images"] > 0
    assert fewer.n_merged == whole.n_merged - fewer.left_out["exclude_images"]
    one = pyscale.merge(job, use_datasets="1")
    data_set = np.asarray(small_result.table["id"])
    scaled = (small_result.table["flags"] & np.uint64(int(Flag.scaled))) != 0
    assert one.n_merged == np.count_nonzero(scaled & (data_set == 1))
    strict = pyscale.merge(job, partiality_threshold=0.99)
    assert strict.left_out["partiality_threshold"] > 0


def test_partiality_threshold_of_dials_merge_is_for_files_of_others(
    folder: Path, small_result: ScalingResult, tmp_path: Path
) -> None:
    document = json.loads((folder / "scaled.expt").read_text())
    for model in document["scaling_model"]:
        del model["configuration_parameters"]["pyscale"]
    (tmp_path / "other.expt").write_text(json.dumps(document))
    others = pyscale.merge(load_job([tmp_path / "other.expt", folder / "scaled.refl"]))
    explicit = pyscale.merge(small_result, partiality_threshold=0.4, scale_errors="independent")
    assert others.left_out["partiality_threshold"] == explicit.left_out["partiality_threshold"] > 0
    assert others.n_merged == explicit.n_merged < small_result.statistics.overall.n_obs


def test_merging_without_mates_and_amplitudes(job: Job, tmp_path: Path) -> None:
    result = pyscale.merge(
        job, anomalous=False, truncate=False, r_free_flags={"generate": False}, assess_space_group=False
    )
    result.write_mtz(tmp_path / "m.mtz")
    assert list(columns(tmp_path / "m.mtz")) == ["H", "K", "L", "IMEAN", "SIGIMEAN", "N"]
    assert result.to_dict()["free_flags"] is None
    assert result.to_dict()["screw_axes"] is None


def two_wavelengths(folder: Path, target: Path, shift: float) -> Job:
    """The job with another wavelength for its second data set."""
    document = json.loads((folder / "scaled.expt").read_text())
    beams, second = document["beam"], document["experiment"][1]
    beams.append(beams[second["beam"]] | {"wavelength": beams[second["beam"]]["wavelength"] + shift})
    second["beam"] = len(beams) - 1
    (target / "two.expt").write_text(json.dumps(document))
    return load_job([target / "two.expt", folder / "scaled.refl"])


def test_wavelengths_have_their_own_columns(folder: Path, job: Job, tmp_path: Path) -> None:
    together = pyscale.merge(two_wavelengths(folder, tmp_path, 5e-5))
    assert len(together.data_sets) == 1
    apart = pyscale.merge(two_wavelengths(folder, tmp_path, -0.02))
    assert [d.data_sets for d in apart.data_sets] == [(job.identifiers[1],), (job.identifiers[0],)]
    assert apart.data_sets[0].wavelength < apart.data_sets[1].wavelength
    assert apart.n_merged == together.n_merged
    apart.write_mtz(tmp_path / "m.mtz")
    mtz = gemmi.read_mtz_file(str(tmp_path / "m.mtz"))
    table = columns(tmp_path / "m.mtz")
    assert [(d.dataset_name, round(d.wavelength, 4)) for d in mtz.datasets[1:]] == [
        ("WAVE1", round(apart.data_sets[0].wavelength, 4)),
        ("WAVE2", round(apart.data_sets[1].wavelength, 4)),
    ]
    assert {c.dataset_id for c in mtz.columns if "WAVE2" in c.label} == {2}
    for k in (0, 1):
        alone = pyscale.merge(job, use_datasets=f"#{1 - k}", scale_errors="independent")
        other = pyscale.merge(two_wavelengths(folder, tmp_path, -0.02), scale_errors="independent").data_sets[k]
        np.testing.assert_array_equal(other.merged.intensity, alone.data_sets[0].merged.intensity)
        found = table[f"IMEAN_WAVE{k + 1}"]
        assert np.count_nonzero(np.isfinite(found)) == len(apart.data_sets[k].merged.intensity)
    assert np.isfinite(table["FreeR_flag"]).all()
    assert {"F_WAVE1(+)", "SIGF_WAVE2(-)", "DANO_WAVE1", "N_WAVE2(+)"} <= set(table)
    with pytest.raises(UsageError, match="dataset_names: 3 names for 2 wavelengths"):
        pyscale.merge(two_wavelengths(folder, tmp_path, -0.02), output={"dataset_names": ["a", "b", "c"]})


def test_electrons_fill_forbidden_reflections(job: Job) -> None:
    result = pyscale.merge(job, space_group="P222")
    assert result.screw_axes is not None
    axes = tuple(replace(axis, n_absent=5, probability=0.0) for axis in result.screw_axes.axes)
    x_rays = replace(result, screw_axes=replace(result.screw_axes, axes=axes))
    assert "Electrons" not in x_rays.summary()
    electrons = replace(x_rays, data_sets=[replace(d, wavelength=0.0251) for d in result.data_sets])
    assert "Electrons scatter more than once" in electrons.summary()


def test_rounding_does_not_join_peak_and_inflection_point() -> None:
    peak, inflection = np.float32(0.97910005), np.float32(0.97920001)
    peak, inflection = float(peak), float(inflection)
    assert 0 < inflection - peak < 1e-4
    values = np.array([inflection, peak, 0.9756, peak])
    assert [g.tolist() for g in group_wavelengths(values, 1e-4)] == [[2], [1, 3], [0]]
    assert [g.tolist() for g in group_wavelengths(values, 0.0)] == [[2], [1, 3], [0]]
    assert [g.tolist() for g in group_wavelengths(values, 0.01)] == [[0, 1, 2, 3]]


def test_pulses_of_stills_are_one_wavelength(folder: Path, tmp_path: Path) -> None:
    job = two_wavelengths(folder, tmp_path, 0.002)
    assert len(pyscale.merge(job).data_sets) == 2
    document = json.loads((tmp_path / "two.expt").read_text())
    for experiment in document["experiment"]:
        for key in ("scan", "goniometer", "scaling_model"):
            experiment.pop(key, None)
    (tmp_path / "stills.expt").write_text(json.dumps(document))
    stills = load_job([tmp_path / "stills.expt", folder / "scaled.refl"])
    assert len(pyscale.merge(stills).data_sets) == 1
    assert len(pyscale.merge(stills, wavelength_tolerance=1e-4).data_sets) == 2


def test_flags_are_kept_through_a_reference(job: Job, tmp_path: Path) -> None:
    first = pyscale.merge(job, d_min=6.0, r_free_flags={"seed": 5, "fraction": 0.1})
    first.write_mtz(tmp_path / "first.mtz")
    again = pyscale.merge(job, r_free_flags={"reference": str(tmp_path / "first.mtz")})
    again.write_mtz(tmp_path / "again.mtz")
    old, new = columns(tmp_path / "first.mtz"), columns(tmp_path / "again.mtz")
    flags = dict(zip(miller(new), new["FreeR_flag"], strict=True))
    assert all(flags[h] == f for h, f in zip(miller(old), old["FreeR_flag"], strict=True))
    assert len(new["H"]) > len(old["H"])
    assert again.free_flags is not None
    assert "first.mtz" in again.free_flags.source


def test_screw_axes_of_the_simulated_crystal(job: Job, small_result: ScalingResult) -> None:
    result = pyscale.merge(job)
    assert result.screw_axes is not None
    names = {c.name for c in result.screw_axes.candidates}
    assert small_result.space_group.xhm() in names
    assert "Screw axis" in result.summary()


def test_an_input_is_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(folder / "scaled.expt"), str(folder / "scaled.refl")]
    before = Path(files[1]).read_bytes()
    assert main(["merge", *files, f"output.mtz={files[1]}", "output.log=None", "output.json=None"]) == 0
    Path(files[1]).write_bytes(before)
    assert main(["merge", *files, "output.log=x.mtz", "output.mtz=x.mtz"]) == 2
    assert "two outputs" in capsys.readouterr().err


def test_what_cannot_be_merged_is_said_in_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = pyscale.simulate(d_min=5.0, sweep_width=10.0, oscillation_width=1.0, n_sweeps=1, seed=3)
    unscaled = [str(p) for p in data.write(tmp_path) if p.suffix in (".expt", ".refl")]
    assert main(["merge", *unscaled, "output.log=None"]) == 1
    assert "not scaled; run pyscale scale first" in capsys.readouterr().err
    files = [str(folder / "scaled.expt"), str(folder / "scaled.refl")]
    assert main(["merge", *files, "d_max=0.5", "output.log=None"]) == 1
    assert "no scaled reflection is left to merge" in capsys.readouterr().err
    assert main(["merge", *files, "combine_partials=False"]) == 2
    assert main(["merge", *files, "d_min=5", "d_max=4"]) == 2
    assert main(["merge"]) == 2
    assert main(["merge", "--help"]) == 0
    with pytest.raises(UsageError, match="best_unit_cell"):
        pyscale.merge(load_job(files), best_unit_cell=[10, 20, 30, 90, 90, 180])
    with pytest.raises(UsageError, match="not both"):
        pyscale.merge(load_job(files), options=pyscale.options.merge.MergeOptions(), d_min=3)


def test_tables_without_the_flag_scaled(small_result: ScalingResult) -> None:
    """They are of DIALS before 2019: what was not left out was scaled."""
    table = small_result.table.copy()
    table["flags"] = table["flags"] & ~np.uint64(int(Flag.scaled))
    old = pyscale.merge(make_job(small_result.experiments, [table]))
    assert old.n_merged == pyscale.merge(small_result).n_merged


def test_impossible_values_are_refused(small_result: ScalingResult) -> None:
    table = small_result.table.copy()
    value = table["intensity.scale.value"].copy()
    row = int(np.flatnonzero((table["flags"] & np.uint64(int(Flag.scaled))) != 0)[7])
    value[row] = np.nan
    table["intensity.scale.value"] = value
    with pytest.raises(DataError, match=f"'intensity.scale.value', row {row}: nan"):
        pyscale.merge(make_job(small_result.experiments, [table]), partiality_threshold=0)


def test_few_reflections_have_amplitudes_without_a_prior(job: Job) -> None:
    few = pyscale.merge(job, d_max=4.25)
    assert len(few.data_sets[0].merged.n_obs) > 0
    strict = {"min_reflections": 10**6, "fallback_to_flat_prior": False}
    assert pyscale.merge(job, french_wilson=strict).data_sets[0].amplitudes is None
    flat = pyscale.merge(job, french_wilson={"min_reflections": 10**6}).data_sets[0]
    assert flat.amplitudes is not None
    strong = flat.merged.intensity > 10 * flat.merged.sigma
    np.testing.assert_allclose(flat.amplitudes.amplitude[strong], np.sqrt(flat.merged.intensity[strong]), rtol=0.01)


def dials_merge(require_dials: Path, folder: Path) -> dict[str, np.ndarray]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    command = [str(require_dials / "dials.merge"), "scaled.expt", "scaled.refl", "output.mtz=dials.mtz"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return columns(folder / "dials.mtz")


def same_as_dials(theirs: dict[str, np.ndarray], result: MergeResult, folder: Path) -> None:
    result.write_mtz(folder / "ours.mtz")
    ours = columns(folder / "ours.mtz")
    place = {h: k for k, h in enumerate(miller(ours))}
    assert set(miller(theirs)) == set(place)
    rows = [place[h] for h in miller(theirs)]
    for label in ("IMEAN", "SIGIMEAN", "I(+)", "SIGI(+)", "I(-)", "SIGI(-)"):
        np.testing.assert_allclose(ours[label][rows], theirs[label], rtol=3e-6, atol=1e-5, err_msg=label)
    mates = np.isfinite(theirs["N(-)"])
    np.testing.assert_array_equal(ours["N(-)"][rows][mates], theirs["N(-)"][mates])
    for label in ("F(+)", "F(-)"):
        difference = np.abs(ours[label][rows] / theirs[label] - 1)
        assert np.nanmedian(difference) < 0.005


def test_agrees_with_dials_merge(require_dials: Path, folder: Path, job: Job) -> None:
    ours = pyscale.merge(job, scale_errors="independent", partiality_threshold=0.4)
    same_as_dials(dials_merge(require_dials, folder), ours, folder)


def test_agrees_with_dials_merge_on_files_of_dials(require_dials: Path, data_root: Path, tmp_path: Path) -> None:
    source = data_root / "reference" / "lcys_4_physical"
    document = json.loads((source / "scaled.expt").read_text())
    for scan in document["scan"]:
        # As versions of DIALS up to 3.16 want it.
        properties = scan.pop("properties")
        first, second = properties["oscillation"][:2]
        scan.update(
            {name: properties[name] for name in ("epochs", "exposure_time")}, oscillation=[first, second - first]
        )
    (tmp_path / "scaled.expt").write_text(json.dumps(document))
    table = read_refl(source / "scaled.refl")
    for name in set(table.names()) - KEPT:
        del table[name]
    write_refl(table, tmp_path / "scaled.refl")
    scaled = load_job([tmp_path / "scaled.expt", tmp_path / "scaled.refl"])
    result = pyscale.merge(scaled)
    assert result.scale_errors == "independent"
    same_as_dials(dials_merge(require_dials, tmp_path), result, tmp_path)
