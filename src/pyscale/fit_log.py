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
    _log_error_model(fit)


def _log_error_model(fit: FitResult) -> None:
    """The error models, in the words of dials.scale where it has them."""
    kind, model, found = fit.error_models.kind, fit.error_models.common, fit.error_model_fit
    if kind is None or found is None:
        _logger.info("Error model: none, sigmas are those of integration")
        return
    third = f", c = {model.c:.5g} +- {found.sigma_c:.2g}" if model.c > 0 else ""
    formula = "a^2 (sigma^2 + (b I)^2)" if model.c == 0 else "a^2 (sigma^2 + c k I + (b I)^2)"
    _logger.info(
        "Error model details:\n  Type: %s\n  Parameters: a = %.5f +- %.2g, b = %.5f +- %.2g%s\n"
        "  Error model formula: sigma'^2 = %s\n  estimated I/sigma asymptotic limit: %.3f +- %.2g",
        kind,
        model.a,
        found.sigma_a,
        model.b,
        found.sigma_b,
        third,
        formula,
        model.isa,
        found.sigma_isa,
    )
    if found.shrunk is not None:
        spread = found.shrunk.common.spread
        _logger.info(
            "Error models of %d groups of data sets: ln a varies by %.3f, b^2 by %.2g, c by %.2g",
            len(fit.error_models.models),
            *spread,
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
