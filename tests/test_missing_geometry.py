"""Models follow what is known of the data: no beam directions, no places on the detector, no rotation angles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import other_formats
import pyscale
from pyscale.auto import plan_model
from pyscale.dataset import Job, make_job
from pyscale.errors import DataError
from pyscale.job_checks import require_like_cells
from pyscale.model_needs import missing_for_models
from pyscale.model_plan import SweepFacts
from pyscale.model_variants import Variant, planned
from pyscale.options import ScalingOptions, with_changes
from pyscale.reflections import ReflectionTable
from pyscale.simulation import SimulatedData

ALL = {"reflection_selection": {"method": "use_all"}, "nproc": 1}


@pytest.fixture(scope="module")
def data() -> SimulatedData:
    return pyscale.simulate(
        d_min=3.5, sweep_width=90.0, oscillation_width=1.0, n_sweeps=2, outlier_fraction=0.0, seed=8
    )


def job(data: SimulatedData, **columns: Any) -> Job:
    """The simulated job with other columns; None leaves one out."""
    table = data.reflections()
    for name, values in columns.items():
        if values is None:
            del table[name.replace("__", ".")]
        else:
            table[name.replace("__", ".")] = values
    return make_job(data.experiments(), [table])


def options(**values: Any) -> ScalingOptions:
    return with_changes(ScalingOptions(), {name.replace("__", "."): value for name, value in values.items()})


@pytest.mark.parametrize("rules", ["current", "guide"])
@pytest.mark.parametrize("kind", ["no column", "zero", "not a number"])
def test_without_beam_directions_there_is_no_surface(data: SimulatedData, kind: str, rules: str) -> None:
    n = len(data.reflections())
    beams = {"no column": None, "zero": np.zeros((n, 3)), "not a number": np.full((n, 3), np.nan)}
    assert all(p.absorption.value for p in pyscale.scale(job(data), **ALL).plans)
    result = pyscale.scale(job(data, s1=beams[kind]), auto_rules=rules, **ALL)
    for plan, entry in zip(result.plans, result.ledger, strict=True):
        assert plan.model.value == "physical" and not plan.absorption.value
        assert plan.absorption.reason.startswith("no s1")
        assert "no_beam_direction" not in entry.to_dict()["filtered"]
    assert result.statistics.overall.n_obs > 0.95 * n
    assert np.all(np.asarray(result.inverse_scale_factor) > 0)


def test_single_rows_without_a_direction_leave(data: SimulatedData) -> None:
    beams = data.reflections()["s1"].copy()
    beams[::10] = 0.0
    result = pyscale.scale(job(data, s1=beams), **ALL)
    assert all(plan.absorption.value for plan in result.plans)
    left = sum(e.to_dict()["filtered"].get("no_beam_direction", 0) for e in result.ledger)
    assert left == len(beams[::10])


def test_each_data_set_follows_what_is_known_of_it(data: SimulatedData) -> None:
    table = data.reflections()
    parts = [table.select(table["id"] == k) for k in range(2)]
    for k, part in enumerate(parts):
        part.identifiers = {k: table.identifiers[k]}
    del parts[1]["s1"]
    result = pyscale.scale(make_job(data.experiments(), parts), **ALL)
    assert [plan.absorption.value for plan in result.plans] == [True, False]


@pytest.mark.parametrize(
    "wish", [{"physical": {"absorption_correction": True}}, {"physical": {"absorption_level": "high"}}]
)
def test_a_surface_that_is_asked_for_needs_them(data: SimulatedData, wish: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"data set \S+: column 's1' is missing .* leave absorption to the rules"):
        pyscale.scale(job(data, s1=None), **wish, **ALL)


def test_other_models_keep_to_it_too(data: SimulatedData) -> None:
    facts = SweepFacts(
        is_still=False,
        rotation_range_deg=180.0,
        max_scattering_angle_deg=0.0,
        has_beam_directions=False,
        has_positions=False,
    )
    rules = plan_model(facts, options())
    assert planned(Variant(lmax=6), [rules], options(), "because") == [rules]
    assert planned(Variant(array=True), [rules], options(), "because") == [rules]
    (finer,) = planned(Variant(lmax=4, scale=0.5), [rules], options(), "because")
    assert finer.lmax is None and finer.scale_interval.value == rules.scale_interval.value / 2
    with pytest.raises(DataError, match="'s1' is missing"):
        plan_model(facts, options(model="dose_decay", dose_decay__absorption_correction=True))
    array = plan_model(facts, options(model="array"))
    assert array.decay.value and not array.absorption.value and array.n_absorption_bins is None
    for name, value in (("modulation_correction", True), ("decay_correction", False)):
        with pytest.raises(DataError, match="no places on the detector"):
            plan_model(facts, options(model="array", **{f"array__{name}": value}))


def test_array_models_without_places_follow_resolution_only(data: SimulatedData) -> None:
    place = data.reflections()["xyzobs.px.value"].copy()
    place[:, :2] = np.nan
    result = pyscale.scale(job(data, xyzobs__px__value=place), model="array", **ALL)
    assert all(p.model.value == "array" and not p.absorption.value for p in result.plans)
    assert np.isfinite(np.asarray(result.inverse_scale_factor)).all()


def test_cross_validation_tries_no_surface_without_directions(data: SimulatedData) -> None:
    result = pyscale.scale(job(data, s1=None), model="cross_validated", **ALL)
    assert result.model_choice is not None
    assert not any("absorption" in t.name for t in result.model_choice.tried)
    assert all(p.lmax is None for p in result.plans)


def test_several_kinds_are_scaled_together(tmp_path: Path) -> None:
    batches = other_formats.simulated_batches(2)
    hkl = tmp_path / "x.hkl"
    hkl.write_text(other_formats.hklf4_text(batches.index, batches.intensity, batches.sigma, batches.batch))
    stream = tmp_path / "x.stream"
    stream.write_text(other_formats.stream_text(other_formats.simulated_stills(5)))
    symmetry = {"unit_cell": other_formats.CELL, "space_group": "P222"}
    mixed = pyscale.read(stream, hkl, **symmetry)
    assert [len(pyscale.read(x, **symmetry).data_sets) for x in (stream, hkl)] == [5, 2]
    assert len(mixed.data_sets) == 7
    assert list(mixed.input_decisions) == mixed.identifiers
    names = [{d.name for d in mixed.input_decisions[i]} for i in mixed.identifiers]
    assert all("polarization_fraction" in n for n in names[:5]) and all("geometry" in n for n in names[5:])
    result = pyscale.scale(mixed, nproc=1, input={"unit_cell": other_formats.CELL})
    assert result.statistics.overall.n_obs > 0


def test_cells_of_files_that_differ_are_refused(tmp_path: Path) -> None:
    stream = tmp_path / "x.stream"
    stream.write_text(other_formats.stream_text(other_formats.simulated_stills(3)))
    batches = other_formats.simulated_batches(1)
    hkl = tmp_path / "x.hkl"
    tail = "CELL 0.7 33.5 40 55 90 90 90\nLATT -1\nSYMM -X,-Y,Z\nSYMM -X,Y,-Z\n"
    hkl.write_text(other_formats.hklf4_text(batches.index, batches.intensity, batches.sigma, batches.batch, tail))
    differing = pyscale.read(stream, hkl)
    with pytest.raises(
        DataError, match=r"x\.hkl: the unit cell 33\.50 .* is not that of .*x\.stream .*give unit_cell="
    ):
        pyscale.scale(differing, nproc=1)
    require_like_cells(differing, options(input__unit_cell=other_formats.CELL))
    hkl.write_text(hkl.read_text().replace("33.5", "31.5"))
    require_like_cells(pyscale.read(stream, hkl), options())
    with pytest.raises(DataError, match=r"different space groups .*space_group="):
        pyscale.scale(pyscale.read(stream, write_in_p2(hkl)), nproc=1)


def write_in_p2(hkl: Path) -> Path:
    hkl.write_text(hkl.read_text().replace("SYMM -X,-Y,Z\n", ""))
    return hkl


def test_what_is_missing_is_listed(data: SimulatedData) -> None:
    def lacks(job: Job, tables: list[ReflectionTable] | None = None) -> list[str]:
        return missing_for_models(list(job.experiments), tables or [d.reflections for d in job.data_sets])

    assert lacks(job(data)) == []
    assert lacks(job(data, s1=None)) == ["no directions of diffracted beams (s1): no absorption surface"]
    some = job(data)
    one = some.data_sets[0].reflections.copy()
    del one["s1"]
    (text,) = lacks(some, [one, some.data_sets[1].reflections])
    assert text.endswith("(1 of 2 data sets)")
    flags = lacks(job(data, flags=None))
    assert flags == ["no flags of integration (column flags): nothing can be scaled"]
