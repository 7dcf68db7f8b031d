"""What became of a reflection: `pyscale show --reflection`, against the merged file and plain arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pyscale
from pyscale.cli import main
from pyscale.dataset import load_job, make_job
from pyscale.errors import DataError, UsageError
from pyscale.fates import FATES
from pyscale.io.refl import read_refl, write_refl
from pyscale.merge_job import MergingRules
from pyscale.options.merge import MergeOptions
from pyscale.reflection_lookup import look_up, parse_miller_index
from pyscale.reflections import Flag, ReflectionTable
from pyscale.result import ScalingResult
from pyscale.scaled_rows import select_scaled_rows

N_LOOKED_UP = 60


@pytest.fixture(scope="module")
def scaled(small_result: ScalingResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scaled")
    small_result.write(folder / "scaled.expt", folder / "scaled.refl")
    return folder


def files(folder: Path) -> list[str]:
    return [str(folder / "scaled.expt"), str(folder / "scaled.refl")]


def indices(table: ReflectionTable) -> list[tuple[int, int, int]]:
    """Indices of rejected, filtered, excluded and other rows."""
    bits = (Flag.outlier_in_scaling, Flag.excluded_for_scaling, Flag.user_excluded_in_scaling, Flag.scaled)
    chosen = [np.flatnonzero(table["flags"] & np.uint64(int(bit)))[: N_LOOKED_UP // 4] for bit in bits]
    return [tuple(h) for h in table["miller_index"][np.concatenate(chosen)].tolist()]


def test_merged_means_are_those_of_the_merged_file(scaled: Path) -> None:
    job = load_job(files(scaled))
    merged = pyscale.merge(job, assess_space_group=False, r_free_flags={"generate": False}).data_sets[0].merged
    row_of = {tuple(h): i for i, h in enumerate(merged.miller_index.tolist())}
    n_merged = 0
    for record in look_up(job, indices(read_refl(scaled / "scaled.refl"))):
        i = row_of.get(record.asu_miller_index)
        if i is None:
            assert record.merged is None
            continue
        n_merged += 1
        assert record.merged is not None
        for name in merged.__dataclass_fields__:
            np.testing.assert_allclose(getattr(record.merged, name)[0], getattr(merged, name)[i], rtol=1e-12)
        assert sum("merged" in o.fate.split(";")[0].split(",")[0] for o in record.observations) == merged.n_obs[i]
    assert n_merged > 20


def test_every_row_of_a_reflection_is_found_once_with_its_fate(scaled: Path) -> None:
    table = read_refl(scaled / "scaled.refl")
    rotations = pyscale.symmetry.rotation_matrices(load_job(files(scaled)).data_sets[0].experiment.space_group)
    for record in look_up(load_job(files(scaled)), indices(table)):
        equivalents = {tuple(h) for r in rotations for h in (record.miller_index @ r, -(record.miller_index @ r))}
        expected = [i for i, h in enumerate(table["miller_index"].tolist()) if tuple(h) in equivalents]
        assert sorted(o.row for o in record.observations) == expected
        for o in record.observations:
            assert o.fate == FATES[int(table["pyscale_fate"][o.row])].text
            assert o.miller_index == tuple(table["miller_index"][o.row].tolist())
            assert o.data_set == table.identifiers[int(table["id"][o.row])]
            assert o.n_records == table["n_records"][o.row]
            assert o.position == pytest.approx(table["xyzobs.px.value"][o.row])
            assert o.intensity == table["intensity.scale.value"][o.row]


def test_deviations_are_those_from_the_mean_of_the_others(scaled: Path) -> None:
    job = load_job(files(scaled))
    rules = MergingRules(job, MergeOptions())
    obs = rules.sorted(select_scaled_rows(job.data_sets, rules.cell, rules.options, rules.least_partiality))
    group_of = {tuple(h): k for k, h in enumerate(obs.asu_index.tolist())}
    n_compared = 0
    for record in look_up(job, indices(read_refl(scaled / "scaled.refl"))):
        k = group_of.get(record.asu_miller_index)
        if k is None:
            continue
        here = slice(obs.offsets[k], obs.offsets[k + 1])
        value, weight = obs.intensity[here], 1.0 / obs.variance[here]
        for o in record.observations:
            if o.deviation is None or o.scaled is None or o.sigma is None:
                continue
            others = np.abs(value - o.scaled) > 1e-9 * abs(o.scaled)
            mean = np.average(value[others], weights=weight[others])
            expected = (o.scaled - mean) / np.hypot(o.sigma, 1.0 / np.sqrt(weight[others].sum()))
            assert o.deviation == pytest.approx(expected, rel=1e-6)
            n_compared += 1
    assert n_compared > 100


def test_flags_that_another_program_changed_count(scaled: Path, tmp_path: Path) -> None:
    table = read_refl(scaled / "scaled.refl")
    flags = table["flags"].copy()
    row = int(np.flatnonzero(flags & np.uint64(int(Flag.scaled)))[0])
    flags[row] = (int(flags[row]) & ~int(Flag.scaled)) | int(Flag.outlier_in_scaling)
    table["flags"] = flags
    write_refl(table, tmp_path / "changed.refl")
    job = load_job([scaled / "scaled.expt", tmp_path / "changed.refl"])
    (record,) = look_up(job, [tuple(table["miller_index"][row].tolist())])
    (changed,) = [o for o in record.observations if o.row == row]
    assert changed.fate.startswith("rejected as an outlier (flags that were changed")


def test_files_without_our_column_are_told_by_flags(scaled: Path, tmp_path: Path) -> None:
    table = read_refl(scaled / "scaled.refl")
    wanted = indices(table)
    del table["pyscale_fate"]
    write_refl(table, tmp_path / "other.refl")
    told = {
        o.fate
        for r in look_up(load_job([scaled / "scaled.expt", tmp_path / "other.refl"]), wanted)
        for o in r.observations
    }
    assert told == {"merged", "rejected as an outlier", "not scaled", "excluded by the user"}


def test_before_scaling_parts_and_reasons_are_known() -> None:
    data = pyscale.simulate(d_min=5.0, sweep_width=40.0, n_sweeps=1, partials=0.3, seed=3)
    table = data.reflections()
    flags = table["flags"].copy()
    flags[5] &= ~np.uint64(int(Flag.integrated))
    table["flags"] = flags
    job = make_job(data.experiments(), [table])
    ids, first, counts = np.unique(table["partial_id"], return_index=True, return_counts=True)
    pair = ids[(counts == 2) & (first > 10)][0]
    rows = np.flatnonzero(table["partial_id"] == pair).tolist()
    wanted = [tuple(table["miller_index"][k].tolist()) for k in (rows[0], 5)]
    parts, filtered = look_up(job, wanted)
    fate = {o.row: o.fate for o in parts.observations}
    assert fate[rows[0]] == f"suitable for scaling; with rows {rows[1]}"
    assert fate[rows[1]] == f"partial: merged into row {rows[0]}"
    assert {o.row: o.fate for o in filtered.observations}[5] == "filtered: no valid intensity"
    assert all(o.g is None and o.deviation is None for o in parts.observations)
    assert parts.merged is None


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["show", *arguments]) == 0
    return capsys.readouterr().out


def test_the_command(scaled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = read_refl(scaled / "scaled.refl")
    h, k, l = table["miller_index"][np.flatnonzero(table["flags"] & np.uint64(int(Flag.scaled)))[0]].tolist()
    text = shown(capsys, "--reflection", f"{h} {k} {l}", *files(scaled))
    assert text == shown(capsys, f"--reflection={h},{k},{l}", *files(scaled))
    assert text == shown(capsys, f"reflection={h} {k} {l}", *files(scaled))
    assert text.startswith(f"Reflection {h} {k} {l}") and "\nMerged  I = " in text and "merged, used in the fit" in text
    both = shown(capsys, "--reflection", f"{h} {k} {l}", "--reflection", "30 0 0", *files(scaled))
    assert both.startswith(text.partition("\n\n")[0]) and "outside the resolution of the data" in both


def test_reflections_without_an_observation(scaled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = load_job(files(scaled))
    group = job.data_sets[0].experiment.space_group
    absent = next((h, 0, 0) for h in range(1, 9) if group.operations().is_systematically_absent([h, 0, 0]))
    assert "systematically absent in" in shown(capsys, "--reflection", "{} {} {}".format(*absent), *files(scaled))
    table = read_refl(scaled / "scaled.refl")
    (record,) = look_up(job, [tuple(table["miller_index"][0].tolist())])
    without = table.select(np.setdiff1d(np.arange(len(table)), [o.row for o in record.observations]))
    write_refl(without, tmp_path / "without.refl")
    text = shown(
        capsys,
        "--reflection",
        "{} {} {}".format(*record.miller_index),
        files(scaled)[0],
        str(tmp_path / "without.refl"),
    )
    assert "No observation: no row of the files has this index" in text


@pytest.mark.parametrize("text", ["", "1 2", "1 2 3 4", "1 2 x", "0 0 0", "1.5 2 3", "1e3 0 0", "99999 0 0", "1;2;3"])
def test_bad_indices(text: str) -> None:
    with pytest.raises(UsageError, match="reflection"):
        parse_miller_index(text)


def test_usage_errors_are_one_line(scaled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["--reflection", "1 2", *files(scaled)],
        ["--reflection"],
        [f"{files(scaled)[1]}", "--reflection", "1 2"],
    ):
        assert main(["show", *arguments]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "reflection" in err


def test_a_table_alone_has_no_symmetry(scaled: Path) -> None:
    with pytest.raises(DataError, match="no experiments"):
        load_job([scaled / "scaled.refl"])
    assert main(["show", "--reflection", "1 2 3", str(scaled / "scaled.refl")]) == 1
