"""Each model recovers the truth of the distortion that it is for, and the hole in a sweep does no harm."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "bench" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


bench = _load("recovery")

D_MIN = 3.5
"""A quarter of the bench's reflections."""
# kind, right model, largest error of ln g in units of what the fit states; wrong model, largest ratio of their errors
RIGHT: list[tuple[str, str, float, str, float]] = [
    ("none (a scale per sweep)", "KB", 2.5, "physical", 1.2),
    ("scale", "smooth", 1.5, "KB", 0.1),
    ("B decay", "smooth", 2.5, "KB", 0.1),
    ("absorption", "physical", 1.5, "smooth", 0.3),
    ("absorption, one crystal in the basis", "shared", 1.3, "physical", 1.0),
    ("the same, in the basis", "physical", 1.5, "smooth", 0.3),
    ("dose, quadratic", "dose", 1.5, "dose 1/d", 0.5),
    ("dose, linear", "dose 1/d", 1.5, "dose", 0.5),
    ("rotation × resolution", "array", 1.5, "physical", 0.25),
    ("rotation × x × y", "array", 3.0, "physical", 0.5),
    ("jitter of images", "image", 1.5, "physical", 0.25),
    ("jitter over 5 images", "image", 1.5, "physical", 0.25),
    ("beam losses", "image", 1.5, "physical", 0.25),
    ("known correction", "analytical", 1.5, "smooth", 0.25),
]


@pytest.mark.parametrize(("kind", "right", "limit", "wrong", "ratio"), RIGHT)
def test_right_model_recovers_the_truth(kind: str, right: str, limit: float, wrong: str, ratio: float) -> None:
    data = bench.simulated({**bench.KINDS[kind], "d_min": D_MIN}, 1)
    good, bad = (bench.recover(data, bench.candidate_options(name, data.options)) for name in (right, wrong))
    assert good.error < limit * good.predicted
    assert good.error < ratio * bad.error


def common_change(whole: Any, holed: Any) -> tuple[np.ndarray, np.ndarray]:
    """Change of ln g in one gauge, and its standard deviation, of the observations that both have."""
    keys = [
        {key: i for i, key in enumerate(zip(o.data_set, *o.miller_index.T, np.round(o.image_z, 6), strict=True))}
        for o in (whole.observations, holed.observations)
    ]
    first = np.array([keys[0][key] for key in keys[1]])
    change = np.log(holed.fit.g / whole.fit.g[first])
    x = 0.5 / holed.observations.d_spacing**2
    design = np.column_stack([np.ones(x.size), x])
    change -= design @ np.linalg.lstsq(design, change, rcond=None)[0]
    return change, np.sqrt(holed.fit.g_variance) / holed.fit.g


@pytest.mark.parametrize("model", ["physical", "image", "array"])
def test_hole_as_wide_as_the_spacing_of_parameters_changes_nothing_elsewhere(model: str) -> None:
    options = {**bench.KINDS["scale, B, absorption"], "n_sweeps": 1, "sweep_width": 180.0, "d_min": D_MIN}
    runs = []
    for gap in ({}, {"gap": (151, 190)}):  # 20 degrees
        data = bench.simulated({**options, **gap}, 1)
        runs.append(bench.recover(data, bench.candidate_options(model, data.options)).result)
    assert runs[1].fit.termination == "converged"
    change, sigma = common_change(*runs)
    pull = change / sigma
    assert np.sqrt(np.mean(pull**2)) < 1.0
    assert np.abs(pull).max() < 4.0


def test_grids_do_not_pass_the_overall_scale_to_each_other() -> None:
    """Differences of parameters pull a grid to zero where another can make up for it, most where the model is wrong."""
    data = bench.simulated({**bench.KINDS["detector, smooth"], "d_min": D_MIN}, 1)
    found = bench.recover(data, bench.candidate_options("array", data.options))
    assert not found.refusal
    for model in found.result.models:
        decay, absorption = model.components
        assert absorption.parameters.mean() == pytest.approx(1.0, abs=0.02)
        assert 0.05 < decay.parameters.mean() < 20.0
