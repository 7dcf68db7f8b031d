"""What the log says of a finished fit."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from .fitting import FitResult

__all__ = ["log_fit", "log_undetermined"]

_logger = logging.getLogger(__name__)

_LITTLE = 0.5
_MOST_NAMED = 5
"""Undetermined parameters named in the warning."""


def log_fit(fit: FitResult) -> None:
    """Log how the fit ended, what it leaves unknown, and its error model."""
    c = fit.covariance
    _logger.info(
        "Fit %s (%s): cost %.6g over %d observations in %d groups, %.1f effective parameters, chi^2 %.3f",
        fit.termination,
        fit.message,
        fit.cost,
        fit.n_observations,
        fit.n_groups,
        c.effective_parameters,
        c.chi_squared,
    )
    if fit.termination not in ("converged", "no_further_decrease"):
        _logger.warning(
            "The fit has not converged (%s): treat scales and uncertainties with care. %s; likely: %s",
            fit.message,
            fit.weakest.capitalize(),
            _likely_cause(fit),
        )
    if c.local is None:
        _logger.info("Without the full matrix (full_matrix=False) scales and parameters have no uncertainties")
    elif c.standard_error > 0:
        _logger.info(
            "Too many parameters for the inverse of the full matrix: variances were estimated, standard error %.1f %%",
            100.0 * c.standard_error,
        )
    _log_robust(fit)
    unknown = len(c.undetermined) + len(fit.gauge.directions)
    freedom = fit.n_observations - fit.n_groups - c.effective_parameters - unknown
    if freedom < 1.0:
        _logger.warning(
            "Only %d observations in %d groups have equivalents, which is too few for the model's %d parameters: the "
            "agreement of equivalents means nothing, and the scales are little more than a guess",
            fit.n_observations,
            fit.n_groups,
            fit.parameters.size,
        )
    for direction in fit.gauge.directions:
        _logger.info("Gauge direction, fixed by convention: %s", direction.name)
    for component, numbers in fit.without_data.items():
        _logger.info(
            "Parameters of %s that follow their neighbours for want of data: %s",
            component,
            ", ".join(map(str, numbers)),
        )
    log_undetermined(c.undetermined)
    model = fit.error_model
    _logger.info(
        "Error model details:\n  Type: basic\n  Parameters: a = %.5f, b = %.5f\n"
        "  Error model formula: sigma'^2 = a^2 (sigma^2 + (b I)^2)\n  estimated I/sigma asymptotic limit: %.3f",
        model.a,
        model.b,
        model.isa,
    )


def _likely_cause(fit: FitResult) -> str:
    """Why a fit did not end, as far as its numbers tell."""
    refinery = fit.options.scaling_refinery
    if refinery.full_matrix_max_iterations is not None or refinery.max_iterations is not None:
        return "max_iterations or full_matrix_max_iterations is too low"
    if fit.n_observations - fit.n_groups < 2 * fit.parameters.size:
        return "too few equivalents for the model; give larger scale_interval and decay_interval or a lower lmax"
    if fit.covariance.undetermined:
        return "the data leave parameters undetermined; see below"
    return "data that the model cannot describe; look for bad images and wrong indexing"


def _log_robust(fit: FitResult) -> None:
    if np.any(fit.robust_factor != 1.0):
        low = int(np.count_nonzero(fit.robust_factor[~fit.outlier] < _LITTLE))
        _logger.info("%d observations that are no outliers have less than half their weight in the fit", low)


def log_undetermined(names: Sequence[str]) -> None:
    """Warn of what the data leave undetermined, in one line however much it is."""
    if not names:
        return
    more = f"; ... ({len(names)} in all, see the log)" if len(names) > _MOST_NAMED else ""
    _logger.warning("The data leave undetermined: %s%s", "; ".join(names[:_MOST_NAMED]), more)
    if more:
        _logger.info("All that the data leave undetermined:\n  %s", "\n  ".join(names))
