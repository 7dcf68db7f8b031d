"""Cross validation: the same job without one free set after the other, for one or several settings of an option."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._core import __version__
from .document import DOCUMENT_VERSION, plain_values
from .errors import DataError
from .free_set import FreeSetComparison
from .held_out import paired_excess
from .held_records import held_records
from .io.atomic import OutputSet
from .options import ScalingOptions, to_dict
from .progress import Cancellation, cancellable, part_of_job, report_progress
from .settings import Setting, settings_to_compare
from .typing import FloatArray

__all__ = ["CrossValidation", "Fold", "SettingScore", "cross_validate"]

_logger = logging.getLogger(__name__)

Fold = Callable[[int, int], FreeSetComparison]
"""Comparison of free set and work, from the number of the free set and of threads."""

Prepare = Callable[[ScalingOptions, Collection[str]], Fold]

JSON_NAME = "pyscale.cross_validation.json"
_WIDTH = 18
_BETWEEN_POLLS = 0.05


@dataclass(frozen=True)
class _Quantity:
    """A column of the table: its heading, its value in a fold, whether high is good."""

    name: str
    heading: str
    value: Callable[[FreeSetComparison], float]
    high_is_good: bool = False


_QUANTITIES = (
    _Quantity("work_r_meas", "work Rmeas", lambda c: c.work.r_meas),
    _Quantity("free_r_meas", "free Rmeas", lambda c: c.free.r_meas),
    _Quantity("r_meas_gap", "Rmeas gap", lambda c: c.r_meas_gap),
    _Quantity("work_cc_half", "work CC1/2", lambda c: c.work.cc_half, True),
    _Quantity("free_cc_half", "free CC1/2", lambda c: c.free.cc_half, True),
    _Quantity("cc_half_gap", "CC1/2 gap", lambda c: c.cc_half_gap),
    _Quantity("log_likelihood", "log-likelihood", lambda c: c.log_likelihood, True),
)


@dataclass(frozen=True, kw_only=True)
class SettingScore:
    """How one setting did.

    Attributes
    ----------
    name : str
    folds : tuple of FreeSetComparison
        Empty if it failed.
    failure : str or None
        Why it could not be scaled.
    difference, standard_error : float
        Excess of the log-likelihood of the free sets over that of the first setting, per observation, over the groups
        that are free in both with as many observations; NaN if there are none.
    n_compared : int
        Observations in these groups.
    """

    name: str
    folds: tuple[FreeSetComparison, ...]
    failure: str | None = None
    difference: float = math.nan
    standard_error: float = math.nan
    n_compared: int = 0

    def values(self, quantity: str) -> FloatArray:
        """Value of a quantity (a key of the document) in each fold, (n_folds,) float64."""
        (value,) = (q.value for q in _QUANTITIES if q.name == quantity)
        return np.array([value(c) for c in self.folds])

    def mean(self, quantity: str) -> float:
        """Mean over the folds; NaN without any."""
        values = self.values(quantity)
        return float(values.mean()) if values.size else math.nan

    def standard_deviation(self, quantity: str) -> float:
        """Sample standard deviation over the folds; NaN for fewer than two."""
        values = self.values(quantity)
        return float(values.std(ddof=1)) if values.size > 1 else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for reports."""
        return {
            "name": self.name,
            "failure": self.failure,
            "mean": {q.name: self.mean(q.name) for q in _QUANTITIES},
            "standard_deviation": {q.name: self.standard_deviation(q.name) for q in _QUANTITIES},
            "difference": self.difference,
            "standard_error": self.standard_error,
            "n_compared": self.n_compared,
            "folds": [c.to_dict() for c in self.folds],
        }


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """What cross validation found.

    Attributes
    ----------
    options : ScalingOptions
        What was asked.
    scores : tuple of SettingScore
    seconds : float
    """

    options: ScalingOptions
    scores: tuple[SettingScore, ...]
    seconds: float

    def table(self) -> str:
        """Return mean (standard deviation) of each quantity; several settings have an asterisk at the best."""
        width = max(len(s.name) for s in self.scores) + 2
        several = len(self.scores) > 1
        headings = [q.heading for q in _QUANTITIES] + ["difference"] * several
        lines = [f"{'':{width}}" + "".join(f"{heading:>{_WIDTH - 1}} " for heading in headings).rstrip()]
        best = [self._best(q) for q in _QUANTITIES]
        for score in self.scores:
            cells = [
                _cell(score.mean(q.name), score.standard_deviation(q.name), score.mean(q.name) == limit)
                for q, limit in zip(_QUANTITIES, best, strict=True)
            ]
            cells += [_cell(score.difference, score.standard_error, False)] * several
            text = f"  failed: {score.failure}" if score.failure else "".join(cells).rstrip()
            lines.append(f"{score.name:{width}}{text}")
        return "\n".join(lines)

    def _best(self, quantity: _Quantity) -> float:
        means = [m for s in self.scores if not math.isnan(m := s.mean(quantity.name))]
        if len(self.scores) < 2 or not means:
            return math.nan
        return max(means) if quantity.high_is_good else min(means)

    def summary(self) -> str:
        """Return the table with its explanation."""
        job = self.options.scaling_options
        n = self.options.cross_validation.nfolds
        many = "s" if n > 1 else ""
        lines = [
            f"Cross validation: {n} free set{many} of {job.free_set_percentage:g} % of the groups",
            self.table(),
            "Mean (standard deviation) over the free sets.",
        ]
        if len(self.scores) > 1:
            lines.append(
                "* best of the column. difference: of the log-likelihood per observation of the free sets from that of "
                f"{self.scores[0].name} (standard error)."
            )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values: the content of `pyscale.cross_validation.json`."""
        choice = self.options.cross_validation
        document: dict[str, Any] = plain_values(
            {
                "version": DOCUMENT_VERSION,
                "schema_version": DOCUMENT_VERSION,
                "program_version": __version__,
                "options": to_dict(self.options),
                "mode": choice.cross_validation_mode,
                "n_folds": choice.nfolds,
                "settings": [s.to_dict() for s in self.scores],
                "wall_seconds": self.seconds,
            }
        )
        return document

    def write_outputs(
        self, output: Any, inputs: Iterable[str | os.PathLike[str]] = (), named_outputs: Collection[str] = ()
    ) -> None:
        """Write the document, `output.json` if that was named; nothing else, as no scaled data are to be kept.

        Parameters
        ----------
        output, inputs, named_outputs
            As for `ScalingResult.write_outputs`.
        """
        from .exports import write_json

        if output.json is None:
            return
        named = "output.json" in named_outputs
        with OutputSet(inputs) as outputs:
            write_json(self, outputs.stage(output.json if named else JSON_NAME, named_as_output=named))


def _cell(mean: float, spread: float, is_best: bool) -> str:
    if math.isnan(mean):
        return f"{'-':>{_WIDTH - 1}} "
    text = f"{mean:.4f}" + (f" ({spread:.4f})" if math.isfinite(spread) else "") + ("*" if is_best else " ")
    return f"{text:>{_WIDTH}}"


def cross_validate(
    options: ScalingOptions, given: Collection[str], prepare: Prepare, n_threads: int
) -> CrossValidation:
    """Scale each setting without one free set after the other.

    The folds of a setting run at once, as far as there are threads; each gives the same bits for any number of them.

    Parameters
    ----------
    options : ScalingOptions
    given : collection of str
        Dotted names of the options that the user has set.
    prepare : callable
        From the options of a setting to what scales it without a free set.
    n_threads : int

    Raises
    ------
    UsageError
        If the options of the cross validation make no sense.
    DataError
        If no setting can be scaled.
    """
    start = time.perf_counter()
    settings = settings_to_compare(options, given)
    scores: list[SettingScore] = []
    for number, setting in enumerate(settings):
        _logger.info("Cross validation of %s", setting.name, extra={"fraction": number / len(settings)})
        with part_of_job(number / len(settings), (number + 1) / len(settings)):
            scores.append(_score(setting, prepare, options.cross_validation.nfolds, n_threads))
    if all(s.failure for s in scores):
        raise DataError(f"cross validation: {scores[0].failure}")
    compared = tuple(_compared(s, scores[0]) for s in scores)
    return CrossValidation(options=options, scores=compared, seconds=time.perf_counter() - start)


def _score(setting: Setting, prepare: Prepare, n_folds: int, n_threads: int) -> SettingScore:
    n_workers = min(n_folds, n_threads)
    try:
        fold = prepare(setting.options, setting.given)
        with held_records("pyscale") as warnings, ThreadPoolExecutor(n_workers) as pool:
            share = math.ceil(n_threads / n_workers)
            folds = _in_threads(pool, warnings.of_task(lambda k: fold(k, share)), n_folds, setting.name)
    except DataError as error:
        _logger.warning("%s cannot be scaled: %s", setting.name, error)
        return SettingScore(name=setting.name, folds=(), failure=str(error))
    for message in warnings.messages():
        _logger.warning("%s: %s", setting.name, message)
    for comparison in folds:
        _logger.info("%s, free set %d:\n%s", setting.name, comparison.offset, comparison.table())
    return SettingScore(name=setting.name, folds=folds)


def _in_threads(
    pool: ThreadPoolExecutor, fold: Callable[[int], FreeSetComparison], n_folds: int, name: str
) -> tuple[FreeSetComparison, ...]:
    """All folds in their order; where this thread is stopped, those of the pool are stopped too."""
    stop = Cancellation()

    def stoppable(number: int) -> FreeSetComparison:
        with cancellable(stop):
            return fold(number)

    futures: list[Future[FreeSetComparison]] = [pool.submit(stoppable, k) for k in range(n_folds)]
    try:
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout=_BETWEEN_POLLS)
            n_done = n_folds - len(waiting)
            report_progress("fit", n_done / n_folds, f"{name}: {n_done} of {n_folds} free sets")
            for future in done:
                future.result()
    except BaseException:
        stop.cancel()
        raise
    return tuple(future.result() for future in futures)


def _compared(score: SettingScore, first: SettingScore) -> SettingScore:
    """Return a score with its difference from the first."""
    if not score.folds or not first.folds:
        return score
    parts = [_common(a, b) for a, b in zip(score.folds, first.folds, strict=True)]
    difference = np.concatenate([d for d, _ in parts])
    n = sum(n for _, n in parts)
    if n == 0:
        return score
    fold = np.repeat(np.arange(len(parts)), [d.size for d, _ in parts])
    excess, error = paired_excess(difference, fold)
    return SettingScore(
        name=score.name, folds=score.folds, difference=excess / n, standard_error=error / n, n_compared=n
    )


def _common(a: FreeSetComparison, b: FreeSetComparison) -> tuple[FloatArray, int]:
    """Differences of the log-likelihoods of groups that both have, with as many observations; and their number."""
    keys = [
        np.ascontiguousarray(np.column_stack([c.held_out.miller_index, c.held_out.n_observations]).astype(np.int64))
        for c in (a, b)
    ]
    packed: Sequence[Any] = [k.view([("", np.int64)] * 4).ravel() for k in keys]
    _, in_a, in_b = np.intersect1d(packed[0], packed[1], assume_unique=True, return_indices=True)
    difference = a.held_out.log_likelihood[in_a] - b.held_out.log_likelihood[in_b]
    return difference, int(a.held_out.n_observations[in_a].sum())
