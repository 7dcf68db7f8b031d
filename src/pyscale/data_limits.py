"""Limits that the scaled data themselves give: `d_min=auto` and `anisotropic_cut=True`.

They are applied after the fit, to what is merged; the scales stay those of the fit to all data.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .after_fit import Merging
from .analysis.anisotropy import Anisotropy, analyse_anisotropy, ellipsoid_statistics
from .analysis.merged_groups import MergedGroups, merged_groups, reciprocal_vectors
from .analysis.resolution import Resolution, estimate_resolution
from .fates import USER, fate_number
from .half_sets import Splits
from .model_plan import Decision
from .observations import JobObservations
from .options import AUTO
from .output_table import ScaledObservations
from .statistics import LIMIT_TOLERANCE, MergingStatistics
from .symmetry import inverse_d_squared
from .typing import BoolArray

__all__ = ["DataLimits", "apply_limits"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DataLimits:
    """What the data say of their limits, and which were applied.

    Attributes
    ----------
    resolution : Resolution or None
    anisotropy : Anisotropy or None
        Both of all data, before any limit.
    groups : MergedGroups or None
    decisions : dict of str to Decision
        By option: `cut_data.d_min`, `cut_data.anisotropic_cut`, if the user asked for it.
    rule : str
        Reason in the ledger of the observations that were left out: d_min_auto or anisotropic_cut.
    warnings : tuple of str
        Where a limit was asked for that the data do not give.
    """

    resolution: Resolution | None = None
    anisotropy: Anisotropy | None = None
    groups: MergedGroups | None = None
    decisions: dict[str, Decision[Any]]
    rule: str = "d_min_auto"
    warnings: tuple[str, ...] = ()

    def with_statistics(self, statistics: MergingStatistics) -> DataLimits:
        """Return the limits with the completeness of the ellipsoid, if that was applied, from statistics inside it."""
        a = self.anisotropy
        if self.rule != "anisotropic_cut" or a is None or a.surface is None or self.groups is None:
            return self
        return replace(self, anisotropy=replace(a, inside=ellipsoid_statistics(self.groups, a.surface, statistics)))


def apply_limits(
    observations: JobObservations, scaled: ScaledObservations, by: Merging
) -> tuple[ScaledObservations, DataLimits]:
    """Find the limits of the data, and set aside what is beyond those that the options ask for."""
    options = by.options
    splits = Splits(options.scaling_options.seed, options.output.merging.n_splits)
    groups = merged_groups(observations, scaled, by.cell, by.space_group, splits=splits, n_threads=by.n_threads)
    if groups is None:
        return scaled, DataLimits(decisions={})
    resolution = estimate_resolution(groups, options.resolution)
    limit = None if resolution is None else resolution.chosen
    d_compared = float(groups.d_star_sq.max()) ** -0.5
    if limit is not None and limit.state == "reached" and limit.d_min is not None:
        d_compared = max(d_compared, limit.d_min)
    anisotropy = analyse_anisotropy(groups, options.anisotropy.local_i_over_sigma, d_compared)
    limits = DataLimits(resolution=resolution, anisotropy=anisotropy, groups=groups, decisions={})
    if options.cut_data.anisotropic_cut:
        if anisotropy.surface is not None:
            return _cut_by_ellipsoid(observations, scaled, by, limits)
        reason = f"no ellipsoid: the local mean I/sigma passes {anisotropy.threshold:g} nowhere, or data are too few"
        limits = _without("anisotropic_cut", reason, limits)
    if options.cut_data.d_min is AUTO:
        return _cut_by_sphere(observations, scaled, by, limits)
    return scaled, limits


def _cut_by_ellipsoid(
    observations: JobObservations, scaled: ScaledObservations, by: Merging, limits: DataLimits
) -> tuple[ScaledObservations, DataLimits]:
    a = limits.anisotropy
    assert a is not None and a.surface is not None
    index = observations.miller_index[observations.offsets[:-1]]
    outside = ~a.surface.inside(reciprocal_vectors(by.cell, index))
    axes = ", ".join(f"{d.d_min:.2f} A along {d.direction}" for d in a.directions if d.d_min is not None)
    reason = f"local mean I/sigma = {a.threshold:g}: {axes}"
    decisions: dict[str, Decision[Any]] = {"cut_data.anisotropic_cut": Decision(True, reason)}
    if by.options.cut_data.d_min is AUTO:
        decisions["cut_data.d_min"] = Decision("ellipsoid", "the ellipsoid of anisotropic_cut=True has the limits")
    return _left_out(observations, scaled, outside, replace(limits, decisions=decisions, rule="anisotropic_cut"))


def _cut_by_sphere(
    observations: JobObservations, scaled: ScaledObservations, by: Merging, limits: DataLimits
) -> tuple[ScaledObservations, DataLimits]:
    limit = None if limits.resolution is None else limits.resolution.chosen
    if limit is None or limit.d_min is None or limit.state not in ("reached", "data_end"):
        why = "too few reflections" if limit is None else f"{limit.name}: {limit.text()}"
        return scaled, _without("d_min", f"no limit: {why}", limits)
    decision: Decision[Any] = Decision(round(limit.d_min, 4), f"{limit.name}: {limit.text()}")
    limits = replace(limits, decisions=limits.decisions | {"cut_data.d_min": decision})
    if limit.state == "data_end":
        _logger.info("d_min=auto: no reflection is left out; %s", decision.reason)
        return scaled, limits
    index = observations.miller_index[observations.offsets[:-1]]
    beyond = inverse_d_squared(by.cell, index) > (1 + LIMIT_TOLERANCE) / limit.d_min**2
    return _left_out(observations, scaled, beyond, limits)


def _left_out(
    observations: JobObservations, scaled: ScaledObservations, groups: BoolArray, limits: DataLimits
) -> tuple[ScaledObservations, DataLimits]:
    """Set groups aside: they are no outliers then, whatever they were before."""
    beyond = np.repeat(groups, np.diff(observations.offsets)) & ~scaled.small_scale
    for name, decision in limits.decisions.items():
        _logger.info("%s=%s: %s", name.rpartition(".")[2], "auto" if name.endswith("d_min") else True, decision.reason)
    _logger.info(
        "%d observations beyond are left out of merging; the scales are those of the fit to all data",
        np.count_nonzero(beyond),
    )
    fate = scaled.fate.copy()
    fate[beyond] = fate_number(USER, limits.rule)
    return replace(scaled, beyond_limits=beyond, outlier=scaled.outlier & ~beyond, fate=fate), limits


def _without(option: str, reason: str, limits: DataLimits) -> DataLimits:
    value = None if option == "d_min" else False
    told = f"{option}: {reason}; nothing is left out by it"
    _logger.warning("%s", told)
    decisions = limits.decisions | {f"cut_data.{option}": Decision(value, reason)}
    return replace(limits, decisions=decisions, warnings=(*limits.warnings, told))
