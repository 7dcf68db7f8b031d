"""What dials.scale says of its options: at which expert level they are listed, and defaults that differ from ours."""

from __future__ import annotations

__all__ = ["DIALS_DEFAULTS", "expert_level"]

_LEVELS = {
    1: (
        "output.crystal_name output.use_internal_variance output.merging physical array KB dose_decay "
        "reflection_selection.random.min_groups reflection_selection.random.min_reflections "
        "reflection_selection.E2_range reflection_selection.Isigma_range reflection_selection.d_range "
        "reflection_selection.intensity_choice weighting.error_model.error_model cut_data "
        "scaling_options.outlier_rejection scaling_options.outlier_zmax scaling_refinery exclude_images"
    ),
    2: (
        "output.additional_stats output.delete_integration_shoeboxes physical.decay_restraint physical.fix_initial "
        "array.modulation_correction array.n_modulation_bins dose_decay.lmax dose_decay.surface_weight "
        "dose_decay.fix_initial reflection_selection.min_partiality reflection_selection.combine "
        "weighting.weighting_scheme weighting.error_model.basic.a weighting.error_model.basic.b "
        "weighting.error_model.basic.min_Ih weighting.error_model.basic.n_bins weighting.error_model.grouping "
        "scaling_options.target_cycle scaling_options.only_target scaling_options.only_save_targeted "
        "scaling_options.target_model scaling_options.target_mtz scaling_options.reference scaling_options.nproc "
        "scaling_options.use_free_set scaling_options.free_set_percentage scaling_options.free_set_offset "
        "scaling_options.full_matrix scaling_options.emax scaling_refinery.refinement_order cross_validation "
        "exclude_images_multiple dataset_selection scaling_options.seed scaling_options.smoothness model_choice"
    ),
    3: (
        "weighting.error_model.basic.minimisation cut_data.small_scale_cutoff scaling_options.reference_model "
        "scaling_refinery.refinery_log scaling_refinery.journal"
    ),
}
_LEVEL_OF = {path: level for level, paths in _LEVELS.items() for path in paths.split()}

DIALS_DEFAULTS = {
    "output.log": "dials.scale.log",
    "output.html": "dials.scale.html",
    "output.json": "None",
    "output.project_name": "DIALS",
    "physical.decay_restraint": "0.1, always",
    "physical.surface_weight": "auto, which is 5e5 (2018-19: 1e6)",
    "reflection_selection.method": "auto: quasi_random, or intensity_ranges if there are stills",
    "weighting.error_model.error_model": "basic",
    "weighting.error_model.grouping": "combined",
    "scaling_options.nproc": "1",
    "scaling_options.full_matrix": "auto: not for stills or more than 10 data sets",
    "scaling_refinery.engine": "SimpleLBFGS",
}
"""Defaults of dials.scale where ours are others, by dotted name, in words."""


def expert_level(path: str) -> int:
    """The expert level, 0 (everyone) to 3 (developers), at which an option is listed; a scope's is the least in it."""
    parts = path.split(".")
    return max(_LEVEL_OF.get(".".join(parts[:n]), 0) for n in range(1, len(parts) + 1))
