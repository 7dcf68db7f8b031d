"""Start a model from the fitted one of the same data set, although the two differ in richness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .components import ComponentModel, ComponentRestraint
from .scaling_model import DataSetModel
from .typing import FloatArray

__all__ = ["warm_started"]


def warm_started(models: Sequence[DataSetModel], fitted: Sequence[DataSetModel]) -> list[DataSetModel]:
    """Return models with the parameters and restraint weights of fitted ones, as far as both have them.

    Smooth corrections are interpolated between nodes, surfaces take the harmonics that both have, and what only the
    new model has starts without effect. Models of another class take over the mean scale only.

    Parameters
    ----------
    models, fitted : sequence of DataSetModel
        Of the same data sets.
    """
    return [_model_started(model, known) for model, known in zip(models, fitted, strict=True)]


def _model_started(model: DataSetModel, fitted: DataSetModel) -> DataSetModel:
    if model.model == fitted.model:
        return model.with_components([_started(c, fitted.component(c.name)) for c in model.components])
    overall = np.prod([np.mean(c.parameters) for c in fitted.components if c.null_value == 1.0])
    first = next((k for k, c in enumerate(model.components) if c.null_value == 1.0), None)
    return model.with_components(
        [replace(c, parameters=c.parameters * overall) if k == first else c for k, c in enumerate(model.components)]
    )


def _started(component: ComponentModel, fitted: ComponentModel | None) -> ComponentModel:
    if fitted is None or fitted.null_value != component.null_value:
        return component
    restraints = tuple(_weighted(r, fitted) for r in component.restraints)
    return replace(component, parameters=_parameters(component, fitted), restraints=restraints)


def _weighted(restraint: ComponentRestraint, fitted: ComponentModel) -> ComponentRestraint:
    known = fitted.weight(restraint.form)
    if known == 0.0:
        return restraint
    return replace(restraint, weight=float(np.clip(known, restraint.lowest, restraint.highest)))


def _parameters(component: ComponentModel, fitted: ComponentModel) -> FloatArray:
    if fitted.n_parameters == component.n_parameters:
        return fitted.parameters
    if component.kind == "absorption" and fitted.kind == "absorption":
        common = min(component.n_parameters, fitted.n_parameters)
        values: FloatArray = np.full(component.n_parameters, component.null_value)
        values[:common] = fitted.parameters[:common]
        return values
    if len(component.axes) == len(fitted.axes) == 1:
        nodes, known = component.axes[0].node_coordinates(), fitted.axes[0].node_coordinates()
        interpolated: FloatArray = np.interp(nodes, known, fitted.parameters)
        return interpolated
    if fitted.n_parameters == 1:
        return np.full(component.n_parameters, float(fitted.parameters[0]))
    return component.parameters
