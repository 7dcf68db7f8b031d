"""g and its derivatives for every component, against definitions written out in numpy and central differences."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from pyscale import _core
from pyscale.components import NULL_VALUES, Axis, ComponentModel, CoordinateName
from pyscale.joint_model import JointModel, RestraintRows
from pyscale.scaling_model import DataSetModel
from pyscale.typing import FloatArray
from restraint_matrices import restraint_matrix

EXTENT: dict[CoordinateName, tuple[float, float]] = {
    "image_z": (0.0, 100.0),
    "inv_d2": (0.02, 0.6),
    "x_px": (0.0, 1000.0),
    "y_px": (0.0, 700.0),
}


def axis(coordinate: CoordinateName, n_nodes: int) -> Axis:
    low, high = EXTENT[coordinate]
    return Axis(coordinate, n_nodes, (n_nodes - 2 or 0.999) / (high - low) * 0.999).over(np.array([low, high]))


def make(name: str, kind: Any, n: int, rng: np.random.Generator, **more: Any) -> ComponentModel:
    spread = {"constant_decay": 1.0, "smooth_decay": 1.0, "dose_decay": 0.02}.get(kind, 0.1)
    return ComponentModel(name, kind, NULL_VALUES[kind] + spread * rng.normal(size=n), **more)


def grid(name: str, axes: tuple[Axis, ...], rng: np.random.Generator, **more: Any) -> ComponentModel:
    return make(name, "grid", int(np.prod([a.n_nodes for a in axes])), rng, axes=axes, **more)


@dataclass
class Rows:
    """Rows in groups, and what a model may look at."""

    columns: dict[str, FloatArray]
    offsets: Any
    group: Any
    given: bool = False

    @classmethod
    def random(cls, n_groups: int, n_sets: int, rng: np.random.Generator, *, given: bool) -> Rows:
        sizes = rng.integers(1, 9, n_groups)
        group = np.repeat(np.arange(n_groups), sizes)
        n = len(group)
        directions = rng.normal(size=(2, n, 3))
        directions /= np.linalg.norm(directions, axis=2)[:, :, None]
        columns = {name: rng.uniform(*EXTENT[name], n) for name in ("image_z", "x_px", "y_px")}
        columns["inv_d2"] = rng.uniform(*EXTENT["inv_d2"], n_groups)[group]
        columns |= {"s0": directions[0].copy(), "s1": directions[1].copy(), "given": rng.uniform(0.7, 1.4, n)}
        columns["data_set"] = rng.integers(0, n_sets, n).astype(np.int32)
        return cls(columns, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), group, given)

    def core(self) -> _core.Observations:
        c = self.columns
        given = c["given"] if self.given else np.zeros(0)
        return _core.Observations(
            c["data_set"], c["image_z"], 0.5 * c["inv_d2"], c["s0"], c["s1"], c["x_px"], c["y_px"], given
        )


def smooth(axes: tuple[Axis, ...], parameters: FloatArray, at: dict[str, FloatArray]) -> FloatArray:
    """Gaussian-weighted mean over the nearest nodes, written out: one width, the smallest of all axes."""
    width = min(0.65 if a.n_nodes == 2 else 0.7 for a in axes)
    total, norm = np.zeros(at["image_z"].size), np.zeros(at["image_z"].size)
    places = []
    for a in axes:
        x = at[a.coordinate] * a.factor - a.origin
        nodes = (a.node_coordinates() * a.factor - a.origin) / a.spacing
        distance = np.abs(x[:, None] / a.spacing - nodes)
        # the nearest node and its neighbours, or all of three
        nearest = np.argmin(distance, axis=1)
        near = (np.abs(np.arange(a.n_nodes) - nearest[:, None]) <= 1) | (a.n_nodes <= 3)
        places.append(np.where(near, distance, np.inf))
    for node in itertools.product(*(range(a.n_nodes) for a in axes)):
        index = np.ravel_multi_index(node[::-1], [a.n_nodes for a in axes][::-1])
        square = sum(p[:, k] ** 2 for p, k in zip(places, node, strict=True))
        weight = np.exp(-square / width**2)
        total, norm = total + weight * parameters[index], norm + weight
    return total / norm


def exponent(c: ComponentModel, p: FloatArray, at: dict[str, FloatArray]) -> FloatArray | None:
    """Logarithm of the factor of components that are exponentials."""
    if c.kind == "smooth_decay":
        return smooth(c.axes, p, at) * at["inv_d2"] / 2
    if c.kind == "constant_decay":
        return p[0] * at["inv_d2"] / 2
    if c.kind == "dose_decay":
        return p[0] * (c.dose_per_image * at["image_z"] + c.dose_at_zero) * at["inv_d2"] ** (c.power / 2)
    if c.kind == "image_scale":
        return p[np.clip((at["image_z"] - c.first_image).astype(int), 0, p.size - 1)]
    return None


def factor(c: ComponentModel, p: FloatArray, at: dict[str, FloatArray]) -> FloatArray:
    """Factor of g by the definitions of docs/theory/model.md."""
    logarithm = exponent(c, p, at)
    if logarithm is not None:
        return np.exp(logarithm)
    if c.kind in ("smooth_scale", "grid"):
        return smooth(c.axes, p, at)
    if c.kind == "constant_scale":
        return np.full(at["image_z"].size, p[0])
    harmonics = [_core.real_harmonics(c.lmax, s) for s in np.concatenate([at["s0"], at["s1"]])]
    return 1 + np.mean(np.reshape(harmonics, (2, -1, p.size)), axis=0) @ p


def expected_g(models: list[DataSetModel], joint: JointModel, parameters: FloatArray, rows: Rows) -> FloatArray:
    g = rows.columns["given"].copy() if rows.given else np.ones(rows.group.size)
    for placed in joint.placed():
        here = rows.columns["data_set"] == placed.data_set
        at = {name: column[here] for name, column in rows.columns.items()}
        g[here] *= factor(placed.component, parameters[placed.place], at)
    return g


def cases() -> dict[str, list[list[ComponentModel]]]:
    rng = np.random.default_rng(4)
    scale = [make("scale", "constant_scale", 1, rng) for _ in range(2)]
    x, y, z, s = axis("x_px", 5), axis("y_px", 4), axis("image_z", 6), axis("inv_d2", 7)
    surface = make("absorption", "absorption", 15, rng, shared=True)
    doses = [
        make("decay", "dose_decay", 1, rng, power=power, shared=shared, dose_per_image=rate, dose_at_zero=start)
        for power, shared, rate, start in ((2, True, 0.1, 0.0), (2, True, 0.3, 5.0), (1, False, 0.2, 1.0))
    ]
    smooth_scale = make("scale", "smooth_scale", 6, rng, axes=(z,))
    images = make("image_scale", "image_scale", 40, rng, first_image=20.0)
    return {
        "image scale": [[smooth_scale, images], [scale[1]]],
        "grid over 2 axes": [[grid("decay", (s, z), rng)]],
        "grid over 3 axes": [[grid("absorption", (x, y, z), rng)]],
        "grid over 1 axis": [[grid("decay", (x,), rng)]],
        "grids with few nodes": [[grid("modulation", (axis("x_px", 2), axis("y_px", 3)), rng)]],
        "grid over 3 axes with few nodes": [[grid("absorption", (axis("x_px", 3), axis("y_px", 2), z), rng)]],
        "array": [[grid("decay", (s, z), rng), grid("absorption", (x, y, z), rng), grid("modulation", (x, y), rng)]],
        "dose": [[scale[0], doses[2]], [scale[1], replace(doses[1], shared=False)]],
        "shared": [[scale[0], doses[0], surface], [scale[1], doses[1], surface], [smooth_scale, surface]],
        "held": [[replace(smooth_scale, held=True), make("decay", "smooth_decay", 6, rng, axes=(z,))], [scale[0]]],
        "mixed": [
            [smooth_scale, images, make("decay", "smooth_decay", 6, rng, axes=(z,)), surface],
            [scale[0], make("decay", "constant_decay", 1, rng)],
            [grid("decay", (s, z), rng), grid("modulation", (x, y), rng)],
            [scale[1], doses[0], make("relative_B", "constant_decay", 1, rng)],
        ],
    }


CASES = cases()


def build(name: str, given: bool = False) -> tuple[list[DataSetModel], JointModel, Rows]:
    models = [DataSetModel("physical", tuple(components)) for components in CASES[name]]
    rows = Rows.random(120, len(models), np.random.default_rng(8), given=given)
    return models, JointModel(models), rows


def numerical(function: Callable[[FloatArray], Any], at: FloatArray, h: float = 1e-5) -> FloatArray:
    return np.array([(function(at + s) - function(at - s)) / (2 * h) for s in h * np.eye(len(at))])


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_scales_are_those_of_the_definitions(name: str, given: bool) -> None:
    models, joint, rows = build(name, given)
    found = _core.inverse_scale_factors(joint.core, rows.core(), joint.parameters)
    np.testing.assert_allclose(found, expected_g(models, joint, joint.parameters, rows), rtol=1e-11)


@pytest.mark.parametrize("name", CASES)
def test_variance_of_the_scale(name: str) -> None:
    _, joint, rows = build(name, given=True)
    rng = np.random.default_rng(2)
    root = rng.normal(size=(joint.n_parameters, 5))
    covariance = np.ascontiguousarray(1e-4 * root @ root.T)
    slopes = numerical(lambda p: _core.inverse_scale_factors(joint.core, rows.core(), p), joint.parameters)
    expected = np.einsum("ki,kl,li->i", slopes, covariance, slopes)
    found = _core.inverse_scale_factor_variances(joint.core, rows.core(), joint.parameters, covariance)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9 * expected.max())


@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_the_cost(name: str) -> None:
    _, joint, rows = build(name, given=True)
    p, rng = joint.parameters, np.random.default_rng(3)
    g = _core.inverse_scale_factors(joint.core, rows.core(), p)
    expected = g * rng.uniform(10, 1000, 120)[rows.group]
    intensity = expected * (1 + 0.1 * rng.normal(size=g.size))
    weight = np.where(rng.uniform(size=g.size) < 0.05, 0.0, 1 / (5 + expected))
    problem = _core.FitProblem(joint.core, rows.core(), intensity, rows.offsets, 2)
    problem.set_weights(weight)
    # chains of three parameters, not all with the same weight or target
    every = np.arange(p.size, dtype=np.int32)
    chains = RestraintRows(
        np.arange(p.size + 1, dtype=np.int64) * 3,
        np.stack([every, (every + 1) % p.size, (every + 3) % p.size], axis=1).ravel(),
        np.tile([1.0, -2.0, 0.5], p.size),
        rng.normal(size=p.size),
        rng.uniform(0.1, 3.0, p.size),
    )
    restraints = RestraintRows.join([chains, RestraintRows.mean(every, 0.3, 7.0)])
    problem.set_restraints(*restraints.arrays)
    problem.set_held(joint.held.astype(np.uint8))
    free = ~joint.held
    cost, half_gradient, matrix = problem.normal_equations(p)

    jacobian = problem.jacobian(p)
    # basis values are kept in single precision
    residual = residuals(g, intensity, weight, rows)
    np.testing.assert_allclose(jacobian["residual"], residual, atol=1e-6 * np.abs(intensity).max())
    by_hand = np.sum(weight * jacobian["residual"] ** 2) + restraints.deviations(p) ** 2 @ restraints.weight
    assert cost == pytest.approx(by_hand, rel=1e-12)
    rows_of = np.repeat(np.arange(g.size), np.diff(jacobian["row_offsets"]))
    dense = np.zeros((g.size, p.size))
    np.add.at(dense, (rows_of, jacobian["column"]), jacobian["value"])
    slopes = numerical(lambda q: problem.jacobian(q)["residual"], p).T
    np.testing.assert_allclose(dense[:, free], slopes[:, free], atol=1e-7 * np.abs(slopes).max())

    gradient = numerical(problem.cost, p)
    np.testing.assert_allclose(2 * half_gradient[free], gradient[free], atol=1e-6 * np.abs(gradient).max())
    assert not half_gradient[~free].any()
    normal = dense.T @ (weight[:, None] * dense) + restraint_matrix(restraints, p.size)
    normal[~free], normal[:, ~free] = 0.0, 0.0
    normal[~free, ~free] = 1.0
    np.testing.assert_allclose(matrix, normal, atol=1e-9 * np.abs(normal).max())
    np.testing.assert_allclose(np.diag(restraint_matrix(restraints, p.size)), restraints.diagonal(p.size), rtol=1e-14)


def residuals(g: FloatArray, intensity: FloatArray, weight: FloatArray, rows: Rows) -> FloatArray:
    """I - g I_h of weighted rows in groups of two or more, 0 of the others."""
    top, bottom, n = (np.bincount(rows.group, v) for v in (weight * g * intensity, weight * g**2, weight > 0))
    merged = np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
    return np.where((weight > 0) & (n[rows.group] > 1), intensity - g * merged[rows.group], 0.0)


def test_held_parameters_stay_and_the_others_reach_the_minimum_without_them() -> None:
    _, joint, rows = build("held")
    p, rng = joint.parameters, np.random.default_rng(5)
    intensity = 100 * rng.uniform(0.5, 2.0, rows.group.size)
    problem = _core.FitProblem(joint.core, rows.core(), intensity, rows.offsets, 1)
    problem.set_weights(1 / intensity)
    problem.set_restraints(*RestraintRows.single(np.arange(p.size, dtype=np.int32), 0.0, 0.1).arrays)
    problem.set_held(joint.held.astype(np.uint8))
    fit = _core.minimise(problem, p, cost_tolerance=1e-14)
    np.testing.assert_array_equal(fit["parameters"][joint.held], p[joint.held])
    assert np.abs(fit["parameters"] - p)[~joint.held].max() > 1e-3
    gradient = numerical(problem.cost, fit["parameters"])
    assert np.abs(gradient[~joint.held]).max() < 1e-3 * np.abs(gradient[joint.held]).max()


@pytest.mark.parametrize(("first", "words"), [(0, "ascending"), (3, "there are"), (-1, "there are"), (99, "there are")])
def test_impossible_places_of_shared_parameters_are_refused(first: int, words: str) -> None:
    job, component = _core.JobModel(), _core.Component
    for _ in range(2):
        job.add(job.add_data_set(), component.constant_scale())
    job.add(0, component.absorption(2))
    rows = Rows.random(5, 2, np.random.default_rng(1), given=False).core()
    with pytest.raises(ValueError, match=words):
        job.share(1, component.absorption(2), first)
        _core.inverse_scale_factors(job, rows, np.ones(10))


@pytest.mark.parametrize(
    ("missing", "words"),
    [(("s0", "s1"), "needs s0_crystal"), (("s1",), "s1"), (("x_px", "y_px"), "needs x_px"), (("given",), "given")],
)
def test_missing_parts_of_observations_are_refused(missing: tuple[str, ...], words: str) -> None:
    _, joint, rows = build("mixed", given=True)
    for name in missing:
        rows.columns[name] = rows.columns[name][: 5 if name == "given" else 0]
    with pytest.raises(ValueError, match=words):
        _core.inverse_scale_factors(joint.core, rows.core(), joint.parameters)


def test_unknown_coordinates_and_too_many_axes_are_refused() -> None:
    nodes = axis("image_z", 5).core()
    with pytest.raises(ValueError, match="coordinate phi"):
        _core.Component.grid([("phi", nodes)])
    for axes in ([], [("image_z", nodes)] * 4):
        with pytest.raises(ValueError, match="axes"):
            _core.Component.grid(axes)
