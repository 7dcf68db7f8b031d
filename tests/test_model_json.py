"""Entries of stored models that are missing or make no sense: read without them, or refused in one line."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscale.auto import plan_model
from pyscale.errors import DataError
from pyscale.joint_model import JointModel
from pyscale.model_building import SweepExtent, model_from_plan
from pyscale.model_json import digest, model_to_dict
from pyscale.model_plan import SweepFacts
from pyscale.model_reading import model_from_dict
from pyscale.options import ScalingOptions, with_changes

KINDS: dict[str, dict[str, Any]] = {
    "physical": {"physical.image_scale": True, "physical.share.absorption": True},
    "constant scale": {"physical.scale_correction": False},
    "KB": {"model": "KB"},
    "array": {"model": "array", "array.modulation_correction": True, "array.n_modulation_bins": 3},
    "dose_decay": {"model": "dose_decay", "dose_decay.absorption_correction": True},
}


def stored(kind: str) -> dict[str, Any]:
    """JSON form of a model with arbitrary parameters."""
    facts = SweepFacts(is_still=False, rotation_range_deg=70.0, max_scattering_angle_deg=50.0)
    extent = SweepExtent(70.0, 1.0, 0, 70, dose_per_image=0.4, dose_at_start=2.0)
    n = 50
    coordinates = {
        "image_z": np.linspace(0.2, 69.7, n),
        "inv_d2": np.linspace(0.01, 0.25, n),
        "x_px": np.linspace(7.0, 995.0, n),
        "y_px": np.linspace(3.0, 700.0, n),
    }
    model = model_from_plan(plan_model(facts, with_changes(ScalingOptions(), KINDS[kind])), extent, coordinates)
    joint = JointModel([model])
    rng = np.random.default_rng(1)
    (model,) = joint.with_parameters(rng.normal(1.0, 0.3, joint.n_parameters), rng.uniform(0.1, 1, joint.n_parameters))
    result: dict[str, Any] = json.loads(json.dumps(model_to_dict(model, {"Imid": 0.0}, 70.0, 1.0)))
    return result


DOCUMENTS = {kind: stored(kind) for kind in KINDS}


def paths(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Places of all values in a document, of lists only the first two."""
    found = [prefix] if prefix else []
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, item in items:
        found += paths(item, (*prefix, key))
    return found


def changed(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    result = copy.deepcopy(document)
    parent: Any = result
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return result


BAD = [None, True, -1, 0, 3.5, 10**400, math.inf, math.nan, "", "x", [], [1.0], [[1.0], [2.0]], ["x"], {}, {"a": 1}]


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from(list(KINDS)), data=st.data())
def test_any_wrong_value_is_read_or_refused(kind: str, data: st.DataObject) -> None:
    document = DOCUMENTS[kind]
    path = data.draw(st.sampled_from(paths(document)))
    bad = changed(document, path, data.draw(st.sampled_from(BAD)))
    if data.draw(st.booleans()) and isinstance(bad.get("configuration_parameters"), dict):
        # the fingerprint fits: our own keys count
        own = bad["configuration_parameters"].get("pyscale")
        if isinstance(own, dict):
            own["digest"] = _digest_of(bad, own.get("digest"))
    try:
        model = model_from_dict(bad, "there")
    except DataError as error:
        assert str(error).startswith("there: ") and "\n" not in str(error)
        return
    assert model.components
    for component in model.components:
        assert component.parameters.ndim == 1 and np.isfinite(component.parameters).all()
        if component.is_placed:
            assert component.core().n_parameters == component.n_parameters
    json.dumps(model_to_dict(model, {}, 70.0, 1.0))


def _digest_of(document: dict[str, Any], otherwise: Any) -> Any:
    try:
        return digest(document)
    except (TypeError, ValueError):
        return otherwise


@pytest.mark.parametrize("kind", KINDS)
def test_optional_keys_may_be_missing(kind: str) -> None:
    document = copy.deepcopy(DOCUMENTS[kind])
    names = [n for n in ("scale", "decay", "relative_B", "absorption", "modulation") if n in document]
    for name in names:
        for key in ("n_parameters", "null_parameter_value", "est_standard_devs"):
            document[name].pop(key, None)
    for key in ("corrections", "shared", "abs_surface_weight", "Imid", "resolution_dependence", "lmax"):
        document["configuration_parameters"].pop(key, None)
    for with_own in (True, False):
        if not with_own:
            del document["configuration_parameters"]["pyscale"]
        model = model_from_dict(document, "there")
        assert {c.name for c in model.components} - {"image_scale"} == set(names)
        assert all(c.sigmas is None for c in model.components if c.name in names)
        assert model.component("image_scale") is None or with_own


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("physical", "s_norm_fac"),
        ("physical", "decay_rot_interval"),
        ("array", "n_res_param"),
        ("array", "res_bin_width"),
        ("array", "resmin"),
        ("array", "n_time_param"),
        ("array", "time_norm_fac"),
        ("array", "x_bin_width"),
        ("array", "n_y_mod_param"),
        ("dose_decay", "s_norm_fac"),
    ],
)
def test_what_evaluation_needs_must_be_there(kind: str, key: str) -> None:
    document = copy.deepcopy(DOCUMENTS[kind])
    del document["configuration_parameters"][key]
    with pytest.raises(DataError, match=f"there: the scaling model lacks '{key}'"):
        model_from_dict(document, "there")


def test_a_stale_fingerprint_leaves_what_dials_knows() -> None:
    for kind, document in DOCUMENTS.items():
        stale = changed(document, ("configuration_parameters", "pyscale", "digest"), "0" * 16)
        model = model_from_dict(stale, "there")
        assert model.component("image_scale") is None
        assert all(not c.axes or not c.is_placed for c in model.components)
        if kind == "dose_decay":
            # dose = image, with the rate of the dose axis folded in; what it began with is a relative B
            fresh = model_from_dict(document, "there")
            (old, new) = (m.component("decay") for m in (fresh, model))
            assert old is not None and new is not None
            assert (new.dose_per_image, new.dose_at_zero) == (1.0, 0.0)
            assert new.parameters[0] == old.parameters[0] * old.dose_per_image
            shift = 2.0 * old.parameters[0] * old.dose_at_zero
            (b_old, b_new) = (m.component("relative_B") for m in (fresh, model))
            assert b_old is not None and b_new is not None
            assert b_new.parameters[0] == pytest.approx(b_old.parameters[0] + shift, rel=1e-15)
            assert old.dose_at_zero == 2.0
