"""`pyscale apply`: stored models evaluated on reflections."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyscale
from pyscale.applied import apply_files
from pyscale.cli import main
from pyscale.errors import DataError, UsageError
from pyscale.io.refl import read_refl
from pyscale.reflections import Flag

STORED = [
    "quartz_ed",
    "reference/lcys_20_physical",
    "reference/lcys_4_physical",
    "reference/lcys_4_KB",
    "reference/lcys_4_high",
    "reference/lcys_20_array",
    "reference/lcys_20_modulation",
    "reference/ed_p212121",
]
BAD = np.uint64(int(Flag.bad_for_scaling))


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two simulated sweeps and their scaled files."""
    folder = tmp_path_factory.mktemp("apply")
    data = pyscale.simulate(
        unit_cell=(20.0, 24.0, 30.0, 90.0, 90.0, 90.0), n_sweeps=2, sweep_width=90.0, d_min=2.0, seed=3
    )
    data.write(folder)
    job = pyscale.read(folder / "simulated.expt", folder / "simulated.refl")
    pyscale.scale(job).write(folder / "scaled.expt", folder / "scaled.refl")
    return folder


def edited(path: Path, target: Path, change: Any) -> Path:
    document = json.loads(path.read_text())
    change(document)
    target.write_text(json.dumps(document))
    return target


@pytest.mark.parametrize("name", STORED)
def test_models_of_dials_give_the_scales_that_dials_stored(data_root: Path, name: str) -> None:
    folder = data_root / name
    stored = read_refl(folder / "scaled.refl")
    g = apply_files(folder / "scaled.expt", [folder / "scaled.refl"]).inverse_scale_factor
    good = (stored["flags"] & BAD) == 0
    assert good.sum() > 1000
    np.testing.assert_allclose(g[good], stored["inverse_scale_factor"][good], rtol=1e-9, atol=0)


def test_our_own_models_give_the_scales_that_we_stored(scaled: Path) -> None:
    stored = read_refl(scaled / "scaled.refl")
    applied = apply_files(scaled / "scaled.expt", [scaled / "scaled.refl"])
    good = (stored["flags"] & np.uint64(int(Flag.scaled))) != 0
    np.testing.assert_allclose(
        applied.inverse_scale_factor[good], stored["inverse_scale_factor"][good], rtol=1e-12, atol=0
    )
    np.testing.assert_array_equal(
        applied.table["inverse_scale_factor_variance"][good], stored["inverse_scale_factor_variance"][good]
    )


def test_only_scales_change_and_rows_keep_their_order(scaled: Path) -> None:
    stored = read_refl(scaled / "scaled.refl")
    table = apply_files(scaled / "scaled.expt", [scaled / "scaled.refl"]).table
    assert table.names() == stored.names()
    for name in set(table.names()) - {"inverse_scale_factor", "inverse_scale_factor_variance"}:
        np.testing.assert_array_equal(table[name], stored[name], err_msg=name)


def test_integrated_reflections_get_scales_and_intensities(scaled: Path) -> None:
    stored = read_refl(scaled / "scaled.refl")
    table = apply_files(scaled / "scaled.expt", [scaled / "simulated.expt", scaled / "simulated.refl"]).table
    good = (stored["flags"] & np.uint64(int(Flag.scaled))) != 0
    np.testing.assert_allclose(table["inverse_scale_factor"][good], stored["inverse_scale_factor"][good], rtol=1e-12)
    np.testing.assert_allclose(table["intensity.scale.value"][good], stored["intensity.scale.value"][good], rtol=1e-12)
    assert not table["inverse_scale_factor_variance"].any()
    np.testing.assert_array_equal(table["flags"], read_refl(scaled / "simulated.refl")["flags"])


def test_the_stored_origin_is_ignored_after_another_program_changed_the_parameters(
    scaled: Path, tmp_path: Path
) -> None:
    def shift(document: dict[str, Any]) -> None:
        for model in document["scaling_model"]:
            for (axis,) in model["configuration_parameters"]["pyscale"]["axes"].values():
                axis[1] += 0.3

    def refit(document: dict[str, Any]) -> None:
        shift(document)
        for model in document["scaling_model"]:
            model["scale"]["parameters"] = [2.0 * p for p in model["scale"]["parameters"]]

    reference = apply_files(scaled / "scaled.expt", [scaled / "scaled.refl"]).inverse_scale_factor
    shifted = edited(scaled / "scaled.expt", tmp_path / "shifted.expt", shift)
    moved = apply_files(shifted, [scaled / "scaled.refl"]).inverse_scale_factor
    assert np.abs(moved / reference - 1).max() > 1e-4
    refitted = edited(scaled / "scaled.expt", tmp_path / "refitted.expt", refit)
    doubled = apply_files(refitted, [scaled / "scaled.refl"]).inverse_scale_factor
    np.testing.assert_allclose(doubled, 2.0 * reference, rtol=1e-12)


def test_one_data_set_of_several_takes_its_own_model(scaled: Path, tmp_path: Path) -> None:
    whole = apply_files(scaled / "scaled.expt", [scaled / "scaled.refl"])
    table = read_refl(scaled / "scaled.refl")
    part = table.select(table["id"] == 1)
    part.identifiers = {1: table.identifiers[1]}
    from pyscale.io.refl import write_refl

    write_refl(part, tmp_path / "second.refl")
    alone = apply_files(scaled / "scaled.expt", [tmp_path / "second.refl"])
    assert alone.job.identifiers == [table.identifiers[1]]
    np.testing.assert_array_equal(alone.inverse_scale_factor, whole.inverse_scale_factor[table["id"] == 1])


def test_rows_that_cannot_be_evaluated_keep_scale_one(scaled: Path, tmp_path: Path) -> None:
    from pyscale.io.refl import write_refl

    table = read_refl(scaled / "scaled.refl")
    miller, centroid = table["miller_index"].copy(), table["xyzobs.px.value"].copy()
    miller[4] = 0
    centroid[7, 2] = np.nan
    table["miller_index"], table["xyzobs.px.value"] = miller, centroid
    write_refl(table, tmp_path / "holes.refl")
    g = apply_files(scaled / "scaled.expt", [tmp_path / "holes.refl"]).inverse_scale_factor
    assert g[4] == 1.0 and g[7] == 1.0
    whole = apply_files(scaled / "scaled.expt", [scaled / "scaled.refl"]).inverse_scale_factor
    others = ~np.isin(np.arange(len(g)), [4, 7])
    np.testing.assert_array_equal(g[others], whole[others])


def _without_models(document: dict[str, Any]) -> None:
    del document["experiment"][1]["scaling_model"]


def _unknown_model(document: dict[str, Any]) -> None:
    document["scaling_model"][0]["__id__"] = "spline"


def _array_model(document: dict[str, Any]) -> None:
    document["scaling_model"][0]["__id__"] = "array"


def _zero_factor(document: dict[str, Any]) -> None:
    document["scaling_model"][0]["configuration_parameters"]["s_norm_fac"] = 0.0


def _text_parameter(document: dict[str, Any]) -> None:
    document["scaling_model"][0]["scale"]["parameters"][0] = "one"


def _no_configuration(document: dict[str, Any]) -> None:
    document["scaling_model"][0]["configuration_parameters"] = [1]


def _huge_b(document: dict[str, Any]) -> None:
    parameters = document["scaling_model"][0]["decay"]["parameters"]
    document["scaling_model"][0]["decay"]["parameters"] = [1e6 for _ in parameters]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without_models, "no scaling model for experiment"),
        (_unknown_model, "'spline' cannot be evaluated"),
        (_array_model, "component 'scale' of the scaling model is not known"),
        (_zero_factor, "s_norm_fac must be finite and positive"),
        (_text_parameter, "component 'scale'"),
        (_no_configuration, "configuration_parameters"),
        (_huge_b, "does not belong to these reflections"),
    ],
)
def test_models_that_cannot_be_evaluated_are_refused_in_one_line(
    scaled: Path, tmp_path: Path, change: Any, words: str
) -> None:
    broken = edited(scaled / "scaled.expt", tmp_path / "broken.expt", change)
    with pytest.raises(DataError, match=words) as error:
        apply_files(broken, [scaled / "scaled.refl"])
    assert "\n" not in str(error.value)
    assert "broken.expt" in str(error.value) or "scaled.refl" in str(error.value)


def test_a_model_file_without_any_model_or_of_other_data_is_refused(scaled: Path, data_root: Path) -> None:
    with pytest.raises(DataError, match="no scaling model"):
        apply_files(scaled / "simulated.expt", [scaled / "simulated.refl"])
    with pytest.raises(DataError, match=r"2 experiments.* 1 "):
        apply_files(
            scaled / "scaled.expt",
            [data_root / "quartz_ed" / "integrated.expt", data_root / "quartz_ed" / "integrated.refl"],
        )
    with pytest.raises(DataError, match="no reflections"):
        apply_files(scaled / "scaled.expt", [scaled / "simulated.expt"])


def test_the_command_writes_both_files_and_spares_its_inputs(
    scaled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["apply", str(scaled / "scaled.expt"), str(scaled / "simulated.refl"), "nproc=1"]) == 0
    assert "model physical" in capsys.readouterr().out
    again = apply_files("applied.expt", ["applied.refl"])
    np.testing.assert_allclose(
        again.inverse_scale_factor, read_refl("applied.refl")["inverse_scale_factor"], rtol=1e-12
    )
    with pytest.raises(UsageError, match="input file"):
        again.write_outputs(_Paths("applied.expt", "applied.refl"), inputs=["applied.expt", "applied.refl"])


class _Paths:
    def __init__(self, experiments: str, reflections: str) -> None:
        self.experiments, self.reflections = experiments, reflections
