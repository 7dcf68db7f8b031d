"""Where a fit starts: from nothing, or from what an earlier job has stored."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._likelihood import Shrunk
from .error_model import ErrorModel
from .options import ScalingOptions
from .options.error_model import ErrorModelOptions
from .scaling_model import DataSetModel
from .stored_error_models import common_error_model, grouped_error_models, is_number, own_error_model
from .typing import BoolArray, FloatArray

__all__ = ["FitStart", "fit_start"]

_logger = logging.getLogger(__name__)

_CHOICES_OF_INTENSITY = ("reflection_selection.intensity_choice", "reflection_selection.combine.Imid")


@dataclass(frozen=True)
class FitStart:
    """Where a fit starts.

    Attributes
    ----------
    kept : tuple of bool
        Data sets whose parameters are those of an earlier fit; empty: none.
    is_solution : bool
        Whether these parameters should still be a solution, so that the first round judges by the stored error model.
    error_model : ErrorModel or None
        The stored one, of several what they have in common.
    error_models : Shrunk or None
        Stored ones of the groups of data sets.
    error_model_determined : bool or None
        Whether the data determined it, False if it was fixed since they could not; None if unknown.
    imids : (n_data_sets,) float64 or None
        Stored crossovers from profile-fitted to summed intensities, which are then not looked for again.
    """

    kept: tuple[bool, ...] = ()
    is_solution: bool = False
    error_model: ErrorModel | None = None
    error_models: Shrunk | None = None
    error_model_determined: bool | None = None
    imids: FloatArray | None = None

    def kept_data_sets(self, n_data_sets: int) -> BoolArray:
        """Whether each data set's parameters are those of an earlier fit, (n_data_sets,) bool."""
        return np.array(self.kept or (False,) * n_data_sets, np.bool_)


def fit_start(
    stored: Sequence[DataSetModel | None], exact: bool, options: ScalingOptions, given: Collection[str]
) -> FitStart:
    """Collect what the stored models of a job's data sets say.

    Parameters
    ----------
    stored : sequence of DataSetModel or None
        As read, with their configuration; None for data sets that begin anew.
    exact : bool
        Whether the models that are kept give the scales that they gave.
    options : ScalingOptions
    given : collection of str
        Dotted names of the options that the user has set.
    """
    kept = tuple(model is not None for model in stored)
    if not any(kept):
        return FitStart()
    configurations = [model.configuration for model in stored if model is not None]
    choice = options.weighting.error_model
    starts_anew = choice.reset_error_model or choice.error_model is None
    error_model = None if starts_anew else common_error_model(configurations, choice)
    error_models = None
    if all(kept) and error_model is not None:
        error_models = grouped_error_models(configurations, choice)
    is_solution = all(kept) and exact and error_model is not None
    determined = _determined(configurations, choice) if is_solution else None
    if determined is False:
        _logger.warning(
            "The stored error model of weights and rejection was fixed since the data could not determine it, and is "
            "used again (reset_error_model=True tries anew)"
        )
    imids = _imids(configurations, all(kept), options, given)
    return FitStart(kept, is_solution, error_model, error_models, determined, imids)


def _determined(configurations: Sequence[dict[str, Any]], choice: ErrorModelOptions) -> bool | None:
    """Whether the data determined the stored error model; None if no file says so."""
    if choice.basic.a is not None or choice.basic.b is not None:
        return True
    said = {own_error_model(c).get("determined") for c in configurations}
    return said.pop() if len(said) == 1 and said <= {True, False} else None


def _imids(
    configurations: Sequence[dict[str, Any]], all_kept: bool, options: ScalingOptions, given: Collection[str]
) -> FloatArray | None:
    stored = [float(c["Imid"]) for c in configurations if is_number(c.get("Imid")) and c["Imid"] >= 0]
    values = sorted(set(stored))
    if any(option in given for option in _CHOICES_OF_INTENSITY) or not values:
        return None
    may_differ = not options.reflection_selection.combine.joint_analysis
    if (len(values) == 1 or may_differ) and all_kept and len(stored) == len(configurations):
        listed = ", ".join(f"{v:g}" for v in values[:5])
        _logger.info("The crossover between profile and summation intensities is that of the stored models: %s", listed)
        return np.array(stored)
    reason = f"the stored models have different ones ({', '.join(f'{v:g}' for v in values[:5])})"
    if len(values) == 1 or may_differ:
        reason = "some data sets have none stored"
    _logger.info(
        "The crossover between profile and summation intensities is looked for again: %s",
        reason,
        extra={"notice": True},
    )
    return None
