"""Where a fit starts: from nothing, or from what an earlier job has stored."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .error_model import ErrorModel
from .options import ScalingOptions
from .options.scaling import ErrorModelOptions
from .scaling_model import DataSetModel
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
        The stored one.
    error_model_determined : bool or None
        Whether the data determined it, False if it was fixed since they could not; None if unknown.
    imids : (n_data_sets,) float64 or None
        Stored crossovers from profile-fitted to summed intensities, which are then not looked for again.
    """

    kept: tuple[bool, ...] = ()
    is_solution: bool = False
    error_model: ErrorModel | None = None
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
    error_models = [] if choice.reset_error_model or choice.error_model is None else _error_models(configurations)
    error_model = None
    if error_models:
        a, b = np.mean([(m.a, m.b) for m in error_models], axis=0).tolist()
        error_model = ErrorModel(
            a if choice.basic.a is None else choice.basic.a, b if choice.basic.b is None else choice.basic.b
        )
        which = "the mean of the stored error models" if len(set(error_models)) > 1 else "the stored error model"
        _logger.info("The error model starts from %s, a = %.5f, b = %.5f", which, error_model.a, error_model.b)
    is_solution = all(kept) and exact and error_model is not None
    determined = _determined(configurations, choice) if is_solution else None
    if determined is False:
        _logger.warning(
            "The stored error model was fixed since the data could not determine it, and is used again: take sigmas "
            "for too small (reset_error_model=True tries anew)"
        )
    return FitStart(kept, is_solution, error_model, determined, _imids(configurations, all(kept), options, given))


def _determined(configurations: Sequence[dict[str, Any]], choice: ErrorModelOptions) -> bool | None:
    """Whether the data determined the stored error model; None if no file says so."""
    if choice.basic.a is not None or choice.basic.b is not None:
        return True
    said = {_own(c).get("determined") for c in configurations}
    return said.pop() if len(said) == 1 and said <= {True, False} else None


def _error_models(configurations: Sequence[dict[str, Any]]) -> list[ErrorModel]:
    """Stored error models of DIALS' kind; those that pyscale stored for want of one, and unsound ones, are left out."""
    models = []
    for configuration in configurations:
        values = configuration.get("error_model_parameters")
        if _own(configuration).get("type", "basic") is None or not isinstance(values, list) or len(values) != 2:
            continue
        if all(_is_number(v) for v in values) and values[0] > 0 and values[1] >= 0:
            models.append(ErrorModel(float(values[0]), float(values[1])))
    return models


def _own(configuration: dict[str, Any]) -> dict[str, Any]:
    """Error model of our own part, if it is that of DIALS' part."""
    part = configuration.get("pyscale")
    own = part.get("error_model") if isinstance(part, dict) else None
    if not isinstance(own, dict) or [own.get("a"), own.get("b")] != configuration.get("error_model_parameters"):
        return {}
    return own


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _imids(
    configurations: Sequence[dict[str, Any]], all_kept: bool, options: ScalingOptions, given: Collection[str]
) -> FloatArray | None:
    stored = [float(c["Imid"]) for c in configurations if _is_number(c.get("Imid")) and c["Imid"] >= 0]
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
