"""One minimisation: which algorithm, over which form of the normal matrix, and what to do when it fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from . import _core
from .joint_model import JointModel
from .normal import DenseNormal, LocalNormal, Normal, coarse_modes
from .options import AUTO, ScalingOptions
from .typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = ["Engine", "Minimisation", "Minimiser", "engine_of_rounds", "weakest_parameter"]

_logger = logging.getLogger(__name__)

Engine = Literal["LevMar", "GaussNewton", "SimpleLBFGS"]

_LARGEST_DENSE = 5000
"""Parameters up to which a dense matrix is an option at all."""
_SMALLEST_ITERATIVE, _MANY_DATA_SETS = 600, 16
"""Beyond both, products with the matrix are cheaper than its sums over groups (docs/theory/fitting.md)."""
_LARGEST_LOG_STEP = 3.0
"""Of the logarithm of what a B factor does at the highest resolution."""
_MOST_STEPS, _MOST_LBFGS_STEPS = 100, 1000
_LBFGS_HISTORY = 20
_TIGHT = 1e-3
"""Of the tolerance of a minimisation: where a single step of L-BFGS counts as no progress."""


@dataclass(frozen=True, kw_only=True)
class Minimisation:
    """What a minimisation found.

    Attributes
    ----------
    parameters : (p,) float64
    initial_cost, cost : float
    n_iterations : int
        Accepted and rejected steps of all engines that were tried.
    termination, message : str
        How it ended, also in words.
    engine : str
        That of the last step.
    normal : Normal
        The normal matrix at the end, or before small last steps.
    """

    parameters: FloatArray
    initial_cost: float
    cost: float
    n_iterations: int
    termination: str
    message: str
    engine: Engine
    normal: Normal


def engine_of_rounds(options: ScalingOptions) -> Engine:
    """The engine of all minimisations but the last, which the full matrix has if it is wanted."""
    engine = options.scaling_refinery.engine
    if engine is not AUTO:
        return engine
    return "LevMar" if options.scaling_options.full_matrix is not False else "SimpleLBFGS"


class Minimiser:
    """Minimises the cost of one `FitProblem`, whatever its size.

    Parameters
    ----------
    problem : _core.FitProblem
    joint : JointModel
    data_set : (n,) int32
        Of the problem's observations.
    offsets : (n_groups + 1,) int64
    n_threads : int
    is_iterative : bool, optional
        Whether the normal matrix is never formed; by default where that is cheaper.
    largest_half_inv_d2 : float
        Of the observations, 1/(2 d^2) in 1/A^2: what a B factor is multiplied with.
    """

    def __init__(
        self,
        problem: _core.FitProblem,
        joint: JointModel,
        data_set: IntArray,
        offsets: IndexArray,
        n_threads: int,
        is_iterative: bool | None = None,
        largest_half_inv_d2: float = 1.0,
    ) -> None:
        self._largest_decay_step = _LARGEST_LOG_STEP / largest_half_inv_d2
        self._problem, self._joint, self._n_threads = problem, joint, n_threads
        n, p = len(joint.models), joint.n_parameters
        if is_iterative is None:
            is_iterative = p > _LARGEST_DENSE or (p > _SMALLEST_ITERATIVE and n > _MANY_DATA_SETS)
        self.is_iterative = is_iterative
        self.has_exact_covariance = p <= _LARGEST_DENSE
        self.is_loose = is_iterative and are_loosely_linked(data_set, offsets, n)

    def run(
        self,
        start: FloatArray,
        engine: Engine,
        tolerance: float,
        max_iterations: int | None = None,
        on_iteration: Callable[[Any], bool] | None = None,
        solver_tolerance: float = 1e-3,
        initial_damping: float = 1e-4,
    ) -> Minimisation:
        """Minimise; where Gauss-Newton or L-BFGS fail, Levenberg-Marquardt goes on from where they stopped.

        Parameters
        ----------
        start : (p,) float64
        engine : str
        tolerance : float
            Relative decrease of the cost at which to stop.
        max_iterations : int, optional
        on_iteration : callable, optional
            Takes _core.IterationSummary; false stops.
        solver_tolerance : float
            Of the linear system of each step, where it is solved iteratively.
        initial_damping : float
        """
        if engine == "SimpleLBFGS":
            result = self._lbfgs(start, tolerance, max_iterations)
            if result["termination"] != "failed":
                return self._minimisation(result, engine)
        else:
            limit = max_iterations or _MOST_STEPS
            plain = engine == "GaussNewton"
            result = self._newton(start, plain, tolerance, limit, on_iteration, solver_tolerance, initial_damping)
            if not plain or result["termination"] in ("converged", "max_iterations", "stopped_by_caller"):
                return self._minimisation(result, engine)
        _logger.info("%s stopped (%s): Levenberg-Marquardt goes on from there", engine, result["message"])
        first, n_first = result["initial_cost"], int(result["n_iterations"])
        result = self._newton(
            result["parameters"], False, tolerance, _MOST_STEPS, on_iteration, solver_tolerance, initial_damping
        )
        result = {**result, "initial_cost": first, "n_iterations": int(result["n_iterations"]) + n_first}
        return self._minimisation(result, "LevMar")

    def normal(self, parameters: FloatArray) -> Normal:
        """The normal matrix at some parameters."""
        if self.is_iterative:
            return LocalNormal(_core.NormalOperator(self._problem, parameters), self._joint)
        return DenseNormal(self._problem.normal_equations(parameters)[2], self._joint, self._n_threads)

    def _newton(
        self,
        start: FloatArray,
        plain: bool,
        tolerance: float,
        max_iterations: int,
        on_iteration: Callable[[Any], bool] | None,
        solver_tolerance: float,
        initial_damping: float,
    ) -> dict[str, Any]:
        common: dict[str, Any] = {
            "max_iterations": max_iterations,
            "cost_tolerance": tolerance,
            "initial_damping": initial_damping,
            "on_iteration": on_iteration,
            "n_threads": self._n_threads,
            "gauss_newton": plain,
            "largest_step": None if plain else self._largest_step(),
        }
        if not self.is_iterative:
            return _core.minimise(self._problem, start, keep_matrix=True, **common)
        modes = coarse_modes(self._joint, start, use=self.is_loose)
        return _core.minimise_iteratively(self._problem, start, modes, solver_tolerance=solver_tolerance, **common)

    def _largest_step(self) -> FloatArray:
        """How far parameters may move at once, (p,): B factors, in whose exponentials one data set may run off."""
        largest = np.full(self._joint.n_parameters, np.inf)
        largest[self._joint.decay_like()] = self._largest_decay_step
        return largest

    def _lbfgs(self, start: FloatArray, tolerance: float, max_iterations: int | None) -> dict[str, Any]:
        """L-BFGS-B of scipy over parameters in units of what one of them alone is determined to."""
        from scipy.optimize import minimize

        diagonal = _core.NormalOperator(self._problem, start).diagonal()
        unit = np.where(diagonal > 0, 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 0.0)
        first = self._problem.cost(start)
        scale = max(first, np.finfo(np.float64).tiny)

        def cost_and_gradient(x: FloatArray) -> tuple[float, FloatArray]:
            cost, half_gradient = self._problem.cost_and_half_gradient(start + unit * x)
            return cost / scale, 2.0 * unit * half_gradient / scale

        found = minimize(
            cost_and_gradient,
            np.zeros(start.size),
            jac=True,
            method="L-BFGS-B",
            options={
                "maxiter": max_iterations or _MOST_LBFGS_STEPS,
                "maxfun": 20 * (max_iterations or _MOST_LBFGS_STEPS),
                "maxcor": _LBFGS_HISTORY,
                "ftol": _TIGHT * tolerance,
                "gtol": 0.0,
            },
        )
        text = str(found.message)
        limited = found.status == 1
        sound = bool(np.isfinite(found.fun)) and found.fun <= 1.0
        at_limit_of_rounding = "ABNORMAL" in text
        ended = "no_further_decrease" if at_limit_of_rounding else "max_iterations" if limited else "converged"
        return {
            "parameters": start + unit * found.x if sound else start,
            "initial_cost": first,
            "final_cost": float(found.fun) * scale if sound else first,
            "n_iterations": int(found.nit),
            "termination": ended if sound else "failed",
            "message": f"not converged after {found.nit} steps" if limited else text.capitalize(),
        }

    def _minimisation(self, result: dict[str, Any], engine: Engine) -> Minimisation:
        parameters = np.asarray(result["parameters"], dtype=np.float64)
        matrix = result.get("matrix")
        if matrix is not None and matrix.size:
            normal: Normal = DenseNormal(matrix, self._joint, self._n_threads)
        else:
            normal = self.normal(parameters)
        return Minimisation(
            parameters=parameters,
            initial_cost=float(result["initial_cost"]),
            cost=float(result["final_cost"]),
            n_iterations=int(result["n_iterations"]),
            termination=str(result["termination"]),
            message=str(result["message"]),
            engine=engine,
            normal=normal,
        )


_MOST_LINKED = 2000
_LINKS_PER_ROW = 8.0


def are_loosely_linked(data_set: IntArray, offsets: IndexArray, n_data_sets: int) -> bool:
    """Whether groups hold so few data sets that errors spread from one to the next like those of a survey line."""
    if n_data_sets > _MOST_LINKED:
        return False
    group = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
    seen = np.unique(group * n_data_sets + data_set)
    per_group = np.bincount(seen // n_data_sets)
    return bool(np.sum(per_group.astype(np.float64) ** 2) < _LINKS_PER_ROW * data_set.size)


def weakest_parameter(normal: Normal, restraints: FloatArray, held: BoolArray, names: list[str]) -> str:
    """Name of the parameter that the data determine worst beside its like."""
    information = np.where(held, np.inf, np.maximum(normal.diagonal() - restraints, 0.0))
    kinds = np.array([name.rsplit("[", 1)[0].rsplit(" ", 1)[-1] for name in names])
    relative = np.full(information.size, np.inf)
    for kind in np.unique(kinds):
        of_kind = kinds == kind
        typical = np.median(information[of_kind & ~held]) if (of_kind & ~held).any() else 0.0
        if typical > 0:
            relative[of_kind] = information[of_kind] / typical
    return names[int(np.argmin(relative))]
