"""Plans and starting models of all data sets of a job."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .auto import plan_model
from .errors import DataError, UsageError
from .experiment import Experiment
from .image_ranges import valid_span
from .input_checks import without_beam_direction
from .model_building import SweepExtent, model_from_plan
from .model_plan import CrystalFacts, ModelPlan, SweepFacts
from .observations import max_scattering_angle_deg
from .options import ScalingOptions
from .prepared import PreparedDataSet
from .same_crystal import CrystalGroup, crystal_groups
from .scaling_model import DataSetModel

__all__ = ["build_models", "log_data_sets", "log_plans", "plan_models"]

_logger = logging.getLogger(__name__)

_MOST_LISTED, _FIRST_LISTED = 6, 3
_MOST_ROWS = 20


def plan_models(prepared: Sequence[PreparedDataSet], options: ScalingOptions) -> list[ModelPlan]:
    """Choose the model of every data set by the rules, those of sweeps of one crystal together.

    Raises
    ------
    UsageError
        If the options make no model.
    DataError
        If they ask for corrections that need what is not known of the data.
    """
    facts = [_facts(p) for p in prepared]
    for group in crystal_groups([p.data_set.experiment for p in prepared], options.same_crystal):
        if len(group.members) > 1:
            crystal = _crystal_facts([facts[k] for k in group.members], group)
            for k in group.members:
                facts[k] = replace(facts[k], crystal=crystal)
    plans: dict[SweepFacts, ModelPlan] = {}
    for p, f in zip(prepared, facts, strict=True):
        if f not in plans:
            try:
                plans[f] = plan_model(f, options)
            except DataError as error:
                raise DataError(f"{p.data_set.reflections.source}: data set {p.identifier}: {error}") from None
    return [plans[f] for f in facts]


def build_models(
    prepared: Sequence[PreparedDataSet],
    plans: Sequence[ModelPlan],
    options: ScalingOptions,
    kept: Sequence[DataSetModel | None] = (),
) -> list[DataSetModel]:
    """Build the starting models of all data sets that do not keep one.

    Raises
    ------
    DataError
        If a model is impossible, for example because an interval is too fine.
    UsageError
        If the doses in the options are not one for all, or one for each data set.
    """
    _require_doses(options, len(prepared))
    stored = kept or [None] * len(prepared)
    constant: dict[int, DataSetModel] = {}
    models = []
    for k, (p, plan) in enumerate(zip(prepared, plans, strict=True)):
        model = stored[k] or constant.get(id(plan)) or _model(p, plan, k, options)
        if plan.model.value == "KB" and stored[k] is None:
            constant[id(plan)] = model
        models.append(model)
    return models


def log_plans(prepared: Sequence[PreparedDataSet], plans: Sequence[ModelPlan], models: Sequence[DataSetModel]) -> None:
    """Log every decision with its reason, those of data sets with the same model together."""
    alike: dict[Any, list[int]] = {}
    for k, (plan, model) in enumerate(zip(plans, models, strict=True)):
        sizes = tuple((c.name, c.n_parameters) for c in model.components)
        alike.setdefault((plan, sizes), []).append(k)
    for members in list(alike.values())[:_MOST_LISTED]:
        plan, model = plans[members[0]], models[members[0]]
        names = [prepared[k].identifier for k in members]
        if len(names) == 1:
            of = f"data set {names[0]}"
        else:
            shown = ", ".join(names[:_FIRST_LISTED]) + (", ..." if len(names) > _FIRST_LISTED else "")
            of = f"{len(names)} data sets ({shown})"
        lines = [f"  {name} = {decision['value']}: {decision['reason']}" for name, decision in plan.to_dict().items()]
        counts = ", ".join(f"{c.name} {c.n_parameters}" for c in model.components)
        lines.append(f"  parameters of each: {counts}" if len(names) > 1 else f"  parameters: {counts}")
        _logger.info("The scaling model of %s is %s:\n%s", of, plan.model.value, "\n".join(lines))
    if len(alike) > _MOST_LISTED:
        _logger.info("%d more models are among the decisions in the JSON file", len(alike) - _MOST_LISTED)
    for p, model in zip(prepared, models, strict=True):
        _warn_of_linear_dose(model, p.identifier)


def log_data_sets(prepared: Sequence[PreparedDataSet]) -> None:
    """Log what is known of each data set, of many of the first ones."""
    lines = [f"{'#':>5} {'images':>13} {'rotation':>9} {'read':>9} {'suitable':>9}  identifier"]
    for k, p in enumerate(prepared[:_MOST_ROWS]):
        e = p.data_set.experiment
        span = None if e.is_still else valid_span(e)
        images = "still" if span is None else f"{span[0]}-{span[1]}"
        rotation = "-" if span is None else f"{_rotation_range_deg(e):.1f}"
        n_suitable = np.count_nonzero(p.suitable)
        lines.append(f"{k:>5} {images:>13} {rotation:>9} {p.n_read:>9} {n_suitable:>9}  {p.identifier}")
    if len(prepared) > _MOST_ROWS:
        lines.append(f"{len(prepared) - _MOST_ROWS} more data sets are in the JSON file")
    _logger.info("Data sets (options take their numbers, with or without #):\n%s", "\n".join(lines))


def _crystal_facts(sweeps: Sequence[SweepFacts], group: CrystalGroup) -> CrystalFacts:
    return CrystalFacts(
        n_sweeps=len(sweeps),
        rotation_range_deg=round(sum(f.rotation_range_deg for f in sweeps), 6),
        max_scattering_angle_deg=max(f.max_scattering_angle_deg for f in sweeps),
        reason=group.reason,
    )


def _facts(p: PreparedDataSet) -> SweepFacts:
    experiment = p.data_set.experiment
    if experiment.is_still:
        return SweepFacts(is_still=True, rotation_range_deg=0.0, max_scattering_angle_deg=0.0)
    table, rows = p.table, p.suitable
    return SweepFacts(
        is_still=False,
        rotation_range_deg=_rotation_range_deg(experiment),
        max_scattering_angle_deg=max_scattering_angle_deg(table, experiment, rows),
        has_beam_directions="s1" in table and not without_beam_direction(table)[rows].all(),
        has_positions=bool(np.isfinite(table.centroids()[rows, :2]).any()),
    )


def _rotation_range_deg(experiment: Experiment) -> float:
    """Rotation of a sweep from the first image in use to the last, degrees."""
    oscillation, images = experiment.oscillation, valid_span(experiment)
    assert oscillation is not None and images is not None
    return round(abs(oscillation[1]) * (images[1] - images[0] + 1), 6)


def _extent(p: PreparedDataSet, number: int, options: ScalingOptions) -> SweepExtent:
    experiment = p.data_set.experiment
    if experiment.is_still:
        return SweepExtent(range_deg=0.0, image_width_deg=0.0)
    oscillation, images = experiment.oscillation, valid_span(experiment)
    assert oscillation is not None and images is not None
    dose = options.dose_decay
    return SweepExtent(
        range_deg=_rotation_range_deg(experiment),
        image_width_deg=oscillation[1],
        first_image=images[0] - 1,
        n_images=images[1] - images[0] + 1,
        dose_per_image=1.0 if dose.dose_per_image is None else _of_data_set(dose.dose_per_image, number),
        dose_at_start=None if dose.dose_per_image is None else _of_data_set(dose.dose_at_start or (0.0,), number),
    )


def _of_data_set(values: Sequence[float], number: int) -> float:
    return values[number] if len(values) > 1 else values[0]


def _require_doses(options: ScalingOptions, n_data_sets: int) -> None:
    for name in ("dose_per_image", "dose_at_start"):
        values = getattr(options.dose_decay, name)
        if values is not None and len(values) not in (1, n_data_sets):
            raise UsageError(
                f"option dose_decay.{name}: {len(values)} numbers for {n_data_sets} data sets; give one for all, or "
                "one for each"
            )
    if options.dose_decay.dose_at_start is not None and options.dose_decay.dose_per_image is None:
        raise UsageError("option dose_decay.dose_at_start: give dose_decay.dose_per_image, too")


def _warn_of_linear_dose(model: DataSetModel, identifier: str) -> None:
    dose = next((c for c in model.components if c.kind == "dose_decay"), None)
    if dose is not None and dose.power == 1 and dose.dose_at_zero != 0.0:
        _logger.warning(
            "data set %s: DIALS has no place for a dose before the first image with resolution_dependence=linear: "
            "evaluated by DIALS, the stored model gives other scales than those in the reflections",
            identifier,
        )


def _model(p: PreparedDataSet, plan: ModelPlan, number: int, options: ScalingOptions) -> DataSetModel:
    rows = p.suitable & ~p.absent
    has_nodes = plan.model.value != "KB"
    coordinates = p.coordinates(rows if rows.any() else p.suitable) if has_nodes else {}
    try:
        return model_from_plan(plan, _extent(p, number, options), coordinates)
    except ValueError as error:
        raise DataError(f"data set {p.identifier}: the scaling model is impossible ({error})") from None
