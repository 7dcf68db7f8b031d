"""The job of the C++ library's `pyscale::scale`, from the same calls of the core: what it must equal bit for bit.

Models come from the rules of the package itself, so that these are the same in both. Sums over parameters run in
their order, which numpy's do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from cpp_twin_data import Input, inverse_d_squared, models
from cpp_twin_errors import NO_MODEL, minimum
from pyscale import _core
from pyscale.components import SMOOTH_FORMS, ComponentModel
from pyscale.joint_model import PlacedComponent, RestraintRows
from pyscale.typing import BoolArray, FloatArray

_NOTHING = np.zeros(0, np.uint8)


def _in_order(values: FloatArray) -> float:
    return float(np.cumsum(values)[-1])


@dataclass
class _Weights:
    """Weights of a component's restraints."""

    null: float = 0.0
    lowest: float = 0.0
    highest: float = 0.0
    smooth: float = 0.0


def _weights_of(c: ComponentModel) -> _Weights:
    if c.kind == "grid":
        fixed = 10.0 if c.weight("null") > 0 else 0.0
        return _Weights(fixed, fixed, fixed, 100.0)
    r = next((r for r in c.restraints if r.form == "null"), None)
    return _Weights() if r is None else _Weights(r.weight, r.lowest, r.highest)


class Twin:
    """One job."""

    def __init__(self, given: Input, kind: str, *, anomalous: bool = False) -> None:
        self.given = given
        self.data, self.joint = models(given, kind, anomalous)
        c = self.data.columns
        self.intensity, self.variance = c["intensity"], c["variance"]
        self.n = len(self.intensity)
        self.zeros = np.zeros(self.n)
        self.parts: list[tuple[PlacedComponent, _Weights]] = [(p, _weights_of(p.component)) for p in self.joint.own()]
        self.scales, self.decays = self.joint.scale_like(), self.joint.decay_like()
        self.of_parameter = self.joint.data_set_of_parameters()
        self.offsets = self.data.target_offsets
        self.problem = _core.FitProblem(self.joint.core, self.data.core, self.intensity, self.offsets)
        every, shell = np.ones(self.n, np.uint8), np.zeros(len(self.offsets) - 1, np.int32)
        self.label = _core.connectivity(c["data_set"], self.offsets, every, shell, given.n_sweeps, 1)["component"]
        self.largest_step = np.where(self.decays, 3.0 / float(c["half_inv_d2"].max()), np.inf)
        self.information: FloatArray | None = None
        self.n_rounds = 0

    def run(self) -> dict[str, Any]:
        """All arrays that the library returns, in its order."""
        self._start()
        p = len(self.parameters)
        tolerance, enough = min(max(1.0 / self.n, 1e-6), 1e-4), 1.0 + 0.005 * p
        earlier = np.zeros(0, np.bool_)
        for number in range(1, 13):
            result = self._minimise(tolerance)
            before = self.outlier | self.disputed
            change = self._update_restraints(result)
            self._update_errors()
            after = self.outlier | self.disputed
            few = np.count_nonzero(after != before) <= 1e-4 * self.n or np.array_equal(after, earlier)
            earlier = before
            self.n_rounds += 1
            if number > 1 and few and change < enough:
                break
        last = self._minimise(1e-8)
        self.n_rounds += 1
        self._fix_gauge()
        self._add_uncertainties(float(last["final_cost"]))
        self.g = _core.inverse_scale_factors(self.joint.core, self.data.core, self.parameters)
        self.sigma_squared = self._sigma_squared(self.theta, self._expected(self.sigma_squared, self.outlier))
        return self._result()

    def _start(self) -> None:
        self.theta = (math.log(1.0), 0.02 * 0.02)
        self.outlier = self.disputed = np.zeros(self.n, np.bool_)
        self.sigma_squared = self._sigma_squared(self.theta, np.maximum(self.intensity, 0.0))
        scales = self._scales_of_data_sets()[self.of_parameter]
        self.parameters = np.where(self.scales, self.joint.parameters * scales, self.joint.parameters)
        self.g = self.problem.inverse_scale_factors(self.parameters)
        self._update_errors()

    def _scales_of_data_sets(self) -> FloatArray:
        n = self.given.n_sweeps
        if n == 1:
            return np.ones(1)
        constants = _core.JobModel()
        for _ in range(n):
            constants.add(constants.add_data_set(), _core.Component.image_scale(0.0, 1))
        problem = _core.FitProblem(constants, self.data.core, self.intensity, self.offsets)
        problem.set_weights(1.0 / self.sigma_squared)
        problem.set_restraints(*RestraintRows.single(np.arange(n, dtype=np.int32), 0.0, 1.0).arrays)
        found = _core.minimise(problem, np.zeros(n), 100, 1e-6, 1e-4, keep_matrix=True)
        return np.array([math.exp(q) for q in found["parameters"].tolist()])

    # Errors

    def _sigma_squared(self, theta: tuple[float, float], expected: FloatArray) -> FloatArray:
        return _core.error_model_variances(self.variance, expected, self.zeros, np.array([*theta, 0.0]), NO_MODEL)

    def _expected(self, sigma_squared: FloatArray, excluded: BoolArray) -> FloatArray:
        mask = excluded.view(np.uint8)
        return _core.expected_intensity(self.intensity, 1.0 / sigma_squared, self.g, self.offsets, mask)

    def _update_errors(self) -> None:
        self.theta = self._refined(self.theta, self.outlier | self.disputed)
        self.sigma_squared = self._sigma_squared(self.theta, self._expected(self.sigma_squared, self.outlier))
        args = (self.intensity, 1.0 / self.sigma_squared, self.g, self.offsets, 6.0)
        self.outlier = _core.find_outliers(*args, _NOTHING).view(np.bool_)
        self.disputed = _core.disputed_pairs(*args, self.outlier.view(np.uint8)).view(np.bool_)
        self.sigma_squared = self._sigma_squared(self.theta, self._expected(self.sigma_squared, self.outlier))

    def _refined(self, theta: tuple[float, float], excluded: BoolArray) -> tuple[float, float]:
        expected = self._expected(self._sigma_squared(theta, self.zeros), excluded)
        for _ in range(6):
            expected = self._expected(self._sigma_squared(theta, expected), excluded)
            repeated = self._precise_groups(expected, excluded, theta)
            if repeated[0].size < 20:
                return theta
            found, h = minimum(repeated[1:], theta, both=repeated[0].size >= 100)
            da, dd = found[0] - theta[0], found[1] - theta[1]
            settled = da * da * h[0] + 2.0 * da * dd * h[1] + dd * dd * h[3] < 0.05 * 0.05
            theta = found
            if settled:
                break
        return theta

    def _precise_groups(self, expected: FloatArray, excluded: BoolArray, theta: tuple[float, float]) -> Any:
        mates = self.data.anomalous_offsets
        args = (self.intensity, self.variance, self.g, expected, self.zeros, mates, excluded.view(np.uint8))
        ratio = math.exp(theta[0]) * math.sqrt(theta[1]) / 0.15
        multiplicity = min(max(2, math.ceil(min(ratio * ratio, 1e6))), max(2, int(np.diff(mates).max())))
        while multiplicity > 2:
            repeated = _core.repeated_observations(*args, multiplicity)
            if repeated[0].size >= 2000:
                return repeated
            multiplicity = max(2, multiplicity // 2)
        return _core.repeated_observations(*args, 2)

    # Restraints

    def _components(self) -> RestraintRows:
        rows: list[RestraintRows] = []
        for p, w in self.parts:
            if w.null > 0:
                rows.append(RestraintRows.single(p.numbers, p.component.null_value, w.null))
            square = float(np.median(self.parameters[p.place])) ** 2 if p.component.null_value == 1.0 else 1.0
            rows += _differences(p.component, p.place.start, w.smooth / square)
        assert self.information is not None
        for p, w in self.parts:
            shape = _shape(p.component)
            if not shape:
                continue
            rows += _differences(p.component, p.place.start, 1e-4 * _typical(self.information[p.place]))
            if len(shape) == 3:
                rows.append(RestraintRows.mean(p.numbers, 1.0, self._holding(p.numbers, w.null)))
        return RestraintRows.join(rows)

    def _holding(self, numbers: Any, pull: float) -> float:
        assert self.information is not None
        return float(len(numbers)) * (_typical(self.information[numbers]) + 100.0 * pull)

    def _restrain(self) -> RestraintRows:
        if self.information is None:
            self.problem.set_restraints(*RestraintRows.join([]).arrays)
            self.information = self.problem.normal_equations(self.parameters)[2].diagonal().copy()
        rows = [self._components()]
        for k in range(int(self.label.max()) + 1):
            numbers = np.flatnonzero(self.scales & (self.label[self.of_parameter] == k)).astype(np.int32)
            mean = _in_order(self.parameters[numbers]) / float(len(numbers))
            pull = max(w.null for p, w in self.parts if self.label[p.data_set] == k and self.scales[p.place.start])
            rows.append(RestraintRows.mean(numbers, mean, self._holding(numbers, pull)))
        joined = RestraintRows.join(rows)
        self.problem.set_restraints(*joined.arrays)
        return joined

    def _update_restraints(self, result: dict[str, Any]) -> float:
        free = [(p, w) for p, w in self.parts if w.highest > w.lowest]
        if not free:
            return 0.0
        covariance = _core.inverse(result["matrix"])
        chi_squared = float(result["final_cost"]) / float(max(self.problem.n_observations - self.problem.n_groups, 1))
        largest = 0.0
        for p, w in free:
            deviation = self.parameters[p.place] - p.component.null_value
            determined = p.component.n_parameters - w.null * _in_order(covariance.diagonal()[p.place])
            square, most = _in_order(deviation * deviation), w.null * 100.0
            wanted = min(max(determined, 1e-3) * chi_squared / square, most) if square > 0 else most
            weight = min(max(wanted, w.null / 100.0, w.lowest), w.highest)
            largest = max(largest, abs(math.log(weight / w.null)) * max(determined, 0.0))
            w.null = weight
        return largest

    # Fit

    def _minimise(self, tolerance: float) -> dict[str, Any]:
        unused = self.outlier | self.disputed | ~(self.g > 0)
        self.problem.set_weights(np.where(unused, 0.0, 1.0 / self.sigma_squared))
        rows = self._restrain()
        result = _core.minimise(
            self.problem, self.parameters, 100, tolerance, 1e-4, keep_matrix=True, largest_step=self.largest_step
        )
        self.parameters = np.array(result["parameters"])
        restrained = rows.diagonal(len(self.parameters))
        self.information = np.maximum(result["matrix"].diagonal() - restrained, 0.0)
        self.g = self.problem.inverse_scale_factors(self.parameters)
        return result

    def _labelled(self) -> Iterator[tuple[int, BoolArray, BoolArray]]:
        """Connected components with their parameters that carry scales, and that add to B."""
        for k in range(int(self.label.max()) + 1):
            here = self.label[self.of_parameter] == k
            decays = here & self.decays
            complete = np.unique(self.of_parameter[decays]).size == np.count_nonzero(self.label == k)
            yield k, here & self.scales, decays if complete else np.zeros_like(decays)

    def _fix_gauge(self) -> None:
        sums = self.problem.gauge_sums(self.parameters, self.label, int(self.label.max()) + 1)
        for k, scales, decays in self._labelled():
            weight = float(sums["weight"][k])
            mean = float(sums["ln_g"][k]) / weight
            if decays.any() and sums["x_squared"][k] > 0:
                slope = float(sums["x_ln_g"][k]) / float(sums["x_squared"][k])
                self.parameters[decays] -= slope
                mean -= slope * (float(sums["x"][k]) / weight)
            self.parameters[scales] *= math.exp(-mean)

    def _gauge(self) -> tuple[FloatArray, FloatArray]:
        sums = self.problem.gauge_sums(self.parameters, self.label, int(self.label.max()) + 1)
        directions, functionals = [], []
        for k, scales, decays in self._labelled():
            directions.append(np.where(scales, self.parameters, 0.0))
            functionals.append(sums["mean"][k] / sums["weight"][k])
            if decays.any() and sums["x_squared"][k] > 0:
                directions.append(np.where(decays, 1.0, 0.0))
                functionals.append(sums["first"][k] / sums["x_squared"][k])
        return np.array(directions), np.array(functionals)

    def _add_uncertainties(self, cost: float) -> None:
        rows = self._components()
        self.problem.set_restraints(*rows.arrays)
        matrix = self.problem.normal_equations(self.parameters)[2]
        directions, functionals = self._gauge()
        unit = _core.gauge_covariance(matrix, directions, functionals)
        taking_part = np.abs(unit["undetermined"]) > 1e-3
        unknown = [row for row in taking_part if not any(np.array_equal(row, d != 0) for d in directions)]
        effective = len(self.parameters) - _held(rows, unit["covariance"])
        effective = effective - float(len(directions)) - float(len(unknown))
        freedom = float(self.problem.n_observations - self.problem.n_groups) - effective
        self.chi_squared = cost / freedom if freedom > 0 else 1.0
        covariance = unit["covariance"] * self.chi_squared
        self.sigma = np.sqrt(np.maximum(covariance.diagonal(), 0.0))
        self.sigma[np.logical_or.reduce(unknown)] = np.inf if unknown else 0.0
        self.covariance = covariance
        self.g_variance = _core.inverse_scale_factor_variances(
            self.joint.core, self.data.core, self.parameters, covariance
        )

    # Merging

    def _merging_variance(self) -> FloatArray:
        variance = self.sigma_squared.copy()
        a, b = np.flatnonzero(self.disputed).reshape(-1, 2).T
        difference = self.intensity[b] / self.g[b] - self.intensity[a] / self.g[a]
        total = variance[a] / (self.g[a] * self.g[a]) + variance[b] / (self.g[b] * self.g[b])
        factor = np.maximum(difference * difference / total, 1.0)
        variance[a] *= factor
        variance[b] *= factor
        return variance

    def _correlations(self, chosen: BoolArray) -> FloatArray:
        square = self.g * self.g
        weight = np.where(chosen, square / self._merging_variance(), 0.0)
        q = np.where(chosen, self.g_variance / square, 0.0)
        rest = (self.data.offsets, self.data.anomalous_offsets)
        return self.problem.scale_correlations(self.parameters, self.covariance, weight, q, *rest)

    def _result(self) -> dict[str, Any]:
        chosen = (self.g > 0) & ~self.outlier
        g = self.g[chosen]
        square = g * g
        correlation = self._correlations(chosen)[chosen]
        scaled = self.intensity[chosen] / g, self._merging_variance()[chosen] / square, self.g_variance[chosen] / square
        together = _merged(scaled, chosen, correlation[:, 1], self.data.offsets, self.data.group_index)
        apart = _merged(scaled, chosen, correlation[:, 0], self.data.anomalous_offsets, self.data.anomalous_index)
        row = np.full(len(self.data.offsets) - 1, -1, np.int64)
        row[together["numbers"]] = np.arange(len(together["numbers"]))
        sorted_arrays = {
            "g": self.g,
            "g_variance": self.g_variance,
            "variance": self.sigma_squared,
            "outlier": self.outlier,
            "disputed": self.disputed,
            "merged_row": np.repeat(row, np.diff(self.data.offsets)),
        }
        result: dict[str, Any] = {name: np.empty_like(values) for name, values in sorted_arrays.items()}
        for name, values in sorted_arrays.items():
            result[name][self.data.order] = values
        a, b = math.exp(self.theta[0]), math.sqrt(self.theta[1])
        result |= {"parameters": self.parameters, "sigma": self.sigma}
        result["numbers"] = np.array([a, b, self.chi_squared, float(self.n_rounds)])
        for name, merged in (("merged", together), ("anomalous", apart)):
            result |= {f"{name}_{key}": merged[key] for key in ("index", "intensity", "sigma")}
        result["statistics"] = self._statistics(scaled, together)
        return result

    def _statistics(self, scaled: tuple[FloatArray, ...], merged: dict[str, Any]) -> FloatArray:
        d_star_sq = inverse_d_squared(self.given.cell, merged["index"])
        low, high = float(d_star_sq.min()), float(d_star_sq.max())
        first, last = low * (1.0 - 1e-6), high * (1.0 + 1e-6)
        n = min(20, len(d_star_sq))
        begin = math.pow(first, 1.5)
        step = (math.pow(last, 1.5) - begin) / n
        edges = [first, *(math.pow(begin + step * k, 2.0 / 3.0) for k in range(1, n)), last]
        shell = np.clip(np.searchsorted(edges, d_star_sq, side="right") - 1, 0, n - 1).astype(np.int64)
        groups = _core.group_statistics(scaled[0], scaled[1], merged["offsets"])
        statistics = _core.shell_statistics(groups, shell, n)
        halves = _core.half_set_correlations(scaled[0], scaled[1], merged["offsets"], merged["index"], 42, 10, shell, n)
        limits = [*pairwise(edges), (first, last)]
        return np.array([_shell(*row) for row in zip(limits, statistics, halves, strict=True)])


def _shell(limits: tuple[float, float], s: _core.ShellStatistics, halves: _core.HalfSetCorrelation) -> list[float]:
    d_max, d_min = (1.0 / math.sqrt(x) for x in limits)
    r_factors = s.r_merge, s.r_meas, s.r_pim
    return [d_max, d_min, s.n_obs, s.n_unique, s.i_over_sigma, *r_factors, s.cc_half_sigma_tau, halves.correlation]


def _shape(component: ComponentModel) -> tuple[int, ...]:
    return () if component.kind in ("absorption", "constant_scale", "constant_decay") else component.shape


def _differences(component: ComponentModel, first: int, weight: float) -> list[RestraintRows]:
    if not weight > 0:
        return []
    axes = range(len(SMOOTH_FORMS[: len(_shape(component))]))
    return [RestraintRows.differences(_sorted_pairs(component.neighbours(k)) + first, weight) for k in axes]


def _sorted_pairs(pairs: Any) -> Any:
    return pairs[np.argsort(pairs[:, 0], kind="stable")]


def _typical(information: FloatArray) -> float:
    some = information[information > 1e-6 * information.max()]
    return float(np.median(some)) if some.size else 0.0


def _held(rows: RestraintRows, covariance: FloatArray) -> float:
    """How many parameters the restraints hold."""
    held = 0.0
    for k, weight in enumerate(rows.weight.tolist()):
        part = slice(rows.row_offsets[k], rows.row_offsets[k + 1])
        value, column = rows.value[part], rows.column[part]
        terms = value[:, None] * value[None, :] * covariance[np.ix_(column, column)]
        held += weight * _in_order(terms.ravel())
    return held


def _merged(
    scaled: tuple[FloatArray, ...], chosen: BoolArray, correlation: FloatArray, offsets: Any, index: Any
) -> dict[str, Any]:
    size = np.add.reduceat(chosen.astype(np.int64), offsets[:-1])
    numbers = np.flatnonzero(size)
    kept = np.concatenate([[0], np.cumsum(size[numbers])]).astype(np.int64)
    _, intensity, sigma = _core.merge(scaled[0], scaled[1], kept)
    error = intensity * _core.common_scale_error(
        scaled[0], scaled[1], kept, scaled[2], np.ascontiguousarray(correlation)
    )
    return {
        "numbers": numbers,
        "offsets": kept,
        "index": np.ascontiguousarray(index[numbers], dtype=np.int32),
        "intensity": intensity,
        "sigma": np.sqrt(sigma * sigma + error * error),
    }
