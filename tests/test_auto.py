"""Auto rules: a table of facts and the decisions that follow, at the exact boundaries too."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyscale.auto import plan_model
from pyscale.errors import UsageError
from pyscale.model_plan import CrystalFacts, ModelPlan, Restraint, SweepFacts
from pyscale.options import ScalingOptions, with_changes

COSINE_LIMIT = math.degrees(math.acos(0.999))


def plan(range_deg: float, angle: float = 40.0, is_still: bool = False, **options: Any) -> ModelPlan:
    return plan_of_crystal(range_deg, angle, is_still, None, **options)


def plan_of_crystal(
    range_deg: float, angle: float, is_still: bool, crystal: CrystalFacts | None, **options: Any
) -> ModelPlan:
    facts = SweepFacts(is_still=is_still, rotation_range_deg=range_deg, max_scattering_angle_deg=angle, crystal=crystal)
    return plan_model(facts, with_changes(ScalingOptions(), {k.replace("__", "."): v for k, v in options.items()}))


@pytest.mark.parametrize(
    ("range_deg", "model", "scale", "decay", "absorption"),
    [
        (0.1, "KB", None, None, False),
        (math.nextafter(1.0, 0.0), "KB", None, None, False),
        (1.0, "physical", 1.0, 1.5, False),
        (math.nextafter(5.0, 0.0), "physical", 1.0, 1.5, False),
        (5.0, "physical", 2.0, 3.0, False),
        (math.nextafter(10.0, 0.0), "physical", 2.0, 3.0, False),
        (10.0, "physical", 4.0, 5.0, False),
        (math.nextafter(25.0, 0.0), "physical", 4.0, 5.0, False),
        (25.0, "physical", 8.0, 10.0, False),
        (60.0, "physical", 8.0, 10.0, False),
        (math.nextafter(60.0, 61.0), "physical", 8.0, 10.0, True),
        (math.nextafter(90.0, 0.0), "physical", 8.0, 10.0, True),
        (90.0, "physical", 15.0, 20.0, True),
        (3600.0, "physical", 15.0, 20.0, True),
    ],
)
def test_rotation_range(
    range_deg: float, model: str, scale: float | None, decay: float | None, absorption: bool
) -> None:
    found = plan(range_deg)
    assert found.model.value == model
    assert found.absorption.value is absorption
    assert found.scale.value is True and found.decay.value is True
    if scale is None:
        assert found.scale_interval is found.decay_interval is None
    else:
        assert (found.scale_interval.value, found.decay_interval.value) == (scale, decay)
    assert (found.lmax is None) == (found.surface_weight is None) == (not absorption)
    if absorption:
        assert found.lmax.value == 4


def test_absorption_needs_wide_scattering_angles() -> None:
    assert not plan(360.0, math.nextafter(COSINE_LIMIT, 0.0)).absorption.value
    assert plan(360.0, COSINE_LIMIT).absorption.value
    assert not plan(360.0, 0.0).absorption.value


def test_stills_have_a_kb_model() -> None:
    for options in ({}, {"model": "physical"}, {"model": "KB"}):
        found = plan(0.0, is_still=True, **options)
        assert found.model.value == "KB" and not found.absorption.value
        assert found.scale.value and found.decay.value
    assert not plan(0.0, is_still=True, KB__decay_correction=False).decay.value


@pytest.mark.parametrize(("level", "lmax", "weight"), [("low", 4, 5e5), ("medium", 6, 5e4), ("high", 6, 5e3)])
def test_absorption_level(level: str, lmax: int, weight: float) -> None:
    """The three levels of the documentation of DIALS; asked for, they hold for any data."""
    found = plan(10.0, 0.1, physical__absorption_level=level)
    assert found.absorption.value is True
    assert found.lmax.value == lmax and found.surface_weight.value == Restraint.fixed(weight)


@pytest.mark.parametrize(
    ("range_deg", "model", "scale", "decay", "absorption"),
    [
        (math.nextafter(1.0, 0.0), "KB", None, None, False),
        (1.0, "physical", 2.0, 3.0, False),
        (math.nextafter(10.0, 0.0), "physical", 2.0, 3.0, False),
        (10.0, "physical", 4.0, 5.0, False),
        (math.nextafter(25.0, 0.0), "physical", 4.0, 5.0, False),
        (25.0, "physical", 8.0, 10.0, False),
        (math.nextafter(60.0, 0.0), "physical", 8.0, 10.0, False),
        (60.0, "physical", 8.0, 10.0, True),
        (math.nextafter(90.0, 0.0), "physical", 8.0, 10.0, True),
        (90.0, "physical", 15.0, 20.0, True),
        (3600.0, "physical", 15.0, 20.0, True),
    ],
)
def test_rules_of_the_guide(
    range_deg: float, model: str, scale: float | None, decay: float | None, absorption: bool
) -> None:
    """Spec O.1 and O.4: the table of the guide of 2018, without a tier below 5 deg and without small angles."""
    for angle in (0.0, 40.0):
        found = plan(range_deg, angle, auto_rules="guide")
        assert (found.model.value, found.absorption.value) == (model, absorption)
        if scale is not None:
            assert (found.scale_interval.value, found.decay_interval.value) == (scale, decay)


@pytest.mark.parametrize("rules", ["current", "guide"])
def test_narrow_wedges_and_stills_have_a_kb_model(rules: str) -> None:
    """Spec O.5."""
    assert plan(0.5, auto_rules=rules).model.value == "KB"
    assert plan(0.0, is_still=True, auto_rules=rules).model.value == "KB"


def crystal(n_sweeps: int, range_deg: float, angle: float = 40.0) -> CrystalFacts:
    return CrystalFacts(
        n_sweeps=n_sweeps, rotation_range_deg=range_deg, max_scattering_angle_deg=angle, reason="they share a model"
    )


def test_class_and_absorption_follow_the_whole_crystal_and_intervals_the_sweep() -> None:
    together = crystal(4, 160.0)
    for own in (40.0, 0.5):
        found = plan_of_crystal(own, 1.0, False, together)
        assert found.model.value == "physical" and found.absorption.value is True
        for decision in (found.model, found.absorption):
            assert "4 sweeps of one crystal" in decision.reason and "together 160 deg" in decision.reason
    assert found.scale_interval.value == 1.0
    assert plan_of_crystal(40.0, 40.0, False, together).scale_interval.value == 8.0
    assert not plan_of_crystal(40.0, 40.0, False, crystal(2, 50.0)).absorption.value
    assert not plan_of_crystal(40.0, 40.0, False, crystal(2, 80.0, angle=1.0)).absorption.value
    assert plan_of_crystal(0.4, 40.0, False, crystal(2, 0.8)).model.value == "KB"


@given(st.floats(1.0, 3600.0), st.floats(0.0, 180.0), st.sampled_from(["current", "guide"]), st.booleans())
def test_explicit_options_win(range_deg: float, angle: float, rules: str, of_many: bool) -> None:
    """Spec O.7: every choice can be made by hand, whatever the rules and the other sweeps say."""
    together = crystal(3, 3.0 * range_deg) if of_many else None

    def plan(range_deg: float, angle: float, **options: Any) -> ModelPlan:
        return plan_of_crystal(range_deg, angle, False, together, auto_rules=rules, **options)

    for choice in (True, False):
        assert plan(range_deg, angle, physical__absorption_correction=choice).absorption.value is choice
        assert plan(range_deg, angle, physical__decay_correction=choice).decay.value is choice
        assert plan(range_deg, angle, physical__scale_correction=choice).scale.value is choice
    assert plan(range_deg, angle, model="KB").model.value == "KB"
    found = plan(
        range_deg,
        angle,
        physical__scale_interval=7.0,
        physical__decay_interval=9.0,
        physical__decay_restraint=0.25,
        physical__absorption_correction=True,
        physical__lmax=3,
        physical__surface_weight=123.0,
    )
    assert found.scale_interval.value == 7.0 and found.decay_interval.value == 9.0
    assert found.decay_restraint.value == Restraint.fixed(0.25)
    assert found.lmax.value == 3 and found.surface_weight.value == Restraint.fixed(123.0)
    decisions = (found.scale_interval, found.decay_interval, found.decay_restraint, found.lmax, found.surface_weight)
    assert {d.reason for d in decisions} == {"set by the user"}


def test_an_array_model_needs_a_grid_over_rotation() -> None:
    """DIALS cannot read one without."""
    for options in ({"decay": False}, {"absorption": False}):
        changes = {f"array__{name}_correction": value for name, value in options.items()}
        assert plan(90.0, model="array", **changes).model.value == "array"
    with pytest.raises(UsageError, match=r"array\.decay_correction"):
        plan(90.0, model="array", array__decay_correction=False, array__absorption_correction=False)


def test_a_physical_model_may_be_asked_for_below_one_degree() -> None:
    found = plan(0.5, model="physical")
    assert found.model.value == "physical" and found.scale_interval.value == 1.0


@given(st.floats(0.0, 3600.0), st.floats(0.0, 180.0), st.booleans())
def test_every_decision_has_a_reason_and_free_restraints_a_range(range_deg: float, angle: float, still: bool) -> None:
    found = plan(range_deg, angle, still)
    document = found.to_dict()
    assert {"model", "scale", "decay", "absorption"} <= document.keys()
    assert all(entry["reason"] for entry in document.values())
    for decision in (found.decay_restraint, found.surface_weight):
        if decision is not None:
            assert decision.value.lowest <= decision.value.start <= decision.value.highest
            assert (decision.value.lowest < decision.value.highest) == (found.model.value != "KB")
