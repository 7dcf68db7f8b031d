"""What files say of one reflection: its observations, what became of each, and what they were merged to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .dataset import DataSet, Job
from .errors import UsageError
from .fates import FATE_COLUMN, FATES, FILTERED, NOT_USED, REJECTED, USED, USER, fate_number
from .merge_job import MergingRules
from .merging import MergedReflections, merge_sorted
from .model_json import is_own_model
from .options import ScalingOptions, with_changes
from .options.merge import MergeOptions
from .partials import PartialSets
from .preparation import prepare_all
from .reflection_rows import EquivalentRows, Observation, first_rows
from .reflections import ReflectionTable
from .scaled_rows import is_scaled, reasons_left_out, select_scaled_rows
from .symmetry import d_spacing, epsilon_and_centric, rotation_matrices, systematic_absences
from .typing import BoolArray, FloatArray

__all__ = ["ReflectionRecord", "look_up", "parse_miller_index"]

_KINDS_BY_FLAGS = {"": (USED, NOT_USED), "outlier": (REJECTED,), "user_excluded": (USER,)}
_FILTERED_BY_FLAGS = ("not_scaled", "excluded_for_scaling", "no_scale")
_TEXTS_BY_FLAGS = {
    "": "merged",
    "outlier": "rejected as an outlier",
    "user_excluded": "excluded by the user",
    "not_scaled": "not scaled",
    "excluded_for_scaling": "filtered",
    "no_scale": "filtered: no positive scale and sigma",
    "partiality_threshold": "scaled; recorded to less than partiality_threshold of merging",
    "exclude_images": "scaled; on images that were excluded afterwards",
}
_ABSENT = FATES[fate_number(FILTERED, "systematic_absence")].text


@dataclass(frozen=True, kw_only=True)
class ReflectionRecord:
    """A reflection and all observations of its symmetry equivalents.

    Attributes
    ----------
    miller_index, asu_miller_index : (h, k, l)
        As asked for, and the lexicographically largest equivalent, those of which by rotation are I(+).
    d_spacing : float
        Angstrom.
    is_centric, is_absent : bool
    data_range : (d_max, d_min)
        Of all rows of the files, Angstrom.
    observations : list of Observation
    merged : MergedReflections or None
        Of one reflection; None if nothing was merged.
    """

    miller_index: tuple[int, int, int]
    asu_miller_index: tuple[int, int, int]
    d_spacing: float
    is_centric: bool
    is_absent: bool
    data_range: tuple[float, float]
    observations: list[Observation] = field(default_factory=list)
    merged: MergedReflections | None = None


def parse_miller_index(text: str) -> tuple[int, int, int]:
    """Read "h k l", with blanks, commas or colons between.

    Raises
    ------
    UsageError
        If the text is not three integers, or all are zero.
    """
    words = [word for word in re.split(r"[\s,:]+", text.strip()) if word]
    if len(words) != 3 or not all(re.fullmatch(r"[+-]?\d{1,4}", word, re.ASCII) for word in words):
        raise UsageError(
            f'--reflection "{text[:40]}": expected three integers in quotes, for example --reflection "1 2 -3"'
        )
    h, k, l = map(int, words)
    if (h, k, l) == (0, 0, 0):
        raise UsageError(f'--reflection "{text[:40]}": 0 0 0 is the direct beam, not a reflection')
    return h, k, l


def look_up(job: Job, wanted: Sequence[tuple[int, int, int]]) -> list[ReflectionRecord]:
    """Look up reflections, with all their symmetry equivalents and Friedel mates, in scaled or other data sets.

    Of data sets that have not been scaled, it is told what `pyscale scale` with its default options knows of the
    observations before the fit.

    Raises
    ------
    DataError
        If data sets have different space groups, or columns are missing.
    """
    rules = MergingRules(job, MergeOptions())
    starts = first_rows(job.data_sets)
    ranges = _data_range(job.data_sets, rules.cell)
    return [_record(rules, index, starts, ranges) for index in wanted]


def _data_range(data_sets: Sequence[DataSet], cell: Any) -> tuple[float, float]:
    limits = []
    for d in data_sets:
        index = np.ascontiguousarray(d.reflections.require("miller_index"))
        index = index[(index != 0).any(axis=1)]
        if len(index):
            spacing = d_spacing(cell, index)
            limits += [float(spacing.max()), float(spacing.min())]
    return (max(limits), min(limits)) if limits else (np.nan, np.nan)


def _record(
    rules: MergingRules,
    miller_index: tuple[int, int, int],
    starts: dict[str, int],
    data_range: tuple[float, float],
) -> ReflectionRecord:
    plus = np.array(miller_index, np.int32) @ rotation_matrices(rules.space_group)
    asu = max(map(tuple, np.concatenate([plus, -plus]).tolist()))
    one = np.array([miller_index], np.int32)
    record = ReflectionRecord(
        miller_index=miller_index,
        asu_miller_index=asu,
        d_spacing=float(d_spacing(rules.cell, one)[0]),
        is_centric=bool(epsilon_and_centric(rules.space_group, one)[1][0]),
        is_absent=bool(systematic_absences(rules.space_group, one)[0]),
        data_range=data_range,
    )
    equivalents = np.unique(np.array(asu, np.int32) @ rotation_matrices(rules.space_group), axis=0)
    rows = EquivalentRows(equivalents, record.is_centric, starts)
    data_sets = rules.job.data_sets
    scaled = rows.of([d for d in data_sets if is_scaled(d.reflections)])
    others = rows.of([d for d in data_sets if not is_scaled(d.reflections)])
    observations, merged = _scaled_observations(rules, rows, scaled, record.is_absent) if scaled else ([], None)
    observations += _prepared_observations(rules, rows, others) if others else []
    return replace(record, observations=sorted(observations, key=lambda o: o.is_minus), merged=merged)


def _scaled_observations(
    rules: MergingRules, rows: EquivalentRows, data_sets: Sequence[DataSet], is_absent: bool
) -> tuple[list[Observation], MergedReflections | None]:
    reasons = reasons_left_out(data_sets, rules.cell, rules.options, rules.least_partiality)
    table = ReflectionTable.concatenate([d.reflections for d in data_sets])
    observations = [o for d in data_sets for o in rows.observations(d, d.reflections["intensity.scale.value"])]
    kept = np.array([not reason for reason in reasons], np.bool_)
    statistical, merged = np.full(len(table), np.nan), None
    if kept.any():
        obs = rules.sorted(select_scaled_rows(data_sets, rules.cell, rules.options, rules.least_partiality))
        statistical[np.flatnonzero(kept)[obs.order]] = obs.variance
        of_group = merge_sorted(obs, rules.space_group)
        merged = of_group if len(of_group.intensity) else None
    kept &= merged is not None
    g = np.asarray(table["inverse_scale_factor"], np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled, variance = table["intensity.scale.value"] / g, table["intensity.scale.variance"] / g**2
        of_scale = table.get("inverse_scale_factor_variance")
        q = of_scale / g**2 if of_scale is not None and rules.common_scale_errors else np.zeros(len(table))
    deviation = np.full(len(table), np.nan)
    is_minus = np.array([o.is_minus for o in observations], np.bool_) & rules.mates_apart
    for group in (np.flatnonzero(is_minus == side) for side in (False, True)):
        columns = (scaled[group], variance[group], q[group], statistical[group], kept[group])
        statistical[group], deviation[group] = _deviations(*columns)
    has_scale = np.array([reason not in ("not_scaled", "no_scale") for reason in reasons]) & (g > 0) & (variance > 0)
    fates = _fates(_fate_numbers(data_sets), reasons, is_absent=is_absent)
    told = []
    for i, o in enumerate(observations):
        numbers = (g[i], scaled[i], np.sqrt(statistical[i]), deviation[i])
        known = [float(x) if has_scale[i] and np.isfinite(x) else None for x in numbers]
        told.append(replace(o, g=known[0], scaled=known[1], sigma=known[2], deviation=known[3], fate=fates[i]))
    return told, merged


def _deviations(
    scaled: FloatArray, variance: FloatArray, q: FloatArray, statistical: FloatArray, kept: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Statistical variances of I/g, and deviations in sigmas, of the observations of one group.

    An observation in the mean M of weight S deviates by (I - M) / sqrt(V - 1/S), which is its deviation from the mean
    of the others; one that is not by (I - M) / sqrt(V + 1/S). `variance` contains M^2 `q` of the scales.
    """
    weight = float(np.sum(1.0 / statistical[kept]))
    if weight == 0:
        return variance, np.full(len(scaled), np.nan)
    mean = float(np.sum(scaled[kept] / statistical[kept])) / weight
    with np.errstate(divide="ignore", invalid="ignore"):
        statistical = np.where(kept, statistical, variance - mean**2 * q)
        spread = np.where(kept, statistical - 1.0 / weight, statistical + 1.0 / weight)
        alone = kept & (np.count_nonzero(kept) == 1)
        return statistical, np.where(alone, np.nan, (scaled - mean) / np.sqrt(spread))


def _fate_numbers(data_sets: Sequence[DataSet]) -> list[int]:
    """The column `pyscale_fate` of all rows; 0 where it is missing, or another program has scaled since."""
    numbers: list[int] = []
    for d in data_sets:
        column = d.reflections.get(FATE_COLUMN) if is_own_model(d.experiment.scaling_model) else None
        numbers += [0] * len(d.reflections) if column is None else column.tolist()
    return numbers


def _fates(numbers: Sequence[int], reasons: Sequence[str], *, is_absent: bool) -> list[str]:
    """What became of scaled rows: by numbers of `fates` where flags agree with them, else by these alone."""
    texts = []
    for number, reason in zip(numbers, reasons, strict=True):
        known = FATES.get(number)
        if not reason and is_absent:
            texts.append(_ABSENT)
        elif reason not in _KINDS_BY_FLAGS and reason not in _FILTERED_BY_FLAGS:
            texts.append(_TEXTS_BY_FLAGS.get(reason, reason))
        elif known is not None and known.kind in _KINDS_BY_FLAGS.get(reason, (FILTERED,)):
            texts.append(known.text)
        else:
            changed = "" if known is None else " (flags that were changed after pyscale scaled it)"
            texts.append(_TEXTS_BY_FLAGS[reason] + changed)
    return texts


def _prepared_observations(
    rules: MergingRules, rows: EquivalentRows, data_sets: Sequence[DataSet]
) -> list[Observation]:
    """Observations that have not been scaled: what preparation with the default options says of them."""
    options = with_changes(ScalingOptions(), {"cut_data.invalid_rows": "exclude"})
    told = []
    for d in data_sets:
        observations = rows.observations(d, np.full(len(d.reflections), np.nan))
        row_of = [o.row for o in observations]
        numbered = d.reflections.copy()
        numbered.input_row = np.arange(len(numbered), dtype=np.int64)
        sets = PartialSets.of(numbered)
        (p,) = prepare_all([replace(d, reflections=numbered)], rules.cell, options)
        origin = p.table.input_row
        assert origin is not None
        for k, i in enumerate(origin.tolist()):
            text = "suitable for scaling" if p.suitable[k] else _reason(p.block.reasons[p.block.fate[k] - 1])
            if p.suitable[k] and p.absent[k]:
                text = _ABSENT.replace("scaled, not merged", "gets a scale, is not merged")
            observations[i] = replace(observations[i], intensity=float(p.block.chosen[0][k]), fate=text)
        for members in np.split(sets.rows, sets.starts[1:]) if sets.rows.size else []:
            first, *others = sorted(members.tolist())
            listed = ", ".join(str(row_of[i]) for i in others)
            observations[first] = replace(observations[first], fate=f"{observations[first].fate}; with rows {listed}")
            for i in others:
                observations[i] = replace(observations[i], fate=f"partial: merged into row {row_of[first]}")
        told += observations
    return told


def _reason(kind_and_reason: tuple[str, str]) -> str:
    return FATES[fate_number(*kind_and_reason)].text
