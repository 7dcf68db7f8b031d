"""Options that choose data sets, images and reflections, for the fit or altogether."""

# Options and scopes are immutable, so they may be defaults of dataclass fields.
# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pyscale.errors import UsageError

from .option import AUTO, Auto, option
from .tree import OptionScope

__all__ = ["CutDataOptions", "DatasetSelectionOptions", "FilteringOptions", "ReflectionSelectionOptions"]

UnitCell = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class MultiDatasetSelectionOptions(OptionScope, scope="reflection_selection.random.multi_dataset"):
    """Selection across data sets."""

    Isigma_cutoff: float = option(1.0, "random, several data sets: mean I/sigma of a group needed")


@dataclass(frozen=True, kw_only=True)
class RandomSelectionOptions(OptionScope, scope="reflection_selection.random"):
    """Random selection of groups."""

    multi_dataset: MultiDatasetSelectionOptions = MultiDatasetSelectionOptions()
    min_groups: int = option(2000, "random: least number of groups", range=(1, None))
    min_reflections: int = option(50000, "random: least number of observations", range=(1, None))


@dataclass(frozen=True, kw_only=True)
class LinkingSelectionOptions(OptionScope, scope="reflection_selection.quasi_random.multi_dataset"):
    """Groups that link data sets."""

    min_per_dataset: int = option(
        500, "quasi_random: least number of observations of each data set in linking groups", range=(0, None), own=True
    )
    min_multiplicity: int = option(
        2, "quasi_random: data sets that a linking group must be in", range=(2, None), own=True
    )
    Isigma_cutoff: float = option(1.0, "quasi_random: mean I/sigma that a linking group needs", own=True)


@dataclass(frozen=True, kw_only=True)
class QuasiRandomSelectionOptions(OptionScope, scope="reflection_selection.quasi_random"):
    """Even coverage of reciprocal space."""

    min_per_area: tuple[int, ...] = option(
        (100,),
        "quasi_random: least number of observations in each of 12 equal areas of a resolution shell; one number for "
        "each data set, or one for all",
        range=(0, None),
        own=True,
    )
    n_resolution_bins: tuple[int, ...] = option(
        (20,),
        "quasi_random: resolution shells; one number for each data set, or one for all",
        range=(1, None),
        own=True,
    )
    multi_dataset: LinkingSelectionOptions = LinkingSelectionOptions()


@dataclass(frozen=True, kw_only=True)
class CombineOptions(OptionScope, scope="reflection_selection.combine"):
    """Combination of profile-fitted and summation intensities."""

    Imid: tuple[float, ...] | None = option(
        None,
        "candidate intensities where profile and sum weigh the same (0: profile only, 1: sum only); default: a scan",
        range=(0.0, None),
    )
    joint_analysis: bool = option(
        True, "one Imid for all data sets; False: one for each that its own equivalents can judge"
    )


@dataclass(frozen=True, kw_only=True)
class ReflectionSelectionOptions(OptionScope, scope="reflection_selection"):
    """Choice of reflections and intensities for the fit."""

    method: Literal["use_all", "quasi_random", "intensity_ranges", "random"] | Auto = option(
        AUTO,
        "which reflections the model is fitted to; auto: use_all (dials.scale's auto is a subset)",
    )
    quasi_random: QuasiRandomSelectionOptions = QuasiRandomSelectionOptions()
    random: RandomSelectionOptions = RandomSelectionOptions()
    best_unit_cell: UnitCell | None = option(
        None, "unit cell for resolutions (Å, degrees); default: the median over the crystals"
    )
    E2_range: tuple[float, float] = option(
        (0.8, 5.0), "intensity_ranges: mean normalised intensities E² of groups that are used"
    )
    Isigma_range: tuple[float, float] = option(
        (2.0, 0.0), "intensity_ranges, random: mean I/sigma of groups that are used; upper 0 for no limit"
    )
    d_range: tuple[float, float] | None = option(None, "resolutions used, in either order (Å); not with use_all")
    min_partiality: float = option(
        0.25,
        "least partiality of a reflection used in the fit; others are scaled and merged all the same, unless "
        "cut_data.partiality_cutoff leaves them out",
        range=(0.0, 1.0),
    )
    intensity_choice: Literal["profile", "sum", "combine"] = option(
        "combine",
        "which integrated intensity; profile: profile-fitted where there is one, else summation; sum: the other way "
        "round; combine: the crossover from profile (weak) to summation (strong) of lowest R_meas",
        common=True,
        aliases=("intensity",),
    )
    combine: CombineOptions = CombineOptions()


@dataclass(frozen=True, kw_only=True)
class CutDataOptions(OptionScope, scope="cut_data"):
    """Limits on the data."""

    d_min: float | None = option(None, "high resolution limit (Å)", range=(0.05, None), common=True)
    d_max: float | None = option(None, "low resolution limit (Å)", range=(0.05, None), common=True)
    partiality_cutoff: float = option(
        0.25, "reflections recorded to a smaller part are left out", range=(0.0, 1.0), common=True
    )
    min_isigi: float = option(-5.0, "reflections with lower I/sigma, profile or sum, are left out", common=True)
    exclude_resolution: tuple[str, ...] = option(
        (),
        "resolution shells left out, for example ice rings: 3.93:3.87 (Å; repeatable)",
        repeatable=True,
        own=True,
    )
    exclude_regions: tuple[str, ...] = option(
        (),
        "rectangles of the detector left out, panel:x_min:x_max:y_min:y_max in pixels, with data set: in front for one "
        "data set only (repeatable)",
        repeatable=True,
        own=True,
    )
    invalid_rows: Literal["error", "exclude"] = option(
        "error",
        "integrated rows whose intensity is not finite or whose variance is not positive: stop, or leave them out",
        own=True,
    )
    small_scale_cutoff: float | Auto = option(
        AUTO, "reflections with a smaller inverse scale factor are left out; auto: 0.001", range=(0.0, None)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.d_min is not None and self.d_max is not None and self.d_min >= self.d_max:
            raise UsageError(f"option cut_data.d_min={self.d_min:g}: must be less than cut_data.d_max={self.d_max:g}")


@dataclass(frozen=True, kw_only=True)
class DatasetSelectionOptions(OptionScope, scope="dataset_selection"):
    """Choice of data sets."""

    use_datasets: tuple[str, ...] | None = option(
        None,
        "keep only these data sets: identifiers, or positions from 0 as pyscale show gives them; #1 is always the "
        "position",
        aliases=("include_datasets",),
    )
    exclude_datasets: tuple[str, ...] | None = option(
        None, "leave these data sets out: identifiers or positions, as in use_datasets"
    )


@dataclass(frozen=True, kw_only=True)
class DeltaCCHalfOptions(OptionScope, scope="filtering.deltacchalf"):
    """Filtering by the change of CC1/2."""

    max_cycles: int = option(6, "most cycles of scaling and filtering", range=(1, None))
    max_percent_removed: float = option(
        10.0,
        "filtering ends when more of the reflections were removed (percent); the removal that passes it stands",
        range=(0.0, 100.0),
    )
    min_completeness: float | None = option(
        None,
        "filtering ends when completeness falls below this (percent); the removal that does it stands",
        range=(0.0, 100.0),
    )
    mode: Literal["dataset", "image_group"] = option(
        "dataset", "what is removed as one: data sets, or groups of consecutive images"
    )
    group_size: int = option(10, "images of one group", range=(1, None))
    stdcutoff: float = option(
        4.0, "removed is what lies this many standard deviations of a normal distribution below the others"
    )
    rule: Literal["robust", "sd"] = option(
        "robust",
        "what is that far below; robust: by median and median deviation, and more than lie as far above; sd: by mean "
        "and standard deviation as in dials.scale, where one bad candidate among 17, or two alike among 34, always "
        "stay",
        own=True,
    )
    interior: bool = option(
        True, "image groups are removed wherever they are; False: only from the ends of a sweep inwards", own=True
    )


@dataclass(frozen=True, kw_only=True)
class FilteringOutputOptions(OptionScope, scope="filtering.output"):
    """Output of filtering."""

    scale_and_filter_results: str = option("scale_and_filter_results.json", "file of the results of filtering")


@dataclass(frozen=True, kw_only=True)
class FilteringOptions(OptionScope, scope="filtering"):
    """Filtering of data sets or image groups."""

    method: Literal["deltacchalf"] | None = option(
        None, "scale, remove what lowers CC1/2, scale again, until nothing stands out"
    )
    deltacchalf: DeltaCCHalfOptions = DeltaCCHalfOptions()
    output: FilteringOutputOptions = FilteringOutputOptions()
