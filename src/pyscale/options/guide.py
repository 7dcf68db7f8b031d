"""Names of the 2018-19 scaling guide and of the programs of its time, and what became of them."""

from __future__ import annotations

import logging
from typing import Any

from .names import OldName, OptionNames
from .scaling import ScalingOptions

__all__ = ["OLD_NAMES", "SCALING_NAMES", "options_from_keywords"]

_logger = logging.getLogger(__name__)

_REPORT = OldName(advice="see the report, output.html")
_FILTERING = OldName(forbidden=True, advice="filtering.method=deltacchalf with mode=image_group removes poor images")


def _is_false(value: Any) -> bool:
    return str(value).strip().lower() in {"false", "no", "off", "0"}


OLD_NAMES = {
    "parameterisation.scale_term": OldName(now="scale_correction"),
    "parameterisation.decay_term": OldName(now="decay_correction"),
    "parameterisation.absorption_term": OldName(now="absorption_correction"),
    "parameterisation.modulation_term": OldName(now="modulation_correction"),
    **{
        f"parameterisation.{name}": OldName(now=name)
        for name in (
            "scale_interval",
            "decay_interval",
            "n_resolution_bins",
            "n_absorption_bins",
            "n_modulation_bins",
            "decay_restraint",
            "lmax",
            "surface_weight",
        )
    },
    "weighting.optimise_errors": OldName(
        now="weighting.error_model.error_model",
        translate=lambda value: None if _is_false(value) else "likelihood",
    ),
    "weighting.output_optimised_vars": OldName(advice="variances are always those of the error model"),
    "cut_data.exclude_image_range": OldName(now="exclude_images"),
    "scaling_options.exclude_datasets": OldName(now="dataset_selection.exclude_datasets"),
    "scaling_options.use_datasets": OldName(now="dataset_selection.use_datasets"),
    "scaling_refinery.concurrent": OldName(
        now="scaling_refinery.refinement_order",
        translate=lambda value: "consecutive" if _is_false(value) else "concurrent",
    ),
    "scaling_options.concurrent": OldName(
        now="scaling_refinery.refinement_order",
        translate=lambda value: "consecutive" if _is_false(value) else "concurrent",
    ),
    "scaling_options.space_group": OldName(now="space_group"),
    "verbosity": OldName(advice="use the flag -v or -vv"),
    "output.debug.log": OldName(advice="everything is in the one log file, output.log"),
    "output.plot_scaling_models": _REPORT,
    "output.plot_merging_stats": _REPORT,
    "output.exclude_on_image_scale": _FILTERING,
    "output.exclude_on_batch_rmerge": _FILTERING,
}
"""Dotted names of that time."""

SCALING_NAMES = OptionNames(
    ScalingOptions, parallel_scopes=("physical", "array", "KB", "dose_decay"), old_names=OLD_NAMES
)
"""The names of the options of `pyscale scale`."""


def options_from_keywords(**keywords: Any) -> ScalingOptions:
    """Return scaling options from Python keywords, for example `d_min=1.6, model="physical"`.

    Parameters
    ----------
    **keywords
        Bare names are matched by unique suffix, as on the command line; a scope may be given as a mapping,
        `physical={"lmax": 6}`.

    Raises
    ------
    UsageError
        If a name is unknown or ambiguous, or a value has the wrong type or is out of range.
    """
    options, notes = SCALING_NAMES.from_keywords(keywords)
    for note in notes:
        _logger.info("%s", note)
    return options
