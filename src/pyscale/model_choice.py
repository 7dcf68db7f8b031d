"""`model=cross_validated`: the model that predicts held-out groups best (docs/theory/choices.md)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .errors import DataError
from .held_out import HeldOut, HeldOutScore
from .model_plan import ModelPlan
from .model_variants import Variant, may_differ, planned
from .options import Auto, ScalingOptions
from .scaling_model import DataSetModel

__all__ = ["ModelChoice", "TriedModel", "choose_plans", "has_choice"]

_logger = logging.getLogger(__name__)

_ORDERS, _REFINED = (2, 4, 6), (0, 6)
"""Orders of the surface to try where the rules have none, and where they have one of order 4."""
_FINEST, _COARSEST = 0.125, 8.0
_GAIN_ERRORS, _LEAST_GAIN = 3.0, 2.0
"""What a richer model must gain, in standard errors and as log-likelihood; about ten are compared."""
_LOSS_ERRORS, _LEAST_LOSS = 0.6, 1.5
"""What a simpler one may lose."""

_MOST_PARAMETERS = 2000
"""The dense matrices of more, factorised some thirty times, take minutes."""

Build = Callable[[Sequence[ModelPlan]], list[DataSetModel]]


@dataclass(frozen=True, kw_only=True)
class TriedModel:
    """One model that was tried.

    Attributes
    ----------
    name : str
        How it differs from the rules'.
    n_parameters : int
    log_likelihood : float
        Of held-out groups, per observation, apart from a constant.
    difference, standard_error : float
        Its excess over that of the rules' model, and how much that scatters over the folds.
    chosen : bool
    """

    name: str
    n_parameters: int
    log_likelihood: float
    difference: float
    standard_error: float
    chosen: bool


@dataclass(frozen=True)
class ModelChoice:
    """What `model=cross_validated` tried and chose.

    Attributes
    ----------
    plans : list of ModelPlan
    tried : list of TriedModel
        The rules' model first.
    reason : str
    n_folds, n_observations : int
        Parts held out in turn, and observations in them.
    """

    plans: list[ModelPlan]
    tried: list[TriedModel]
    reason: str
    n_folds: int
    n_observations: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for reports."""
        return {
            "n_folds": self.n_folds,
            "n_observations": self.n_observations,
            "reason": self.reason,
            "tried": [vars(t) for t in self.tried],
        }

    def table(self) -> str:
        """Return what was tried as text."""
        lines = [f"{'model':<64}{'parameters':>10}{'log-likelihood':>16}{'difference':>13}{'± s.e.':>11}"]
        lines += [
            f"{t.name + (' <- chosen' if t.chosen else ''):<64}{t.n_parameters:>10}{t.log_likelihood:>16.6f}"
            f"{t.difference:>13.6f}{t.standard_error:>11.6f}"
            for t in self.tried
        ]
        return "\n".join(lines)


@dataclass
class _Search:
    """The models scored so far, and the best of them."""

    held_out: HeldOut
    rules: Sequence[ModelPlan]
    options: ScalingOptions
    build: Build
    scores: dict[Variant, HeldOutScore] = field(default_factory=dict)
    current: Variant = field(default_factory=Variant)
    best: Variant = field(default_factory=Variant)

    def run(self, fitted: Sequence[DataSetModel]) -> Variant:
        """Change one correction after the other while it helps, and return the best."""
        self.scores[self.current] = self.held_out.score(fitted, fitted)
        self._take(self.current)
        free = may_differ(self.options)
        if "lmax" in free:
            self._best_of(self._orders())
        for name in ("scale", "decay"):
            if name in free:
                self._climb(name)
        if "image_scale" in free:
            self._best_of([replace(self.current, image_scale=True)])
        if "array" in free:
            self._best_of([Variant(array=True), Variant(array=True, modulation=True)])
        return self.current if self.current == Variant() or self._is_better(self.current, Variant()) else Variant()

    def _orders(self) -> Iterator[Variant]:
        lmax = self.options.physical.lmax
        has_surface = any(c.kind == "absorption" for m in self.scores[Variant()].models for c in m.components)
        for order in (0, lmax) if not isinstance(lmax, Auto) else _REFINED if has_surface else _ORDERS:
            yield replace(self.current, lmax=order)

    def _best_of(self, variants: Sequence[Variant] | Iterator[Variant]) -> None:
        for variant in variants:
            if self._try(variant):
                self._take(variant)

    def _climb(self, name: str) -> None:
        for step in (0.5, 2.0):
            if getattr(self.current, name) != 1.0:
                break
            factor = step
            while _FINEST <= factor <= _COARSEST and self._try(variant := self.current.with_factor(name, factor)):
                self._take(variant)
                factor *= step

    def _try(self, variant: Variant) -> bool:
        """Score a model, and tell whether it is to be preferred to the current one."""
        if variant not in self.scores:
            try:
                models = self.build(planned(variant, self.rules, self.options, ""))
                if self._is_known(models) or _is_too_large(models, variant):
                    return False
                self.scores[variant] = self.held_out.score(models, self._start(variant))
            except DataError as error:
                _logger.info("%s cannot be tried: %s", variant, error)
                return False
        return self._is_better(variant, self.current)

    def _start(self, variant: Variant) -> list[DataSetModel]:
        """Fitted models to start from: for array models others of their kind, if there are any."""
        array = Variant(array=True)
        return self.scores[array if variant.modulation and array in self.scores else self.current].models

    def _is_known(self, models: Sequence[DataSetModel]) -> bool:
        """Whether a model with the same numbers of nodes was tried before."""
        layout = _layout(models)
        return any(_layout(s.models) == layout for s in self.scores.values())

    def _is_better(self, variant: Variant, other: Variant) -> bool:
        """Whether held-out groups speak for the richer model, or not against the simpler one."""
        new, old = self.scores[variant], self.scores[other]
        if new.n_parameters > old.n_parameters:
            gain, error = new.excess(old)
            return gain > max(_GAIN_ERRORS * error, _LEAST_GAIN)
        gain, error = new.excess(self.scores[self.best])
        return gain >= -max(_LOSS_ERRORS * error, _LEAST_LOSS)

    def _take(self, variant: Variant) -> None:
        self.current = variant
        self.best = max(self.best, variant, key=lambda v: self.scores[v].total)


def _is_too_large(models: Sequence[DataSetModel], variant: Variant) -> bool:
    n_parameters = sum(m.n_parameters for m in models)
    if n_parameters > _MOST_PARAMETERS:
        _logger.info("%s is not tried: %d parameters, more than %d", variant, n_parameters, _MOST_PARAMETERS)
    return n_parameters > _MOST_PARAMETERS


def _layout(models: Sequence[DataSetModel]) -> list[list[tuple[str, int]]]:
    return [[(c.name, c.n_parameters) for c in m.components] for m in models]


def has_choice(rules: Sequence[ModelPlan]) -> bool:
    """Whether any data set has a physical model by the rules; says so if none has."""
    if any(plan.model.value == "physical" for plan in rules):
        return True
    _logger.info("No data set has a rotation for a physical model to follow: model=cross_validated leaves the rules'")
    return False


def choose_plans(
    held_out: HeldOut,
    rules: Sequence[ModelPlan],
    fitted: Sequence[DataSetModel],
    options: ScalingOptions,
    build: Build,
) -> ModelChoice:
    """Choose the plans of all data sets, one choice for all physical models of the job.

    Parameters
    ----------
    held_out : HeldOut
    rules : sequence of ModelPlan
        What the rules say.
    fitted : sequence of DataSetModel
        The rules' models, fitted to all data.
    options : ScalingOptions
    build : callable
        From plans to starting models.

    Raises
    ------
    DataError
        If the rules' model cannot be fitted without one of the folds.
    """
    search = _Search(held_out, rules, options, build)
    chosen = search.run(fitted)
    n, best = held_out.n_observations, search.scores[Variant()]
    tried = []
    for variant, score in search.scores.items():
        difference, error = score.excess(best)
        tried.append(
            TriedModel(
                name=str(variant),
                n_parameters=score.n_parameters,
                log_likelihood=score.total / n,
                difference=difference / n,
                standard_error=error / n,
                chosen=variant == chosen,
            )
        )
    reason = _reason(next(t for t in tried if t.chosen), tried[0])
    choice = ModelChoice(
        planned(chosen, rules, options, reason), tried, reason, held_out.n_folds, held_out.n_observations
    )
    _logger.info("Choice of the model by the likelihood of held-out groups (%d folds):", held_out.n_folds)
    _logger.info("%s\n%s", choice.table(), reason)
    return choice


def _reason(chosen: TriedModel, rules: TriedModel) -> str:
    if chosen == rules:
        return "no other model predicts held-out groups better than that of the rules"
    kind = "richer" if chosen.n_parameters > rules.n_parameters else "simpler"
    return (
        f"held-out groups: {chosen.name}, {kind} than by the rules, changes the log-likelihood per observation by "
        f"{chosen.difference:+.3g} (s.e. {chosen.standard_error:.2g})"
    )
