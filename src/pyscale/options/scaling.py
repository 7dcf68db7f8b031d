"""The options of `pyscale scale`, in the scopes of dials.scale."""

# Options and scopes are immutable, so they may be defaults of dataclass fields.
# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from .error_model import ErrorModelOptions
from .importing import InputOptions
from .limits import AnisotropyOptions, ResolutionOptions
from .models import ArrayOptions, DoseDecayOptions, KBOptions, PhysicalOptions
from .option import AUTO, Auto, option
from .selection import CutDataOptions, DatasetSelectionOptions, FilteringOptions, ReflectionSelectionOptions
from .tree import OptionScope, to_dict

__all__ = ["ScalingOptions"]

_JOURNAL = "every step is in the log file and in pyscale.scale.json"


@dataclass(frozen=True, kw_only=True)
class MergingOptions(OptionScope, scope="output.merging"):
    """Merging statistics."""

    nbins: int = option(20, "resolution shells of the statistics", range=(1, 1000), common=True)
    n_splits: int = option(10, "random splits into halves that CC½ is averaged over", range=(1, 32), own=True)


@dataclass(frozen=True, kw_only=True)
class OutputOptions(OptionScope, scope="output"):
    """Output files."""

    log: str | None = option("pyscale.scale.log", "log file; None for none", common=True)
    experiments: str = option("scaled.expt", "scaled experiments, with the models", common=True)
    reflections: str = option("scaled.refl", "scaled reflections", common=True)
    html: str | None = option("pyscale.scale.html", "report; None for none", common=True)
    json: str | None = option("pyscale.scale.json", "all results for programs; None for none", common=True)
    plots: str | None = option(
        None, "folder of the main figures as SVG and PNG, for papers (needs matplotlib)", common=True, own=True
    )
    unmerged_mtz: str | None = option(None, "unmerged MTZ file", common=True)
    merged_mtz: str | None = option(None, "merged MTZ file", common=True)
    xds_ascii: str | None = option(None, "unmerged file in the format of XDS_ASCII.HKL, outliers as misfits", own=True)
    shelx_hkl: str | None = option(None, "observations for SHELX (HKLF 4)", own=True)
    scalepack: str | None = option(None, "merged file in the format of SCALEPACK (.sca)", own=True)
    mmcif: str | None = option(None, "mmCIF for deposition, merged and unmerged data", own=True)
    cif: str | None = option(None, "CIF of the core dictionary, for small molecules", own=True)
    crystal_name: str = option("XTAL", "crystal name in MTZ files")
    project_name: str = option("pyscale", "project name in MTZ files (dials.scale: DIALS)")
    rogues: int = option(
        50, "observations in the table of the worst ones, rejected or nearly so", range=(0, 100_000), own=True
    )
    use_internal_variance: bool = option(
        False,
        "merged sigmas from the spread",
        unavailable="merged sigmas are propagated from the error model",
    )
    scale_errors: Literal["quadrature", "linear"] = option(
        "quadrature",
        "how the uncertainty of the scale g enters intensity.scale.variance: I_h² sigma_g² is added, which pyscale "
        "merge takes out again to make it an error that equivalents have in common; or it is multiplied by "
        "1 + sigma_g/g, as in dials.scale, for good",
        own=True,
    )
    merging: MergingOptions = MergingOptions()
    additional_stats: bool = option(False, "more statistics", unavailable="compute them from output.unmerged_mtz")
    delete_integration_shoeboxes: bool = option(
        True, "drop the column shoebox", unavailable="shoeboxes stay in the integrated file"
    )


@dataclass(frozen=True, kw_only=True)
class WeightingOptions(OptionScope, scope="weighting"):
    """Weights and error model."""

    weighting_scheme: Literal["invvar", "huber", "student_t"] = option(
        "invvar",
        "weights of the fit: inverse variances, or less of them for observations that disagree with their group, by "
        "Huber's loss or that of Student's t (which dials.scale lacks); merging has inverse variances in any case",
    )
    error_model: ErrorModelOptions = ErrorModelOptions()


@dataclass(frozen=True, kw_only=True)
class ReferenceModelOptions(OptionScope, scope="scaling_options.reference_model"):
    """Bulk solvent of a reference model."""

    k_sol: float = option(0.35, "bulk solvent density (e/Å³); 0: none", range=(0.0, 10.0))
    b_sol: float = option(46.0, "bulk solvent B factor (Å²)", range=(0.0, 1000.0))


@dataclass(frozen=True, kw_only=True)
class JobOptions(OptionScope, scope="scaling_options"):
    """Course of the job: threads, outliers, full matrix."""

    check_consistent_indexing: bool = option(
        False,
        "reindex data sets that agree with the others only in another indexing of the lattice; otherwise a warning "
        "names them",
    )
    indexing_obliquity: float = option(
        3.0,
        "how far (degrees) the directions of a lattice row and of the normal of its plane may differ for the row to "
        "count as a twofold axis of the lattice: what other indexings are looked for",
        range=(0.0, 10.0),
        own=True,
    )
    target_cycle: bool = option(
        True, "where some data sets have been scaled before, scale the new ones against these first, then all together"
    )
    only_target: bool = option(
        False, "stop after the target cycle: data sets that have been scaled before keep their models as they are"
    )
    only_save_targeted: bool = option(True, "with only_target=True merge and write only the new data sets")
    target_model: str | None = option(None, "old name of reference")
    target_mtz: str | None = option(None, "old name of reference")
    reference: str | None = option(
        None,
        "file to scale against, on whose scale the result then is: merged MTZ, structure factors in mmCIF, or a model "
        "in PDB or CIF; what it is follows from its content",
    )
    reference_model: ReferenceModelOptions = ReferenceModelOptions()
    nproc: int | Auto = option(
        AUTO,
        "number of threads; auto: the least of OMP_NUM_THREADS, CPU affinity and container quota",
        range=(1, 1024),
        common=True,
        aliases=("n_threads",),
    )
    smoothness: float = option(
        1e-4,
        "weight of the differences between neighbouring parameters of one component, relative to what a typical "
        "parameter is determined by: parameters without data follow their neighbours; 0: none",
        range=(0.0, 1.0),
        own=True,
    )
    seed: int = option(42, "seed of the random halves of CC1/2", range=(0, 2**32 - 1), own=True)
    use_free_set: bool = option(
        False, "leave whole groups of equivalents, the free set, out of the fit, and judge the scales by them"
    )
    free_set_percentage: float = option(10.0, "size of the free set (percent)", range=(0.1, 50.0))
    free_set_offset: int = option(0, "which free set, less than 100 / free_set_percentage", range=(0, None))
    full_matrix: bool | Auto = option(
        AUTO,
        "full-matrix fit with uncertainties of the scales; auto: always (dials.scale: not for stills or more "
        "than 10 data sets); False: no uncertainties of the scales",
    )
    outlier_rejection: Literal["standard", "simple"] | None = option(
        "standard",
        "rejection of outliers: the worst one of each group again and again by the others (standard), or all at once "
        "by the mean of all (simple); None: none",
        common=True,
    )
    outlier_zmax: float = option(
        6.0, "largest deviation of an observation from its group, in sigmas", range=(3.0, None), common=True
    )
    outlier_pairs: Literal["judge", "keep"] = option(
        "judge",
        "two equivalents, all there are, that disagree by more than outlier_zmax; judge: the one that all else says is "
        "wrong (95 %) is rejected; where nothing tells, both are merged, with larger sigmas, but left out of the fit; "
        "keep: both are used",
        own=True,
    )
    outlier_mates: Literal["keep", "reject"] = option(
        "keep",
        "Friedel mates taken as equivalents: an outlier among both hands that agrees with others of its own hand is a "
        "true Bijvoet difference (keep), or an outlier all the same, as in dials.scale (reject)",
        own=True,
    )
    emax: float | None = option(
        10.0,
        "largest normalised amplitude E before an observation is rejected; None or 0: no limit",
        range=(0.0, None),
    )


@dataclass(frozen=True, kw_only=True)
class JournalOptions(OptionScope, scope="scaling_refinery.journal"):
    """Journal of the minimiser."""

    track_step: bool = option(False, "keep the steps", unavailable=_JOURNAL)
    track_gradient: bool = option(False, "keep the gradients", unavailable=_JOURNAL)
    track_parameter_correlation: bool = option(False, "keep the correlations", unavailable=_JOURNAL)
    track_condition_number: bool = option(False, "keep the condition numbers", unavailable=_JOURNAL)
    track_out_of_sample_rmsd: bool = option(False, "keep the rmsd of other rows", unavailable=_JOURNAL)


@dataclass(frozen=True, kw_only=True)
class RefineryOptions(OptionScope, scope="scaling_refinery"):
    """Minimisation."""

    engine: Literal["LevMar", "SimpleLBFGS", "GaussNewton"] | Auto = option(
        AUTO,
        "minimiser of all fits but the last; auto: LevMar, the full matrix from the start (dials.scale: SimpleLBFGS "
        "first), and SimpleLBFGS with full_matrix=False, where it has the last fit, too",
    )
    refinement_order: Literal["concurrent", "consecutive"] = option(
        "concurrent",
        "all components at once; or in each fit but the last first scales and decays, then absorption, then modulation",
    )
    max_iterations: int | None = option(
        None, "most steps of a SimpleLBFGS fit; None: until it has converged", range=(1, None)
    )
    rmsd_tolerance: float = option(1e-4, "relative change of the rmsd at which a fit has converged", range=(1e-6, 1.0))
    full_matrix_engine: Literal["LevMar", "GaussNewton"] = option(
        "LevMar", "minimiser of the last fit, which gives the full matrix"
    )
    full_matrix_max_iterations: int | None = option(
        None, "most steps of a full-matrix fit; None: until it has converged", range=(1, None)
    )
    refinery_log: str | None = option(None, "log of the minimiser", unavailable=_JOURNAL)
    journal: JournalOptions = JournalOptions()


@dataclass(frozen=True, kw_only=True)
class CrossValidationOptions(OptionScope, scope="cross_validation"):
    """Cross validation."""

    cross_validation_mode: Literal["single", "multi"] | None = option(
        None,
        "scale nfolds times, each with another free set, and compare the free sets with the rest: with the options as "
        "they are (single), or with each value of one of them (multi). No scaled files are written",
    )
    parameter: str | None = option(None, "option that is varied (multi)")
    parameter_values: tuple[str, ...] | None = option(
        None, "its values; for model physical, KB and array and for True or False both, unless others are given"
    )
    nfolds: int = option(1, "number of free sets, at most 100 / free_set_percentage", range=(1, None))


@dataclass(frozen=True, kw_only=True)
class ModelChoiceOptions(OptionScope, scope="model_choice"):
    """Choice of the model by cross validation (model=cross_validated)."""

    n_folds: int = option(
        5,
        "parts into which groups of equivalents are divided, each held out once",
        range=(2, 100),
        own=True,
    )


@dataclass(frozen=True, kw_only=True)
class ScalingOptions(OptionScope):
    """All options of a scaling job; the defaults are right for most data.

    Raises
    ------
    UsageError
        If a value has the wrong type, is out of range, or asks for a feature that is not available.
    """

    model: Literal["physical", "KB", "array", "dose_decay", "cross_validated"] | Auto = option(
        AUTO,
        "model of data sets that have none yet; auto: physical, or KB for stills and very narrow sweeps; "
        "cross_validated: the one that predicts held-out reflections best",
        common=True,
    )
    auto_rules: Literal["current", "guide"] = option(
        "current",
        "rules of model=auto: those of today's dials.scale or of its guide of 2018-19",
        own=True,
    )
    same_crystal: bool | Auto = option(
        AUTO,
        "whether all sweeps are of one crystal, so that model and absorption are decided once from the summed "
        "rotation; auto: those that share a crystal model, and of up to 10 sweeps those whose cells agree within 1 %",
        own=True,
    )
    model_choice: ModelChoiceOptions = ModelChoiceOptions()
    space_group: str | None = option(
        None,
        "space group to scale in, a name (P212121), number or Hall symbol: one of the Laue class of the data, or of a "
        "subgroup of it, in the same setting",
        common=True,
        own=True,
    )
    identifiers: tuple[str, ...] | None = option(
        None,
        "new identifiers of the data sets, in their order; other options know them by these",
        own=True,
    )
    anomalous: bool = option(False, "keep I(+) and I(-) apart in the fit", common=True)
    overwrite_existing_models: bool = option(
        False, "ignore scaling models stored in the input, which otherwise are kept and fitted further", common=True
    )
    input: InputOptions = InputOptions()
    output: OutputOptions = OutputOptions()
    physical: PhysicalOptions = PhysicalOptions()
    array: ArrayOptions = ArrayOptions()
    KB: KBOptions = KBOptions()
    dose_decay: DoseDecayOptions = DoseDecayOptions()
    reflection_selection: ReflectionSelectionOptions = ReflectionSelectionOptions()
    weighting: WeightingOptions = WeightingOptions()
    cut_data: CutDataOptions = CutDataOptions()
    resolution: ResolutionOptions = ResolutionOptions()
    anisotropy: AnisotropyOptions = AnisotropyOptions()
    scaling_options: JobOptions = JobOptions()
    scaling_refinery: RefineryOptions = RefineryOptions()
    cross_validation: CrossValidationOptions = CrossValidationOptions()
    filtering: FilteringOptions = FilteringOptions()
    exclude_images: tuple[str, ...] = option(
        (),
        "images left out, data set:first:last, both inclusive, for example 0:101:200; *:first:last in all data sets, "
        "first:last if there is one only (repeatable). They stay out in later jobs with the scaled files",
        repeatable=True,
    )
    exclude_images_multiple: int | None = option(
        None, "leave out, in every sweep, the images whose number is a multiple of this", range=(2, None)
    )
    dataset_selection: DatasetSelectionOptions = DatasetSelectionOptions()

    def to_dict(self) -> dict[str, Any]:
        """The resolved options as nested dictionaries of JSON types."""
        return to_dict(self)
