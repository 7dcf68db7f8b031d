"""Error models in the configuration of stored scaling models: DIALS' pair, and our own beside it."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._likelihood import Common, Shrunk, Terms
from .error_groups import error_model_groups
from .error_model import ErrorModel
from .error_models import ErrorModels
from .errors import UsageError
from .options.error_model import ErrorModelOptions
from .typing import FloatArray, IntArray

__all__ = [
    "closest_basic",
    "common_error_model",
    "error_model_configuration",
    "grouped_error_models",
    "is_number",
    "own_error_model",
]

_logger = logging.getLogger(__name__)

Configuration = dict[str, Any]


def closest_basic(
    variance: FloatArray, expected: FloatArray, sigma_squared: FloatArray, data_set: IntArray, n_data_sets: int
) -> list[tuple[float, float]]:
    """a and b of each data set with which a^2 (V + (b I_e)^2) is closest to the variances, in relative least squares.

    Programs that know no other error model take these. All arrays are (n,).
    """
    x, y = variance / sigma_squared, np.maximum(expected, 0.0) ** 2 / sigma_squared
    xx, xy, yy, sx, sy = (np.bincount(data_set, values, n_data_sets) for values in (x * x, x * y, y * y, x, y))
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = xx * yy - xy**2
        alpha, beta = (yy * sx - xy * sy) / determinant, (xx * sy - xy * sx) / determinant
        alone = sx / xx
    sound = (determinant > 1e-12 * xx * yy) & (alpha > 0) & (beta >= 0)
    alpha = np.where(sound, alpha, np.where(alone > 0, alone, 1.0))
    beta = np.where(sound, beta, 0.0)
    pairs = zip(np.sqrt(alpha).tolist(), np.sqrt(beta / alpha).tolist(), strict=True)
    return list(pairs)


def error_model_configuration(
    models: ErrorModels, data_set: int, basic: tuple[float, float], *, rejection: ErrorModel | None
) -> Configuration:
    """What a stored scaling model says of a data set's error model.

    `basic` is the closest pair for DIALS, `rejection` the model of weights and rejection if that was another one.
    """
    own = models.of(data_set)
    if models.kind == "basic" or own.c == 0:
        basic = (own.a, own.b)
    stored: Configuration = {
        "type": models.kind,
        "a": own.a,
        "b": own.b,
        "c": own.c,
        "basic": list(basic),
        "intensity": "observed" if models.kind == "basic" else "expected",
        "determined": rejection is None,
    }
    if rejection is not None:
        stored["rejection"] = {"a": rejection.a, "b": rejection.b, "c": rejection.c}
    if models.shrunk is not None:
        common = models.shrunk.common
        stored["common"] = {"mean": common.mean.tolist(), "spread": common.spread.tolist()}
    return {
        "error_model_type": "BasicErrorModel",
        "error_model_parameters": list(basic),
        "pyscale": {"error_model": stored},
    }


def own_error_model(configuration: Configuration) -> Configuration:
    """Error model of our own part, if it goes with that of DIALS' part."""
    part = configuration.get("pyscale")
    own = part.get("error_model") if isinstance(part, dict) else None
    if not isinstance(own, dict):
        return {}
    pair = own.get("basic", [own.get("a"), own.get("b")])
    return own if pair == configuration.get("error_model_parameters") else {}


def common_error_model(configurations: Sequence[Configuration], choice: ErrorModelOptions) -> ErrorModel | None:
    """Mean of the stored error models with what an option fixes, in the log too; None where none is stored."""
    stored = [model for model in map(_stored_model, configurations) if model is not None]
    if not stored:
        return None
    a, b, c = np.mean([(m.a, m.b, m.c) for m in stored], axis=0).tolist()
    fixed = choice.basic
    model = ErrorModel(
        a if fixed.a is None else fixed.a,
        b if fixed.b is None else fixed.b,
        c if choice.error_model == "likelihood" and choice.likelihood.third_term else 0.0,
    )
    which = "the mean of the stored error models" if len(set(stored)) > 1 else "the stored error model"
    _logger.info("The error model starts from %s, a = %.5f, b = %.5f, c = %.5g", which, model.a, model.b, model.c)
    return model


def grouped_error_models(configurations: Sequence[Configuration], choice: ErrorModelOptions) -> Shrunk | None:
    """Stored error models of the groups of data sets, where all have one of ours."""
    group_of = error_model_groups(choice, len(configurations))
    own = [own_error_model(c) for c in configurations]
    models = [_stored_model(c) for c in configurations]
    common = own[0].get("common") if own else None
    if group_of.size == 0 or choice.error_model != "likelihood" or not isinstance(common, dict):
        return None
    if any(o.get("common") != common for o in own):
        return None
    first = np.unique(group_of, return_index=True)[1]
    theta = np.array([model.theta for model in (models[k] for k in first) if model is not None])
    mean, spread = (_three_numbers(common.get(name)) for name in ("mean", "spread"))
    if len(theta) != first.size or mean is None or spread is None:
        return None
    return Shrunk(theta, np.zeros((len(theta), 3, 3)), Common(mean, spread), Terms.none(len(theta)))


def _three_numbers(values: Any) -> FloatArray | None:
    sound = isinstance(values, list) and len(values) == 3 and all(map(is_number, values))
    return np.array(values, np.float64) if sound else None


def _stored_model(configuration: Configuration) -> ErrorModel | None:
    """A stored error model; one that pyscale stored for want of it, and unsound ones, are None."""
    own = own_error_model(configuration)
    if own.get("type", "basic") is None:
        return None
    used = own.get("rejection") or own
    values = [used.get("a"), used.get("b"), used.get("c", 0.0)] if isinstance(used, dict) else []
    if not own:
        pair = configuration.get("error_model_parameters")
        values = [*pair, 0.0] if isinstance(pair, list) and len(pair) == 2 else []
    if not values or not all(map(is_number, values)):
        return None
    try:
        return ErrorModel(*map(float, values))
    except UsageError:
        return None


def is_number(value: Any) -> bool:
    """Whether a value of a JSON document is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
