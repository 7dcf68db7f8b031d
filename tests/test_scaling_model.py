"""Stored models: what is written is read, and our own keys do not outlive another program's parameters."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from pyscale.auto import SweepFacts, plan_model
from pyscale.errors import DataError
from pyscale.options import ScalingOptions, with_changes
from pyscale.scaling_model import ComponentModel, DataSetModel, JointModel, model_from_dict, model_from_plan


def model(range_deg: float = 120.0, width: float = 0.5, seed: int = 0, **options: Any) -> DataSetModel:
    """A model of auto rules with arbitrary parameters and uncertainties, one of them unknown, over a full sweep."""
    facts = SweepFacts(is_still=False, rotation_range_deg=range_deg, max_scattering_angle_deg=50.0)
    changes = {name.replace("__", "."): value for name, value in options.items()}
    plan = plan_model(facts, with_changes(ScalingOptions(), changes))
    empty = model_from_plan(plan, range_deg, width).placed(np.linspace(0.2, range_deg / abs(width) - 0.3, 50))
    joint = JointModel([empty])
    rng = np.random.default_rng(seed)
    sigmas = rng.uniform(0.001, 0.1, joint.n_parameters)
    sigmas[-1] = math.inf
    return joint.with_parameters(rng.normal(1.0, 0.3, joint.n_parameters), sigmas)[0]


def read_back(document: dict[str, Any]) -> DataSetModel:
    return model_from_dict(json.loads(json.dumps(document, allow_nan=False)), "there")


CASES: dict[str, dict[str, Any]] = {
    "physical": {},
    "no absorption": {"physical__absorption_correction": False},
    "no decay": {"physical__decay_correction": False},
    "constant scale": {"physical__scale_correction": False},
    "narrow": {"range_deg": 3.0, "width": 0.1},
    "backwards": {"width": -0.5},
    "high absorption": {"physical__absorption_level": "high"},
    "KB": {"model": "KB"},
    "K": {"model": "KB", "KB__decay_correction": False},
}


@pytest.mark.parametrize("name", CASES)
def test_a_round_trip_keeps_what_evaluation_needs(name: str) -> None:
    before = model(**CASES[name])
    after = read_back(before.to_dict({"Imid": 0.0}))
    assert after.model == before.model
    assert after.configuration["Imid"] == 0.0
    assert [c.name for c in after.components] == [c.name for c in before.components]
    for old, new in zip(before.components, after.components, strict=True):
        assert (new.kind, new.axis, new.factor, new.interval_deg) == (old.kind, old.axis, old.factor, old.interval_deg)
        assert_array_equal(new.parameters, old.parameters)
        known = np.isfinite(old.sigmas)
        assert_array_equal(new.sigmas[known], old.sigmas[known])
        assert np.all(new.sigmas[~known] > 1e3)
    assert read_back(after.to_dict({})).components[0].axis == before.components[0].axis


@given(st.integers(0, 2**32 - 1))
def test_every_bit_of_the_parameters_is_kept(seed: int) -> None:
    before = model(seed=seed)
    after = read_back(before.to_dict({}))
    for old, new in zip(before.components, after.components, strict=True):
        assert_array_equal(new.parameters, old.parameters)


def test_null_values_and_numbers_of_parameters_are_those_of_dials() -> None:
    document = model().to_dict({})
    assert document["__id__"] == "physical"
    assert {n: document[n]["null_parameter_value"] for n in ("scale", "decay", "absorption")} == {
        "scale": 1.0,
        "decay": 0.0,
        "absorption": 0.0,
    }
    assert document["absorption"]["n_parameters"] == 24
    configuration = document["configuration_parameters"]
    assert configuration["corrections"] == ["scale", "decay", "absorption"]
    assert configuration["lmax"] == 4
    for key in ("s_norm_fac", "scale_rot_interval", "d_norm_fac", "decay_rot_interval", "abs_surface_weight"):
        assert configuration[key] > 0, key


def test_our_keys_are_ignored_when_the_parameters_are_another_programs() -> None:
    before = model()
    document = before.to_dict({})
    assert read_back(document).components[0].axis == before.components[0].axis
    document["decay"]["parameters"][0] += 1e-9
    stale = read_back(document)
    assert [c.axis for c in stale.components] == [None, None, None]
    # without them the nodes are laid over the data, as DIALS does
    placed = stale.placed(np.linspace(0.2, 239.7, 50))
    assert placed.components[0].axis == before.components[0].axis

    constant = model(physical__scale_correction=False).to_dict({})
    assert read_back(constant).components[0].kind == "constant_scale"
    constant["configuration_parameters"]["pyscale"]["digest"] = "0" * 16
    with pytest.raises(DataError, match="there: the scaling model lacks"):
        read_back(constant)


def changed(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        *parents, last = path.split("/")
        for parent in parents:
            document = document[parent]
        document[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("__id__", "array"), "type 'array'"),
        (changed("configuration_parameters", [1]), "must be an object"),
        (changed("configuration_parameters/corrections", "scale"), "list of names"),
        (changed("configuration_parameters/corrections", ["scale", "modulation"]), "'modulation'"),
        (changed("configuration_parameters/corrections", []), None),
        (changed("scale/parameters", []), "component 'scale'"),
        (changed("scale/parameters", [1.0, None]), "component 'scale'"),
        (changed("scale/parameters", [1.0]), "two parameters"),
        (changed("scale/parameters", "many"), "component 'scale'"),
        (changed("scale", 3), "component 'scale'"),
        (changed("absorption/parameters", [0.0] * 23), "23 parameters"),
        (changed("configuration_parameters/s_norm_fac", 0), "s_norm_fac"),
        (changed("configuration_parameters/d_norm_fac", "x"), "component 'decay'"),
    ],
)
def test_bad_models_are_refused_in_one_line(change: Callable[[dict[str, Any]], None], message: str | None) -> None:
    document = model().to_dict({})
    change(document)
    if message is None:
        # no list of corrections: all that are there
        assert len(read_back(document).components) == 3
        return
    with pytest.raises(DataError) as error:
        read_back(document)
    text = str(error.value)
    assert text.startswith("there: ") and message in text and "\n" not in text


def test_the_joint_model_lays_parameters_out_in_order() -> None:
    first, second = model(seed=1), model(seed=2, model="KB")
    joint = JointModel([first, second])
    parts = [c for m in (first, second) for c in m.components]
    assert joint.n_parameters == sum(c.n_parameters for c in parts) == len(joint.names) == joint.restraints.size
    assert_array_equal(joint.parameters, np.concatenate([c.parameters for c in parts]))
    places = [place for row in joint.slices for place in row]
    assert [p.start for p in places] == [0, *np.cumsum([c.n_parameters for c in parts])[:-1]]
    for component, place in zip(parts, places, strict=True):
        assert_array_equal(joint.restraints[place], component.restraint)
        assert joint.mask(component.name)[place].all()
    assert_array_equal(np.bincount(joint.data_set_of_parameters()), [first.n_parameters, second.n_parameters])
    back = joint.with_parameters(np.arange(joint.n_parameters, dtype=float))
    assert_array_equal(JointModel(back).parameters, np.arange(joint.n_parameters))
    assert all(c.sigmas is None for m in back for c in m.components)


@pytest.mark.parametrize("lmax", range(1, 13))
def test_lmax(lmax: int) -> None:
    assert ComponentModel("absorption", "absorption", np.zeros((lmax + 1) ** 2 - 1)).lmax == lmax
