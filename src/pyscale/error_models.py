"""The error models of a job: which data sets have which, and the variances that they give."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from . import _core
from ._likelihood import Shrunk
from .error_model import ErrorModel
from .observations import JobObservations
from .typing import BoolArray, FloatArray, IntArray

__all__ = ["ErrorModels", "Kind"]

Kind = Literal["likelihood", "basic"]


@dataclass(frozen=True)
class ErrorModels:
    """The error models of the data sets of a job.

    Attributes
    ----------
    kind : {"likelihood", "basic"} or None
        The basic one is that of dials.scale, which looks at observed intensities; None: sigmas as integrated.
    common : ErrorModel
        What the data sets have in common.
    shrunk : Shrunk or None
        Parameters of each group of data sets; None where all have the common ones.
    group_of : (n_data_sets,) int32
        Group of each data set; empty where all are in one.
    """

    kind: Kind | None
    common: ErrorModel
    shrunk: Shrunk | None = None
    group_of: IntArray = field(default_factory=lambda: np.zeros(0, np.int32))

    def of(self, data_set: int) -> ErrorModel:
        """Return the model of a data set."""
        return self.common if self.shrunk is None else self.models[int(self.group_of[data_set])]

    @cached_property
    def models(self) -> tuple[ErrorModel, ...]:
        """Model of each group."""
        if self.shrunk is None:
            return (self.common,)
        return tuple(self.common.at(theta) for theta in self.shrunk.theta)

    def rows(self, obs: JobObservations) -> IntArray:
        """Number of the model of each row, (n,) int32; empty where there is one."""
        if self.shrunk is None:
            return np.zeros(0, np.int32)
        return np.ascontiguousarray(self.group_of[obs.data_set])

    def sigma_squared(
        self, obs: JobObservations, variance: FloatArray, expected: FloatArray, n_threads: int
    ) -> FloatArray:
        """Variances sigma'^2 of the unscaled intensities.

        Parameters
        ----------
        obs : JobObservations
        variance, expected : (n,) float64
            V of expected counts, and g I_h; the basic model has the observed intensity and its variance instead.

        Returns
        -------
        (n,) float64
        """
        theta = self.common.theta[None] if self.shrunk is None else self.shrunk.theta
        if self.kind == "basic":
            variance, expected = obs.variance, np.abs(obs.intensity)
        conversion = obs.integrated.conversion
        return _core.error_model_variances(variance, expected, conversion, theta.ravel(), self.rows(obs), n_threads)

    def of_data_sets(self, chosen: BoolArray) -> ErrorModels:
        """Return the models of some data sets."""
        if self.shrunk is None:
            return self
        return ErrorModels(self.kind, self.common, self.shrunk, self.group_of[chosen])
