"""Stored models: what is written is read, and our own keys do not outlive another program's parameters."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from pyscale.auto import plan_model
from pyscale.components import ComponentModel
from pyscale.errors import DataError
from pyscale.joint_model import JointModel
from pyscale.model_building import SweepExtent, model_from_plan
from pyscale.model_json import model_to_dict
from pyscale.model_plan import SweepFacts
from pyscale.model_reading import model_from_dict
from pyscale.options import ScalingOptions, with_changes
from pyscale.scaling_model import DataSetModel

N_ROWS = 50


def coordinates(range_deg: float, width: float) -> dict[str, np.ndarray]:
    """Rows over a full sweep."""
    return {
        "image_z": np.linspace(0.2, range_deg / abs(width) - 0.3, N_ROWS),
        "inv_d2": np.linspace(0.01, 0.25, N_ROWS),
        "x_px": np.linspace(7.0, 995.0, N_ROWS),
        "y_px": np.linspace(3.0, 700.0, N_ROWS),
    }


def model(
    range_deg: float = 120.0, width: float = 0.5, seed: int = 0, dose: tuple[float, float] | None = None, **options: Any
) -> DataSetModel:
    """A model of auto rules with arbitrary parameters and uncertainties, one of them unknown, over a full sweep."""
    facts = SweepFacts(is_still=False, rotation_range_deg=range_deg, max_scattering_angle_deg=50.0)
    changes = {name.replace("__", "."): value for name, value in options.items()}
    plan = plan_model(facts, with_changes(ScalingOptions(), changes))
    n_images = round(range_deg / abs(width))
    extent = SweepExtent(range_deg, width, n_images=n_images)
    if dose is not None:
        extent = SweepExtent(range_deg, width, 3, n_images, *dose)
    empty = model_from_plan(plan, extent, coordinates(range_deg, width))
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
    "image scales": {"physical__image_scale": True},
    "shared absorption": {"physical__share__absorption": True},
    "analytical": {"physical__analytical_correction": True},
    "array": {"model": "array"},
    "array with modulation": {"model": "array", "array__modulation_correction": True},
    "array without decay": {"model": "array", "array__decay_correction": False},
    "dose decay": {"model": "dose_decay"},
    "linear dose decay": {"model": "dose_decay", "dose_decay__resolution_dependence": "linear"},
    "dose axis": {"model": "dose_decay", "dose": (0.37, 1.9)},
    "dose axis without relative B": {
        "model": "dose_decay",
        "dose": (0.37, 1.9),
        "dose_decay__relative_B_correction": False,
    },
}


@pytest.mark.parametrize("name", CASES)
def test_a_round_trip_keeps_what_evaluation_needs(name: str) -> None:
    before = model(**CASES[name])
    after = read_back(model_to_dict(before, {"Imid": 0.0}, 120.0, 0.5))
    assert (after.model, after.analytical) == (before.model, before.analytical)
    assert after.configuration["Imid"] == 0.0
    assert [c.name for c in after.components] == [c.name for c in before.components]
    for old, new in zip(before.components, after.components, strict=True):
        assert_array_equal(new.parameters, old.parameters)
        known = np.isfinite(old.sigmas)
        assert_allclose(new.sigmas[known], old.sigmas[known], rtol=1e-15)
        assert np.all(new.sigmas[~known] > 1e3)
        rest = {"parameters": np.zeros(0), "sigmas": None}
        assert repr(replace(new, **rest)) == repr(replace(old, **rest))
    again = read_back(model_to_dict(after, {}, 120.0, 0.5))
    assert [c.axes for c in again.components] == [c.axes for c in before.components]


@given(st.integers(0, 2**32 - 1))
def test_every_bit_of_the_parameters_is_kept(seed: int) -> None:
    before = model(seed=seed)
    after = read_back(model_to_dict(before, {}))
    for old, new in zip(before.components, after.components, strict=True):
        assert_array_equal(new.parameters, old.parameters)


def test_null_values_and_numbers_of_parameters_are_those_of_dials() -> None:
    document = model_to_dict(model(), {})
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
    document = model_to_dict(before, {})
    assert read_back(document).components[0].axes == before.components[0].axes
    document["decay"]["parameters"][0] += 1e-9
    stale = read_back(document)
    assert [c.is_placed for c in stale.components] == [False, False, True]
    assert stale.components[2].axes == ()
    # without them the nodes are laid over the data, as DIALS does
    placed = stale.placed(coordinates(120.0, 0.5))
    assert placed.components[0].axes == before.components[0].axes

    constant = model_to_dict(model(physical__scale_correction=False), {}, 120.0, 0.5)
    assert read_back(constant).components[0].kind == "constant_scale"
    constant["configuration_parameters"]["pyscale"]["digest"] = "0" * 16
    # DIALS has two equal nodes in its place
    scale = read_back(constant).components[0]
    assert (scale.kind, scale.n_parameters, scale.interval_deg) == ("smooth_scale", 2, 120.0)
    assert scale.parameters[0] == scale.parameters[1]


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
        (changed("__id__", "spline"), "type 'spline'"),
        (changed("__id__", ["physical"]), "type ['physical']"),
        (changed("configuration_parameters", [1]), "must be an object"),
        (changed("configuration_parameters/corrections", "scale"), "list of names"),
        (changed("configuration_parameters/corrections", ["scale", "modulation"]), "'modulation'"),
        (changed("configuration_parameters/corrections", []), None),
        (changed("scale/parameters", []), "component 'scale'"),
        (changed("scale/parameters", [1.0, None]), "component 'scale'"),
        (changed("scale", {"parameters": [1.0]}), "two parameters"),
        (changed("scale/parameters", [1.0, 2.0]), "est_standard_devs for 2 parameters"),
        (changed("scale/parameters", "many"), "component 'scale'"),
        (changed("scale", 3), "component 'scale'"),
        (changed("absorption/parameters", [0.0] * 23), "23 parameters"),
        (changed("configuration_parameters/s_norm_fac", 0), "s_norm_fac"),
        (changed("configuration_parameters/d_norm_fac", "x"), "component 'decay'"),
    ],
)
def test_bad_models_are_refused_in_one_line(change: Callable[[dict[str, Any]], None], message: str | None) -> None:
    document = model_to_dict(model(), {})
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
    assert joint.n_parameters == sum(c.n_parameters for c in parts) == len(joint.names)
    assert_array_equal(joint.parameters, np.concatenate([c.parameters for c in parts]))
    places = [place for row in joint.slices for place in row]
    assert [p.start for p in places] == [0, *np.cumsum([c.n_parameters for c in parts])[:-1]]
    weights = joint.restraint_rows().diagonal(joint.n_parameters)
    assert weights.any() and not joint.held.any()
    for component, place in zip(parts, places, strict=True):
        assert_array_equal(weights[place], component.weight("null"))
        assert joint.scale_like()[place].all() == (component.name == "scale")
        assert joint.decay_like()[place].all() == (component.name == "decay")
    assert_array_equal(np.bincount(joint.data_set_of_parameters()), [first.n_parameters, second.n_parameters])
    back = joint.with_parameters(np.arange(joint.n_parameters, dtype=float))
    assert_array_equal(JointModel(back).parameters, np.arange(joint.n_parameters))
    assert all(c.sigmas is None for m in back for c in m.components)


@pytest.mark.parametrize("lmax", range(1, 13))
def test_lmax(lmax: int) -> None:
    assert ComponentModel("absorption", "absorption", np.zeros((lmax + 1) ** 2 - 1)).lmax == lmax
