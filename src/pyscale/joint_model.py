"""The models of all data sets over one parameter vector: what the core evaluates and the fit restrains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _core
from .components import SMOOTH_FORMS, ComponentModel, RestraintForm
from .local_covariance import LocalCovariance
from .scaling_model import DataSetModel
from .typing import BoolArray, FloatArray, IndexArray, IntArray

_SMALLEST = 0.1
"""Of the median, for the logarithm of a parameter."""

__all__ = ["JointModel", "PlacedComponent", "RestraintRows"]


@dataclass(frozen=True)
class RestraintRows:
    """Restraints sum_k weight_k (sum_j value_kj p_j - target_k)^2, compressed by rows.

    Attributes
    ----------
    row_offsets : (k + 1,) int64
    column : (m,) int32
    value : (m,) float64
    target, weight : (k,) float64
    """

    row_offsets: IndexArray
    column: IntArray
    value: FloatArray
    target: FloatArray
    weight: FloatArray

    @classmethod
    def join(cls, parts: Sequence[RestraintRows]) -> RestraintRows:
        """All restraints of several sets."""
        lengths = [np.diff(p.row_offsets) for p in parts]
        return cls(
            row_offsets=np.concatenate([[0], np.cumsum(np.concatenate([*lengths, np.zeros(0, np.int64)]))]).astype(
                np.int64
            ),
            column=np.concatenate([*(p.column for p in parts), np.zeros(0, np.int32)]).astype(np.int32),
            value=np.concatenate([*(p.value for p in parts), np.zeros(0)]),
            target=np.concatenate([*(p.target for p in parts), np.zeros(0)]),
            weight=np.concatenate([*(p.weight for p in parts), np.zeros(0)]),
        )

    @classmethod
    def single(cls, parameters: IntArray, target: float, weight: float) -> RestraintRows:
        """Restraints of single parameters to one target."""
        n = parameters.size
        return cls(
            np.arange(n + 1, dtype=np.int64),
            parameters.astype(np.int32),
            np.ones(n),
            np.full(n, target),
            np.full(n, weight),
        )

    @classmethod
    def differences(cls, pairs: IntArray, weight: float) -> RestraintRows:
        """Restraints of differences of parameters, pairs (n, 2), to zero."""
        n = pairs.shape[0]
        return cls(
            np.arange(n + 1, dtype=np.int64) * 2,
            np.ascontiguousarray(pairs, dtype=np.int32).ravel(),
            np.tile([1.0, -1.0], n),
            np.zeros(n),
            np.full(n, weight),
        )

    @classmethod
    def mean(cls, parameters: IntArray, target: float, weight: float) -> RestraintRows:
        """Restraint of the mean of some parameters."""
        n = parameters.size
        return cls(
            np.array([0, n], dtype=np.int64),
            parameters.astype(np.int32),
            np.full(n, 1.0 / max(n, 1)),
            np.array([target]),
            np.array([weight]),
        )

    def __len__(self) -> int:
        return int(self.weight.size)

    @property
    def arrays(self) -> tuple[IndexArray, IntArray, FloatArray, FloatArray, FloatArray]:
        """Arguments of `FitProblem.set_restraints`."""
        return self.row_offsets, self.column, self.value, self.target, self.weight

    def diagonal(self, n_parameters: int) -> FloatArray:
        """Diagonal of their part of the normal matrix, (p,) float64."""
        weight = np.repeat(self.weight, np.diff(self.row_offsets))
        return np.bincount(self.column, weight * self.value**2, minlength=n_parameters).astype(np.float64)

    def matrix(self, n_parameters: int) -> FloatArray:
        """Their part of the normal matrix, (p, p) float64."""
        result = np.zeros((n_parameters, n_parameters))
        for rows, columns, values in self._by_length():
            terms = self.weight[rows, None, None] * values[:, :, None] * values[:, None, :]
            np.add.at(result, (columns[:, :, None], columns[:, None, :]), terms)
        return result

    def _by_length(self) -> Iterator[tuple[IndexArray, IntArray, FloatArray]]:
        """Restraints of equally many parameters together: numbers (k,), columns and values (k, length)."""
        lengths = np.diff(self.row_offsets)
        for length in np.unique(lengths[lengths > 0]).tolist():
            rows = np.flatnonzero(lengths == length)
            places = self.row_offsets[rows][:, None] + np.arange(length)
            yield rows, self.column[places], self.value[places]

    def half_gradient(self, parameters: FloatArray) -> FloatArray:
        """Half the gradient of their part of the cost, (p,) float64."""
        pull = np.repeat(self.weight * self.deviations(parameters), np.diff(self.row_offsets))
        return np.bincount(self.column, self.value * pull, minlength=parameters.size).astype(np.float64)

    def forms(self, directions: FloatArray) -> FloatArray:
        """Their part d^T N d of directions (k, p), (k,) float64."""
        rows = np.repeat(np.arange(len(self)), np.diff(self.row_offsets))
        result = np.zeros(len(directions))
        for k, direction in enumerate(directions):
            products = np.bincount(rows, self.value * direction[self.column], minlength=len(self))
            result[k] = float(self.weight @ products**2)
        return result

    def deviations(self, parameters: FloatArray) -> FloatArray:
        """Deviation of each restraint from its target, (k,) float64."""
        terms = np.concatenate([self.value * parameters[self.column], [0.0]])
        sums: FloatArray = np.add.reduceat(terms, self.row_offsets[:-1]) if len(self) else np.zeros(0)
        return sums - self.target

    def following(self, move: FloatArray) -> RestraintRows:
        """The same restraints of parameters that have moved together by `move` (p,): their deviations stay."""
        return replace(self, target=self.target + replace(self, target=np.zeros(len(self))).deviations(move))

    def spreads(self, covariance: LocalCovariance) -> FloatArray:
        """Variance a^T C a of each restraint's combination of parameters of one data set, (k,) float64."""
        variances = np.zeros(len(self))
        for rows, columns, values in self._by_length():
            block = covariance.entries(columns[:, :, None], columns[:, None, :])
            variances[rows] = np.einsum("ki,kij,kj->k", values, block, values)
        return variances


@dataclass(frozen=True)
class PlacedComponent:
    """A component of a data set and the place of its parameters in the job's vector."""

    data_set: int
    component: ComponentModel
    place: slice
    is_first: bool
    """Whether these parameters belong to no earlier data set."""

    @property
    def numbers(self) -> IntArray:
        """Its parameters' numbers, (p,) int32."""
        return np.arange(self.place.start, self.place.stop, dtype=np.int32)


class JointModel:
    """The models of all data sets over one parameter vector; components that data sets share come last.

    Attributes
    ----------
    core : _core.JobModel
        What the core evaluates.
    slices : list of list of slice
        Place of each component's parameters, by data set.
    """

    def __init__(self, models: Sequence[DataSetModel]) -> None:
        self.models = list(models)
        self.core = _core.JobModel()
        self.slices: list[list[slice]] = []
        self._first_of: dict[int, int] = {}
        for model in self.models:
            number = self.core.add_data_set()
            places = [self._add(number, c) if not c.shared else slice(0, 0) for c in model.components]
            self.slices.append(places)
        self._add_shared()

    def _add(self, number: int, component: ComponentModel) -> slice:
        first = self.core.add(number, component.core())
        self._first_of[first] = number
        return slice(first, first + component.n_parameters)

    def _add_shared(self) -> None:
        place_of: dict[tuple[str, str, int], slice] = {}
        names = list(dict.fromkeys(c.name for m in self.models for c in m.components if c.shared))
        for name in names:
            for number, (model, places) in enumerate(zip(self.models, self.slices, strict=True)):
                for k, c in enumerate(model.components):
                    if c.name != name or not c.shared:
                        continue
                    key = (name, c.kind, c.n_parameters)
                    if key in place_of:
                        self.core.share(number, c.core(), place_of[key].start)
                    else:
                        place_of[key] = self._add(number, c)
                    places[k] = place_of[key]

    @property
    def n_parameters(self) -> int:
        """Length of the parameter vector."""
        return int(self.core.n_parameters)

    @cached_property
    def _placed(self) -> tuple[PlacedComponent, ...]:
        return tuple(
            PlacedComponent(number, component, place, self._first_of[place.start] == number)
            for number, (model, places) in enumerate(zip(self.models, self.slices, strict=True))
            for component, place in zip(model.components, places, strict=True)
        )

    @cached_property
    def _own(self) -> tuple[PlacedComponent, ...]:
        """Components by the place of their parameters, each parameter in one of them."""
        own = [p for p in self._placed if p.is_first]
        return tuple(sorted(own, key=lambda p: p.place.start))

    def _repeated(self, values: Iterable[Any], dtype: DTypeLike) -> NDArray[Any]:
        """One value per component of `_own`, for each of its parameters."""
        sizes = [p.component.n_parameters for p in self._own]
        repeated = np.repeat(np.fromiter(values, dtype, len(self._own)), sizes)
        repeated.setflags(write=False)
        return repeated

    def placed(self) -> Iterator[PlacedComponent]:
        """All components of all data sets with the place of their parameters."""
        return iter(self._placed)

    def own(self) -> Iterator[PlacedComponent]:
        """Components without those whose parameters an earlier data set has, by the place of their parameters."""
        return iter(self._own)

    @property
    def parameters(self) -> FloatArray:
        """The parameters of all data sets, (n_parameters,) float64."""
        return np.concatenate([np.zeros(0), *(p.component.parameters for p in self._own)])

    @cached_property
    def held(self) -> BoolArray:
        """Parameters that the fit leaves as they are, (n_parameters,) bool."""
        return self._repeated((p.component.held for p in self._own), np.bool_)

    @cached_property
    def _restrained(self) -> tuple[PlacedComponent, ...]:
        return tuple(p for p in self._own if p.component.restraints)

    def restraint_rows(self, parameters: FloatArray | None = None) -> RestraintRows:
        """The restraints that the components ask for, around some parameters (default: their own)."""
        around = self.parameters if parameters is None else parameters
        return RestraintRows.join(
            [
                restraint_rows(p, r.form, r.weight, around)
                for p in self._restrained
                for r in p.component.restraints
                if r.weight
            ]
        )

    def pulled_to_null(self, *, fixed: bool) -> BoolArray:
        """Parameters that a restraint pulls to their null value, with a weight that is fixed or not, (p,) bool."""

        def is_pulled(c: ComponentModel) -> bool:
            return any(r.form == "null" and r.weight > 0 and (r.lowest == r.highest) == fixed for r in c.restraints)

        return self._repeated((is_pulled(p.component) for p in self._own), np.bool_)

    def centres(self) -> FloatArray:
        """What restraints to the null value pull to, less that value, (p,) float64."""
        return self._repeated((p.component.centre for p in self._own), np.float64)

    @property
    def names(self) -> list[str]:
        """A name for each parameter: data set, component, number."""
        names = [""] * self.n_parameters
        for p in self.own():
            of = "all data sets" if p.component.shared else f"data set {p.data_set}"
            names[p.place] = [f"{of} {p.component.name}[{i}]" for i in range(p.component.n_parameters)]
        return names

    def scale_like(self) -> BoolArray:
        """Parameters whose common factor is that of g, one component per data set, (n_parameters,) bool.

        Held components are not among them: nothing can change them.
        """
        return self._first_of_kind(lambda c: c.null_value == 1.0) & ~self.held

    def scale_is_held(self) -> BoolArray:
        """Whether the fit leaves the overall scale of each data set as it is, (n_data_sets,) bool."""
        carriers = [next((c for c in m.components if c.null_value == 1.0), None) for m in self.models]
        return np.array([c is not None and c.held for c in carriers], np.bool_)

    def decay_like(self) -> BoolArray:
        """Parameters that add to B, one component per data set, (n_parameters,) bool."""
        return self._first_of_kind(lambda c: c.kind in ("smooth_decay", "constant_decay") and not c.held)

    def _first_of_kind(self, wanted: Callable[[ComponentModel], bool]) -> BoolArray:
        """Parameters of the first such component of each data set, (n_parameters,) bool."""
        mask = np.zeros(self.n_parameters, np.bool_)
        for model, places in zip(self.models, self.slices, strict=True):
            for c, place in zip(model.components, places, strict=True):
                if wanted(c):
                    mask[place] = True
                    break
        return mask

    def refinement_stage(self) -> IndexArray:
        """Place of each parameter in the order of `refinement_order=consecutive`, (n_parameters,) int64.

        Scales and B's come first, then absorption, then modulation.
        """
        stage = np.zeros(self.n_parameters, np.int64)
        for p in self.own():
            stage[p.place] = {"absorption": 1, "modulation": 2}.get(p.component.name, 0)
        return stage

    def data_set_of_parameters(self) -> IndexArray:
        """Data set of each parameter, the first one for shared parameters, (n_parameters,) int64."""
        return self._numbers

    @cached_property
    def _numbers(self) -> IndexArray:
        return self._repeated((p.data_set for p in self._own), np.int64)

    def with_parameters(self, parameters: FloatArray, sigmas: FloatArray | None = None) -> list[DataSetModel]:
        """Return the models with new parameters, and uncertainties where known; held components stay as they are."""

        def changed(c: ComponentModel, place: slice) -> ComponentModel:
            if c.held:
                return c
            return replace(
                c, parameters=parameters[place].copy(), sigmas=None if sigmas is None else sigmas[place].copy()
            )

        return [
            model.with_components([changed(c, s) for c, s in zip(model.components, places, strict=True)])
            for model, places in zip(self.models, self.slices, strict=True)
        ]


def restraint_rows(
    placed: PlacedComponent, form: RestraintForm, weight: float, parameters: FloatArray
) -> RestraintRows:
    """Restraints of one component in one form.

    Those of factors are on their logarithms, linear around `parameters`: a common factor costs them nothing, and they
    do not pull factors to zero.
    """
    component = placed.component
    rows = _plain_rows(placed, form, weight)
    if component.null_value == 0.0:
        return rows
    own = parameters[placed.place]
    around = np.maximum(own, max(_SMALLEST * abs(float(np.median(own))), 1e-6))
    at = rows.column - placed.place.start
    sign = rows.value
    logarithms = np.add.reduceat(sign * np.log(around[at]), rows.row_offsets[:-1]) if len(rows) else rows.target
    signs = np.add.reduceat(sign, rows.row_offsets[:-1]) if len(rows) else rows.target
    return replace(rows, value=sign / around[at], target=signs - logarithms)


def _plain_rows(placed: PlacedComponent, form: RestraintForm, weight: float) -> RestraintRows:
    if form == "null":
        return RestraintRows.single(placed.numbers, placed.component.null_value + placed.component.centre, weight)
    pairs = placed.component.neighbours(SMOOTH_FORMS.index(form))
    return RestraintRows.differences(pairs + np.int32(placed.place.start), weight)
