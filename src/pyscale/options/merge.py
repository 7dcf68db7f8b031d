"""The options of `pyscale merge`, in the scopes of dials.merge."""

# Options and scopes are immutable, so they may be defaults of dataclass fields.
# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pyscale.errors import UsageError

from .names import OptionNames
from .option import AUTO, Auto, option
from .selection import DatasetSelectionOptions
from .tree import OptionScope, to_dict

__all__ = ["MERGE_NAMES", "MergeOptions"]


@dataclass(frozen=True, kw_only=True)
class FrenchWilsonOptions(OptionScope, scope="french_wilson"):
    """Amplitudes."""

    min_reflections: int = option(
        20,
        "with fewer reflections the mean intensity at a resolution is taken for unknown (dials.merge: 200)",
        range=(1, None),
    )
    fallback_to_flat_prior: bool = option(True, "then only use that intensities are not negative; False: no amplitudes")


@dataclass(frozen=True, kw_only=True)
class RFreeFlagsOptions(OptionScope, scope="r_free_flags"):
    """Free-R flags."""

    generate: bool = option(True, "column FreeR_flag: 0 is the free set, 1, 2, ... as many others as there are")
    fraction: float = option(0.05, "part of the reflections that is free", range=(0.001, 0.5), common=True)
    max_free: int | None = option(2000, "most reflections in the free set; None: no limit", range=(1, None))
    use_lattice_symmetry: bool = option(
        True, "reflections that the lattice's symmetry makes equivalent have one flag, in case of twinning"
    )
    lattice_symmetry_max_delta: float = option(
        5.0, "how far (degrees) the lattice may be from that symmetry", range=(0.0, 10.0)
    )
    use_dataman_shells: bool = option(
        False, "free reflections lie in thin shells of resolution, for twins and non-crystallographic symmetry"
    )
    n_shells: int = option(20, "number of these shells", range=(1, 1000))
    reference: str | None = option(
        None, "MTZ file whose flags are copied (FreeR_flag, R-free-flags, ..., either convention)", common=True
    )
    extend: bool = option(True, "give flags to reflections that the reference lacks; False: they have none", own=True)
    relative_length_tolerance: float = option(
        0.1, "how far cell edges of the reference may differ, relative", range=(0.0, 1.0)
    )
    absolute_angle_tolerance: float = option(
        3.0, "how far cell angles of the reference may differ (degrees)", range=(0.0, 30.0)
    )
    seed: int = option(42, "seed of new flags", range=(0, 2**32 - 1), own=True)


@dataclass(frozen=True, kw_only=True)
class MergingOptions(OptionScope, scope="merging"):
    """Merging."""

    use_internal_variance: bool = option(
        False, "sigmas from the spread of equivalents where that is larger than what their weights say"
    )
    n_bins: int = option(20, "resolution shells of the statistics", range=(1, 1000), common=True, aliases=("nbins",))
    anomalous: bool = option(False, "statistics per shell with I(+) and I(-) apart, too")
    scale_errors: Literal["common", "independent"] | Auto = option(
        AUTO,
        "uncertainties of scales, where the file's variances hold them; common: those of one reflection go together, "
        "have no part in weights and do not average out; independent: variances as they are stored, as dials.merge "
        "does; auto: common for files of pyscale",
        own=True,
    )
    seed: int = option(42, "seed of random halves", range=(0, 2**32 - 1), own=True)
    n_splits: int = option(10, "random splits into halves that CC½ is averaged over", range=(1, 32), own=True)


@dataclass(frozen=True, kw_only=True)
class MergeOutputOptions(OptionScope, scope="output"):
    """Output files."""

    log: str | None = option("pyscale.merge.log", "log file; None for none", common=True)
    mtz: str | None = option("merged.mtz", "merged reflections; None for none", common=True)
    json: str | None = option("merged.json", "all results for programs; None for none", common=True)
    html: str | None = option(None, "report", unavailable="pyscale scale writes one with the statistics")
    crystal_names: tuple[str, ...] = option(
        ("XTAL",), "crystal name in the MTZ file, one for all or for each wavelength"
    )
    project_name: str = option("AUTOMATIC", "project name in the MTZ file")
    dataset_names: tuple[str, ...] = option(
        ("NATIVE",), "data set name in the MTZ file, for each wavelength; WAVE1, WAVE2, ... unless given"
    )
    additional_stats: bool = option(
        False, "random halves in the MTZ file: IHALF1, SIGIHALF1, NHALF1 and IHALF2, SIGIHALF2, NHALF2"
    )


@dataclass(frozen=True, kw_only=True)
class MergeOptions(OptionScope):
    """All options of `pyscale merge`.

    Raises
    ------
    UsageError
        If a value has the wrong type or is out of range.
    """

    assess_space_group: bool = option(True, "say which screw axes the axial reflections show")
    anomalous: bool = option(True, "write I(+), I(-), F(+), F(-) and DANO besides the means", common=True)
    truncate: bool = option(True, "amplitudes by the method of French and Wilson", common=True)
    french_wilson: FrenchWilsonOptions = FrenchWilsonOptions()
    d_min: float | None = option(None, "high resolution limit (Å)", range=(0.05, None), common=True)
    d_max: float | None = option(None, "low resolution limit (Å)", range=(0.05, None), common=True)
    wavelength_tolerance: float | Auto = option(
        AUTO,
        "data sets whose wavelengths (Å) differ by less are merged together; auto: 0.0001, as in dials.merge, and 1 % "
        "if all data are stills",
        range=(0.0, None),
        common=True,
    )
    combine_partials: bool = option(
        True, "combine parts of one reflection", unavailable="scaling has combined the parts of reflections"
    )
    partiality_threshold: float | Auto = option(
        AUTO,
        "reflections recorded to a smaller part are left out; auto: none of those that pyscale has scaled, which "
        "cut_data.partiality_cutoff has judged, and 0.4 for files of other programs, as dials.merge does",
        range=(0.0, 1.0),
        common=True,
    )
    best_unit_cell: tuple[float, float, float, float, float, float] | None = option(
        None, "cell of all resolutions and of the MTZ file (Å, degrees); None: the median over the crystals"
    )
    n_residues: int = option(200, "residues", unavailable="amplitudes are on the scale of the intensities")
    space_group: str | None = option(
        None, "another label, of the same Laue class: name, number or Hall symbol", common=True, own=True
    )
    merging: MergingOptions = MergingOptions()
    r_free_flags: RFreeFlagsOptions = RFreeFlagsOptions()
    exclude_images: tuple[str, ...] = option(
        (), "images left out, data set:first:last, as in pyscale scale (repeatable)", repeatable=True, own=True
    )
    dataset_selection: DatasetSelectionOptions = DatasetSelectionOptions()
    output: MergeOutputOptions = MergeOutputOptions()
    nproc: int | Auto = option(AUTO, "number of threads", range=(1, 1024), aliases=("n_threads",), own=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.d_min is not None and self.d_max is not None and self.d_min >= self.d_max:
            raise UsageError(f"option d_min={self.d_min:g}: must be less than d_max={self.d_max:g}")

    def to_dict(self) -> dict[str, Any]:
        """The options as nested dictionaries of JSON types."""
        return to_dict(self)


MERGE_NAMES = OptionNames(MergeOptions)
