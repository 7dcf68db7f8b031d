"""Stored models limited to the images in use: against the models' own values, and against DIALS."""

from __future__ import annotations

import json
import math
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscale import _core
from pyscale.components import Axis, ComponentModel
from pyscale.io.expt import read_expt
from pyscale.joint_model import JointModel
from pyscale.model_reading import model_from_dict
from pyscale.model_trimming import trimmed
from pyscale.scaling_model import DataSetModel

LIMIT = """
import json, sys
import dials.algorithms.scaling.model.model as models
kinds = {"physical": models.PhysicalScalingModel, "array": models.ArrayScalingModel}
results = []
for part in json.loads(sys.argv[2]):
    document = json.load(open(sys.argv[1]))["scaling_model"][0]
    model = kinds[document["__id__"]].from_dict(document)
    model.limit_image_range(tuple(part))
    results.append(model.to_dict())
print("RESULT" + json.dumps(results))
"""
PARTS = [(451, 1350), (1, 900), (901, 1800), (130, 1777), (130, 1700), (1, 80), (1795, 1800)]


def evaluate(model: DataSetModel, z: np.ndarray) -> np.ndarray:
    """g at some centroids, elsewhere spread over resolutions and the detector."""
    rng = np.random.default_rng(0)
    n = z.size
    observations = _core.Observations(
        np.zeros(n, np.int32),
        z,
        rng.uniform(0.01, 0.4, n),
        np.zeros((0, 3)),
        np.zeros((0, 3)),
        rng.uniform(0, 2000, n),
        rng.uniform(0, 2000, n),
        np.zeros(0),
    )
    joint = JointModel([model])
    return _core.inverse_scale_factors(joint.core, observations, joint.parameters, 1)


def smooth_model(rng: np.random.Generator, n_scale: int, n_decay: int, first: int, n_images: int) -> DataSetModel:
    """A model with nodes at some place of its own, and one scale per image."""

    def axis(n_nodes: int) -> Axis:
        intervals = n_nodes - 1 if n_nodes < 4 else n_nodes - 2
        factor, start = 0.999 * intervals / n_images, first - 1 + rng.uniform(0, 0.7)
        return Axis("image_z", n_nodes, factor, origin=start * factor, spacing=1.0)

    pixels = [Axis(c, 5, 3 / 2000, 0.0, origin=0.0, spacing=1.0) for c in ("x_px", "y_px")]  # type: ignore[arg-type]
    return DataSetModel(
        "physical",
        (
            ComponentModel(
                "scale", "smooth_scale", rng.uniform(0.5, 2, n_scale), np.ones(n_scale), (), (axis(n_scale),)
            ),
            ComponentModel("image_scale", "image_scale", rng.normal(0, 0.1, n_images), first_image=first - 1.0),
            ComponentModel("decay", "smooth_decay", rng.normal(0, 1, n_decay), np.ones(n_decay), (), (axis(n_decay),)),
            ComponentModel(
                "absorption", "grid", rng.uniform(0.8, 1.2, 25 * n_decay), None, (), (*pixels, axis(n_decay))
            ),
        ),
    )


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_scale=st.integers(2, 20),
    n_decay=st.integers(2, 14),
    first=st.integers(-5, 300),
    n_images=st.integers(2, 400),
    cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_nodes_of_known_place_keep_the_scales_of_all_that_remains(
    seed: int, n_scale: int, n_decay: int, first: int, n_images: int, cuts: tuple[float, float]
) -> None:
    rng = np.random.default_rng(seed)
    model = smooth_model(rng, n_scale, n_decay, first, n_images)
    a, b = sorted(first + min(int(cut * n_images), n_images - 1) for cut in cuts)
    part = trimmed(model, (first, first + n_images - 1), (a, b), 0.1)
    z = np.sort(np.concatenate([rng.uniform(a - 1, b, 200), [a - 1, b - 1e-9]]))
    np.testing.assert_allclose(evaluate(part, z), evaluate(model, z), rtol=1e-12)
    assert part.n_parameters <= model.n_parameters
    images = part.component("image_scale")
    assert images is not None and images.n_parameters == b - a + 1


def test_nodes_that_nothing_touches_are_dropped() -> None:
    model = smooth_model(np.random.default_rng(1), 14, 11, 1, 1800)
    part = trimmed(model, (1, 1800), (901, 1800), 0.1)
    scale, whole = part.component("scale"), model.component("scale")
    assert scale is not None and whole is not None
    # Twelve intervals of 150 images, their nodes at -75, 75, ...: z = 900 lies just before 900 / 0.999, the end of the
    # sixth, and is smoothed over the nodes at 675, 825 and 975.
    assert scale.n_parameters == 9 and scale.sigmas is None
    np.testing.assert_array_equal(scale.parameters, whole.parameters[5:])
    assert part.component("image_scale").n_parameters == 900  # type: ignore[union-attr]


def test_a_model_whose_images_are_all_in_use_is_not_touched() -> None:
    model = smooth_model(np.random.default_rng(2), 14, 11, 1, 1800)
    for before, after in zip(model.components, trimmed(model, (1, 1800), (1, 1800), 0.1).components, strict=True):
        assert before is after


@pytest.mark.data
def test_nodes_by_the_interval_alone_for_models_of_dials(data_root: Path) -> None:
    """Specification C.11, worked out by hand: 12 intervals of 15 degrees over 1800 images of 0.1 degrees."""
    document = read_expt(data_root / "reference/lcys_20_physical/scaled.expt")[0].scaling_model
    model = model_from_dict(document or {}, "reference")
    scale = trimmed(model, (1, 1800), (451, 1350), 0.1).component("scale")
    # 90 degrees: int(90 / 15.00001) + 1 = 6 intervals and two nodes more; 450 images on, 450 * 0.999 / 150 = 2.997.
    assert scale is not None and scale.n_parameters == 8 and scale.interval_deg == pytest.approx(15.0)
    np.testing.assert_array_equal(scale.parameters, model.components[0].parameters[3:11])
    assert scale.sigmas is None and not scale.is_placed
    two = replace(model.components[0], parameters=model.components[0].parameters[:2])
    two = replace(two, axes=(replace(two.axes[0], n_nodes=2),))
    small = trimmed(model.with_components([two]), (1, 1800), (1700, 1800), 0.1).components[0]
    np.testing.assert_array_equal(small.parameters, two.parameters)


@pytest.mark.data
@pytest.mark.parametrize("name", ["lcys_20_physical", "lcys_20_array"])
def test_models_of_dials_are_limited_as_dials_does(data_root: Path, require_dials: Path, name: str) -> None:
    path = data_root / "reference" / name / "scaled.expt"
    with (require_dials / "dials.show").open() as file:
        interpreter = file.readline().removeprefix("#!").split()[0]
    command = [interpreter, "-c", LIMIT, str(path), json.dumps(PARTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    expected: list[dict[str, Any]] = json.loads(done.stdout.partition("RESULT")[2])
    model = model_from_dict(read_expt(path)[0].scaling_model or {}, name)
    for part, theirs in zip(PARTS, expected, strict=True):
        for c in trimmed(model, (1, 1800), part, 0.1).components:
            np.testing.assert_array_equal(c.parameters, theirs[c.name]["parameters"], err_msg=f"{part} {c.name}")
            for axis in c.axes:
                if axis.coordinate != "image_z":
                    continue
                prefix = "time" if c.kind == "grid" else c.name[0]
                factor = theirs["configuration_parameters"][f"{prefix}_norm_fac"]
                assert math.isclose(axis.factor, factor, rel_tol=1e-12)
