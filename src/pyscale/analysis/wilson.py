"""The Wilson plot: overall scale and B factor (Wilson 1942)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import gemmi
import numpy as np

from ..symmetry import SpaceGroupLike, UnitCellLike, group_operations, unit_cell_from
from ..typing import FloatArray, IndexArray
from .normalised import NormalisedIntensities

__all__ = ["WilsonAnalysis", "WilsonShell", "wilson_plot"]

ELECTRONS_BELOW_ANGSTROM = 0.1
#: Atoms per volume of one residue with its share of solvent (2.4 A^3/Da), and of an organic molecule.
_COMPOSITIONS = {
    "protein": ({"C": 5.0, "N": 1.35, "O": 1.5, "H": 8.0, "S": 0.04}, 264.0),
    "organic": ({"C": 12.0, "N": 1.0, "O": 3.0, "H": 14.0}, 290.0),
}
#: A^3 per asymmetric unit above which the crystal is taken for one of a protein.
_PROTEIN_VOLUME = 4000.0
#: Where the plot of a protein is straight: solvent and secondary structure bend it at lower resolution.
_PROTEIN_D_MAX, _SHORTEST_RANGE = 4.0, 0.005
_FEWEST_SHELLS, _MOST_SHELLS, _PER_SHELL = 4, 50, 40
_SIGNIFICANT = 3.0
_HUBER, _ROUNDS = 1.5, 30
_POOR_SCATTER, _KINK = 0.35, 5.0
_SCATTER_FLOOR = 0.03


@dataclass(frozen=True)
class WilsonShell:
    """One point of the plot.

    Attributes
    ----------
    d_max, d_min : float
        A.
    n : int
        Reflections.
    s_squared : float
        Mean of 1/(4 d^2), A^-2.
    log_ratio, sigma : float or None
        ln(<I/epsilon> / sum f^2), and its standard error; None where the mean is not positive.
    fitted : bool
        Whether the line is fitted to it.
    kink : bool
        Whether it lies far off the line, among those fitted.
    """

    d_max: float
    d_min: float
    n: int
    s_squared: float
    log_ratio: float | None
    sigma: float | None
    fitted: bool
    kink: bool


@dataclass(frozen=True)
class WilsonAnalysis:
    """The straight line ln(<I/epsilon> / sum f^2) = ln k - 2 B s^2 and what it was fitted to.

    Attributes
    ----------
    b, sigma_b : float
        B factor and its standard error from the scatter of the points, A^2.
    log_scale, sigma_log_scale : float
        ln k: intensities are about k times those of a cell of the assumed composition, on an absolute scale.
    d_max, d_min : float
        Range of the fit, A.
    composition, radiation : str
        What the atoms are taken for: "protein" or "organic"; "x-rays" or "electrons".
    scatter : float
        Robust standard deviation of the points from the line.
    anisotropy : float
        Largest difference of B between directions, A^2.
    is_good : bool
        Whether the points lie on a line.
    shells : tuple of WilsonShell
    """

    b: float
    sigma_b: float
    log_scale: float
    sigma_log_scale: float
    d_max: float
    d_min: float
    composition: str
    radiation: str
    scatter: float
    anisotropy: float
    is_good: bool
    shells: tuple[WilsonShell, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def text(self) -> str:
        """Line for the log."""
        kinks = sum(s.kink for s in self.shells)
        return (
            f"Wilson plot: B = {self.b:.2f} +- {self.sigma_b:.2f} A^2 between {self.d_max:.2f} and {self.d_min:.2f} A "
            f"({self.composition}, {self.radiation}; composition assumed), scatter of ln <I> {self.scatter:.2f}"
            + (f", {kinks} shells off the line" if kinks else "")
            + ("" if self.is_good else ": not a straight line, take B for a rough figure")
        )

    def warnings(self) -> list[str]:
        """Warn of a B factor that no crystal has."""
        if self.is_good and self.b < -3 * self.sigma_b and self.b < -1:
            return [
                f"The Wilson B factor is {self.b:.1f} A^2: intensities rise with resolution. Check that the "
                "intensities are those of integration, without sharpening, and the resolution limit (d_min)."
            ]
        return []


def wilson_plot(
    data: NormalisedIntensities, unit_cell: UnitCellLike, space_group: SpaceGroupLike, wavelength: float
) -> WilsonAnalysis | None:
    """Fit the Wilson plot of merged intensities, robust against shells off the line (ice rings).

    Parameters
    ----------
    data : NormalisedIntensities
        Its `expected` and `z` give the intensities back.
    wavelength : float
        A; below 0.1 A form factors are those of electrons.

    Returns
    -------
    WilsonAnalysis or None
        None with fewer than four shells whose mean is significant.
    """
    shell = _shells(data.d_star_sq)
    count = np.bincount(shell).astype(np.float64)
    value, error = data.expected * data.z / data.epsilon, data.expected * data.sigma / data.epsilon
    name, radiation, square = _expected_square(unit_cell, space_group, wavelength, data.d_star_sq)

    def mean(values: FloatArray) -> FloatArray:
        result: FloatArray = np.bincount(shell, values) / count
        return result

    ratio = value / square
    y, x = mean(ratio), 0.25 * mean(data.d_star_sq)
    spread = np.where(data.is_centric, 2.0, 1.0)
    model = data.expected / data.epsilon / square
    sigma = np.sqrt(mean(spread * model**2 + (error / square) ** 2) / count)
    significant = y > _SIGNIFICANT * sigma
    fitted = significant & (x >= _low_limit(name, x[significant]))
    if fitted.sum() < _FEWEST_SHELLS:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        log, log_error = np.where(y > 0, np.log(y), np.nan), np.where(y > 0, sigma / y, np.nan)
    line, covariance, scatter = _line(x[fitted], log[fitted], log_error[fitted])
    residual = np.abs(log - line[0] - line[1] * x)
    kink = fitted & (residual > _KINK * np.hypot(np.nan_to_num(log_error), max(scatter, _SCATTER_FLOOR)))
    d_max, d_min = _limits(data.d_star_sq, shell)
    points = zip(d_max, d_min, count, x, log, log_error, fitted, kink, strict=True)
    return WilsonAnalysis(
        b=-0.5 * float(line[1]),
        sigma_b=0.5 * math.sqrt(covariance[1, 1]),
        log_scale=float(line[0]),
        sigma_log_scale=math.sqrt(covariance[0, 0]),
        d_max=float(d_max[fitted].max()),
        d_min=float(d_min[fitted].min()),
        composition=name,
        radiation=radiation,
        scatter=scatter,
        anisotropy=data.anisotropy,
        is_good=bool(
            scatter < _POOR_SCATTER
            and kink.sum() < 0.25 * fitted.sum()
            and (name != "protein" or _low_limit(name, x[significant]) > 0)
        ),
        shells=tuple(_point(*(v.item() for v in point)) for point in points),
    )


def _point(
    d_max: float, d_min: float, n: float, x: float, log: float, error: float, fitted: bool, kink: bool
) -> WilsonShell:
    known = not math.isnan(log)
    return WilsonShell(d_max, d_min, int(n), x, log if known else None, error if known else None, fitted, kink)


def _limits(d_star_sq: FloatArray, shell: IndexArray) -> tuple[FloatArray, FloatArray]:
    """Largest and smallest d of each shell, A."""
    x = np.sort(d_star_sq)
    edges = np.concatenate([[0], np.cumsum(np.bincount(shell))])
    return x[edges[:-1]] ** -0.5, x[edges[1:] - 1] ** -0.5


def _shells(d_star_sq: FloatArray) -> IndexArray:
    """Shells of equal width in 1/d^2, none empty."""
    n = int(np.clip(len(d_star_sq) // _PER_SHELL, 1, _MOST_SHELLS))
    low, high = float(d_star_sq.min()), float(d_star_sq.max())
    number = ((d_star_sq - low) / max(high - low, 1e-300) * n).astype(np.int64).clip(0, n - 1)
    _, shell = np.unique(number, return_inverse=True)
    return np.asarray(shell, np.int64)


def _low_limit(composition: str, x: FloatArray) -> float:
    """Least s^2 of the fit: that of 4 A for proteins where enough lies beyond it, else none."""
    limit = 0.25 / _PROTEIN_D_MAX**2
    far_enough = x.size and x.max() >= limit + _SHORTEST_RANGE and (x >= limit).sum() >= _FEWEST_SHELLS
    return limit if composition == "protein" and far_enough else 0.0


def _expected_square(
    unit_cell: UnitCellLike, space_group: SpaceGroupLike, wavelength: float, d_star_sq: FloatArray
) -> tuple[str, str, FloatArray]:
    """Assumed composition, radiation, and the sum of f^2 over the atoms of the cell at rest."""
    operations = group_operations(space_group)
    n_operations = len(operations.sym_ops) * len(operations.cen_ops)
    volume = unit_cell_from(unit_cell).volume
    name = "protein" if volume / n_operations > _PROTEIN_VOLUME else "organic"
    atoms, unit = _COMPOSITIONS[name]
    is_electrons = wavelength < ELECTRONS_BELOW_ANGSTROM
    grid = np.linspace(0, float(d_star_sq.max()), 120)
    total = np.zeros(len(grid))
    for symbol, number in atoms.items():
        element = gemmi.Element(symbol)
        table = element.c4322 if is_electrons else element.it92
        total += number * np.array([table.calculate_sf(x / 4) for x in grid]) ** 2
    square: FloatArray = np.interp(d_star_sq, grid, total * volume / unit)
    return name, "electrons" if is_electrons else "x-rays", square


def _line(x: FloatArray, y: FloatArray, sigma: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Straight line by Huber's estimator: intercept and slope, their covariance, scatter of the points."""
    centre = x.mean()
    design = np.stack([np.ones(len(x)), x - centre], axis=1)
    scatter, weight = 0.3, np.ones(len(x))
    for _ in range(_ROUNDS):
        total = weight / (sigma**2 + scatter**2)
        normal = design.T @ (design * total[:, None])
        line = np.linalg.solve(normal, design.T @ (total * y))
        residual = y - design @ line
        excess = (1.4826 * float(np.median(np.abs(residual)))) ** 2 - float(np.median(sigma**2))
        scatter = math.sqrt(max(excess, 1e-6))
        size = np.abs(residual) / np.hypot(sigma, scatter)
        weight = np.where(size > _HUBER, _HUBER / np.maximum(size, _HUBER), 1.0)
    freedom = max(len(x) - 2, 1)
    chi = float((total * residual**2).sum()) / freedom
    covariance = np.linalg.inv(normal) * max(chi, 1.0)
    shift = np.array([[1.0, -centre], [0.0, 1.0]])
    return shift @ line, shift @ covariance @ shift.T, scatter
