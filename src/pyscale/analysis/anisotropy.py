"""Anisotropic diffraction: fall-off and limits along the principal directions, and whether they differ."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..quantiles import chi_squared_probability
from ..statistics import MergingStatistics
from ..symmetry import epsilon_and_centric, inverse_d_squared
from ..typing import BoolArray, FloatArray
from .falloff import DiffractionSurface, TensorFit, fit_anisotropic_b, fit_surface
from .merged_groups import MergedGroups, reciprocal_vectors
from .tensors import direction_text, principal_axes, quadratic_terms, tensor_basis, unique_axis

__all__ = ["Anisotropy", "EllipsoidStatistics", "PrincipalDirection", "analyse_anisotropy", "ellipsoid_statistics"]

#: Level of the tests whether directions differ.
_SIGNIFICANCE = 1e-3
#: Ratios of mean intensities, and of limits, of the best and the worst direction that matter.
_RELEVANT_FALL, _RELEVANT_LIMITS = 2.0, 1.1
#: Reflections within this angle of a principal axis, degrees, tell what was measured along it.
_CONE = 30.0
_LEAST_REFLECTIONS = 100
_PROFILE_SHELLS, _PROFILE_SIZE = 15, 20


@dataclass(frozen=True)
class PrincipalDirection:
    """What was found along one principal axis.

    Attributes
    ----------
    axis : tuple of float
        Unit vector in the crystal's Cartesian frame: x along a, z along c*.
    direction : str
        The same by unit vectors along a*, b*, c*.
    delta_b, delta_b_sigma : float or None
        B in <I> = f exp(-B/(2 d^2)) along the axis, less the mean over directions, A^2.
    d_min, sigma : float or None
        Where the local mean I/sigma falls to the threshold, A; where the data end before, their limit.
    state : str
        reached; data_end: the data end before; unmeasured: no reflections near the axis; undetermined.
    profile : tuple of (1/d^2, mean I/sigma, number)
        Of measured reflections within 30 degrees of the axis, low to high resolution.
    """

    axis: tuple[float, float, float]
    direction: str
    delta_b: float | None
    delta_b_sigma: float | None
    d_min: float | None
    sigma: float | None
    state: str
    profile: tuple[tuple[float, float, int], ...]


@dataclass(frozen=True, kw_only=True)
class EllipsoidStatistics:
    """Completeness after `anisotropic_cut=True`: of the sphere, and of the part of it inside the ellipsoid.

    Attributes
    ----------
    overall : dict
    shells : tuple of dict
        Each with d_max, d_min, n_unique, n_possible, n_possible_ellipsoidal, completeness, completeness_ellipsoidal;
        shells are those of the merging statistics.
    """

    overall: dict[str, Any]
    shells: tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Anisotropy:
    """Anisotropy of the scaled data, before any limit is applied.

    Attributes
    ----------
    verdict : str
        anisotropic, slight (significant, but of no relevance), isotropic, by_symmetry (cubic) or undetermined.
    threshold : float
        Local mean I/sigma at the surface.
    directions : three of PrincipalDirection
    p_fall, fall_ratio : float or None
        Probability of as different B by chance; ratio of the mean intensities along the best and the worst axis at
        `d_compared`.
    d_compared : float
        A.
    p_limits, limit_ratio : float or None
        The same of the diffraction limits, the worst over the best.
    surface : DiffractionSurface or None
        None where the data are stronger, or weaker, than the threshold at all resolutions.
    fraction_unmeasured : float or None
        Of the possible reflections inside the ellipsoid, to the resolution of the data.
    inside : EllipsoidStatistics or None
        After the cut.
    """

    verdict: str
    threshold: float
    directions: tuple[PrincipalDirection, ...]
    p_fall: float | None
    fall_ratio: float | None
    d_compared: float
    p_limits: float | None
    limit_ratio: float | None
    surface: DiffractionSurface | None
    fraction_unmeasured: float | None
    inside: EllipsoidStatistics | None = None

    @property
    def limits_differ(self) -> bool:
        """Whether the limits differ significantly, and so much that a cut is worth while."""
        return (
            self.p_limits is not None
            and self.limit_ratio is not None
            and self.p_limits < _SIGNIFICANCE
            and self.limit_ratio >= _RELEVANT_LIMITS
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        names = ("verdict", "threshold", "p_fall", "fall_ratio", "d_compared", "p_limits", "limit_ratio")
        values = {name: getattr(self, name) for name in names}
        values["fraction_unmeasured"] = self.fraction_unmeasured
        values["directions"] = [_direction_dict(d) for d in self.directions]
        values["ellipsoid"] = self.surface and {
            "limits": [d.d_min for d in self.directions],
            "axes": [list(d.axis) for d in self.directions],
            "tensor": self.surface.tensor.tolist(),
        }
        values["inside_ellipsoid"] = self.inside and {
            "overall": self.inside.overall,
            "shells": list(self.inside.shells),
        }
        return values

    def text(self) -> str:
        """The verdict, and a line for each axis."""
        lines = [f"Anisotropy: {self._verdict()}"]
        if self.verdict in ("slight", "anisotropic"):
            lines.append(f"  {'axis':<28}{'delta B (A^2)':>18}   limit (A) at local I/sigma = {self.threshold:g}")
            lines += [
                f"  {d.direction:<28}{_with_error(d.delta_b, d.delta_b_sigma):>18}   {_limit_text(d)}"
                for d in self.directions
            ]
        if self.fraction_unmeasured is not None and self.verdict == "anisotropic":
            lines.append(
                f"  {100 * self.fraction_unmeasured:.1f} % of the reflections inside the ellipsoid are unmeasured"
            )
        if self.inside is not None:
            overall = self.inside.overall
            lines.append(
                f"  Inside the ellipsoid: completeness {100 * overall['completeness']:.1f} % of the sphere to "
                f"{overall['d_min']:.2f} A, {100 * overall['completeness_ellipsoidal']:.1f} % of the ellipsoid"
            )
        return "\n".join(lines)

    def _verdict(self) -> str:
        fall = f"intensities at {self.d_compared:.2f} A differ by a factor of {self.fall_ratio or math.nan:.2g}"
        return {
            "anisotropic": f"anisotropic, {fall}",
            "slight": f"slight, {fall}",
            "isotropic": "none that is significant",
            "by_symmetry": "none by symmetry",
            "undetermined": "too few reflections to tell",
        }[self.verdict]

    def warnings(self) -> list[str]:
        """Suggest the cut where the limits differ and it was not applied."""
        if self.verdict != "anisotropic" or not self.limits_differ or self.inside is not None:
            return []
        limits = ", ".join(f"{d.d_min:.2f} A along {d.direction}" for d in self.directions if d.d_min is not None)
        return [
            f"anisotropy: diffraction reaches {limits}: no spherical limit suits all directions; "
            "anisotropic_cut=True merges what lies inside the ellipsoid"
        ]


def analyse_anisotropy(groups: MergedGroups, threshold: float, d_compared: float) -> Anisotropy:
    """Analyse merged reflections; `d_compared` (A) is the resolution at which intensities are compared."""
    basis = tensor_basis(groups.unit_cell, groups.space_group)
    vectors, statistics = groups.reciprocal, groups.statistics
    epsilon, centric = epsilon_and_centric(groups.space_group, groups.miller_index)
    if len(groups) < _LEAST_REFLECTIONS:
        fall = surface = None
    else:
        fall = fit_anisotropic_b(
            statistics.intensity / epsilon,
            statistics.sigma / epsilon,
            np.where(centric, 2.0, 1.0),
            vectors,
            basis,
            groups.scale_error,
        )
        surface = fit_surface(groups.i_over_sigma, vectors, basis, threshold)
    tensor = np.eye(3) if fall is None else np.tensordot(fall.coefficients, basis[1:], axes=1)
    axes = principal_axes(tensor if surface is None else surface.tensor, basis, groups.unit_cell)
    delta_b = None if fall is None else _along(fall, axes, basis[1:])
    directions = tuple(_direction(groups, axes, k, basis, surface, delta_b) for k in range(3))
    ratio = None if delta_b is None else float(math.exp(min(0.5 * np.ptp(delta_b[0]) / d_compared**2, 700.0)))
    p_fall = None if fall is None else _probability(fall.coefficients, fall.covariance)
    p_limits, limit_ratio = _difference_of_limits(surface, directions)
    found = Anisotropy(
        verdict="undetermined",
        threshold=threshold,
        directions=directions,
        p_fall=p_fall,
        fall_ratio=ratio,
        d_compared=d_compared,
        p_limits=p_limits,
        limit_ratio=limit_ratio,
        surface=surface,
        fraction_unmeasured=None if surface is None else _fraction_unmeasured(groups, surface),
    )
    return _judged(found, len(basis))


def ellipsoid_statistics(
    groups: MergedGroups, surface: DiffractionSurface, statistics: MergingStatistics
) -> EllipsoidStatistics:
    """Completeness of the sphere and of the ellipsoid, by the shells of statistics of the data inside."""
    possible = groups.possible
    inside = surface.inside(reciprocal_vectors(groups.unit_cell, possible))
    d_star_sq = np.sort(inverse_d_squared(groups.unit_cell, possible[inside]))

    def entry(shell: Any) -> dict[str, Any]:
        edges = np.array([(1 - 1e-6) / shell.d_max**2, (1 + 1e-6) / shell.d_min**2])
        low, high = np.searchsorted(d_star_sq, edges).tolist()
        n = max(high - low, shell.n_unique)
        return {
            "d_max": shell.d_max,
            "d_min": shell.d_min,
            "n_unique": shell.n_unique,
            "n_possible": shell.n_possible,
            "n_possible_ellipsoidal": n,
            "completeness": shell.completeness,
            "completeness_ellipsoidal": shell.n_unique / n if n else None,
        }

    return EllipsoidStatistics(overall=entry(statistics.overall), shells=tuple(map(entry, statistics.shells)))


def _judged(found: Anisotropy, n_allowed: int) -> Anisotropy:
    if n_allowed == 1:
        return replace(found, verdict="by_symmetry")
    if found.p_fall is None or found.fall_ratio is None:
        return found
    if found.p_fall >= _SIGNIFICANCE:
        return replace(found, verdict="isotropic")
    relevant = found.fall_ratio >= _RELEVANT_FALL or found.limits_differ
    return replace(found, verdict="anisotropic" if relevant else "slight")


def _direction(
    groups: MergedGroups,
    axes: FloatArray,
    k: int,
    basis: FloatArray,
    surface: DiffractionSurface | None,
    delta_b: tuple[FloatArray, FloatArray] | None,
) -> PrincipalDirection:
    near = _near(groups.reciprocal, axes[k], basis)
    edge = float(groups.d_star_sq[near].max()) ** -0.5 if near.any() else None
    d_min, sigma, state = None, None, "undetermined"
    if surface is not None:
        square, error = (float(x[0]) for x in surface.along(axes[k : k + 1]))
        limit = math.sqrt(square) if square > 0 else 0.0
        if edge is None:
            state = "unmeasured"
        elif limit <= edge:
            d_min, state = edge, "data_end"
        else:
            d_min, sigma, state = limit, 0.5 * error / limit, "reached"
    x, y, z = axes[k].tolist()
    return PrincipalDirection(
        axis=(x, y, z),
        direction=direction_text(axes[k], groups.unit_cell),
        delta_b=None if delta_b is None else float(delta_b[0][k]),
        delta_b_sigma=None if delta_b is None else float(delta_b[1][k]),
        d_min=d_min,
        sigma=sigma,
        state=state,
        profile=_profile(groups.d_star_sq[near], groups.i_over_sigma[near]),
    )


def _near(vectors: FloatArray, axis: FloatArray, basis: FloatArray) -> BoolArray:
    """Reflections near an axis; near the plane of two that symmetry makes equal; all of a cubic crystal."""
    square = np.einsum("ij,ij->i", vectors, vectors)
    if len(basis) == 2 and abs(axis @ unique_axis(basis)) < 0.5:
        in_plane: BoolArray = (vectors @ unique_axis(basis)) ** 2 <= square * math.sin(math.radians(_CONE)) ** 2
        return in_plane
    least = 0.0 if len(basis) == 1 else math.cos(math.radians(_CONE)) ** 2
    near: BoolArray = (vectors @ axis) ** 2 >= square * least
    return near


def _profile(d_star_sq: FloatArray, i_over_sigma: FloatArray) -> tuple[tuple[float, float, int], ...]:
    n = min(_PROFILE_SHELLS, len(d_star_sq) // _PROFILE_SIZE)
    if n == 0:
        return ()
    edges = np.quantile(d_star_sq, np.linspace(0.0, 1.0, n + 1)[1:-1])
    shell = np.searchsorted(edges, d_star_sq, side="right")
    count = np.bincount(shell, minlength=n)
    sums = (np.bincount(shell, values, n) for values in (d_star_sq, i_over_sigma))
    x, y = (total / np.maximum(count, 1) for total in sums)
    return tuple(p for p in zip(x.tolist(), y.tolist(), count.tolist(), strict=True) if p[2])


def _along(fit: TensorFit, axes: FloatArray, basis: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Values of a tensor along axes, and their standard errors, (3,) each."""
    terms = quadratic_terms(axes, basis)
    errors = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", terms, fit.covariance, terms), 0.0))
    return terms @ fit.coefficients, errors


def _difference_of_limits(
    surface: DiffractionSurface | None, directions: tuple[PrincipalDirection, ...]
) -> tuple[float | None, float | None]:
    """Probability that the limits differ by chance, and the worst over the best."""
    limits = [d.d_min for d in directions if d.d_min is not None]
    if surface is None or len(surface.basis) < 2 or len(limits) < 2:
        return None, None
    fit = surface.fit
    return _probability(fit.coefficients[1:], fit.covariance[1:, 1:]), max(limits) / min(limits)


def _fraction_unmeasured(groups: MergedGroups, surface: DiffractionSurface) -> float | None:
    possible = surface.inside(reciprocal_vectors(groups.unit_cell, groups.possible))
    n = int(np.count_nonzero(possible))
    measured = int(np.count_nonzero(surface.inside(groups.reciprocal)))
    return max(0.0, 1.0 - measured / n) if n else None


def _probability(values: FloatArray, covariance: FloatArray) -> float:
    """Wald's test: probability of a chi-squared of values with this covariance, all expected to vanish."""
    chi_squared = float(values @ np.linalg.pinv(covariance, hermitian=True) @ values)
    return chi_squared_probability(chi_squared, len(values))


def _direction_dict(d: PrincipalDirection) -> dict[str, Any]:
    values = {name: getattr(d, name) for name in d.__dataclass_fields__ if name != "profile"}
    values["axis"] = list(d.axis)
    values["profile"] = [{"d_star_sq": x, "i_over_sigma": y, "n_unique": n} for x, y, n in d.profile]
    return values


def _with_error(value: float | None, sigma: float | None) -> str:
    return "-" if value is None or sigma is None else f"{value:.2f} +- {sigma:.2f}"


def _limit_text(d: PrincipalDirection) -> str:
    return {
        "reached": f"{d.d_min or math.nan:.2f} +- {d.sigma or math.nan:.2f}",
        "data_end": f"{d.d_min or math.nan:.2f}, where the data end",
        "unmeasured": "unmeasured",
        "undetermined": "not reached",
    }[d.state]
