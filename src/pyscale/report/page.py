"""The page: tables, figures and plotly.js in one template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyscale.option_text import format_option
from pyscale.options import ScalingOptions, to_dict

from . import figures as job_figures
from . import filtering, intensity_figures, limits, model_tables, outliers, parts, tables
from .assets import render
from .model_figures import ModelView, model_figures
from .option_tables import changed_in_document, option_table
from .plots import Figure
from .table import Table, is_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyscale.result import ScalingResult
    from pyscale.scaling_model import DataSetModel

__all__ = ["MAX_DETAILED", "page_figures", "render_page"]

#: Data sets with plots and tables of their own.
MAX_DETAILED = 12


def render_page(document: dict[str, Any], result: ScalingResult | None = None) -> str:
    """Render the report of a public document; `result` has what the plots of models need beyond it."""
    figures = _job_figures(document)
    details = [_details(result, document, k, figures) for k in range(min(MAX_DETAILED, len(document["datasets"])))]
    return render(
        "report.html",
        figures,
        document=document,
        sources=document["sources"],
        n_data_sets=len(document["datasets"]),
        cell=", ".join(f"{x:.4g}" for x in document["unit_cell"]),
        tiles=tables.key_figures(document["merging_statistics"]),
        warnings=tables.warnings(document),
        n_splits=(document["options"] or to_dict(ScalingOptions()))["output"]["merging"]["n_splits"],
        limit_decisions=_limit_decisions(document),
        tables=_job_tables(document),
        details=details,
        options=[format_option(path, value) for path, value in changed_in_document(document["options"] or {}).items()],
    )


def page_figures(document: dict[str, Any]) -> dict[str, Figure]:
    """All figures of the report of a document, by name."""
    figures = _job_figures(document)
    for k in range(min(MAX_DETAILED, len(document["datasets"]))):
        _details(None, document, k, figures)
    return figures


def _job_figures(document: dict[str, Any]) -> dict[str, Figure]:
    figures = job_figures.resolution_figures(document["merging_statistics"])
    resolution, anisotropy = document["analyses"]["resolution"], document["analyses"]["anisotropy"]
    if resolution is not None:
        figures |= limits.limit_figures(resolution)
    if anisotropy is not None and anisotropy["verdict"] not in ("by_symmetry", "undetermined"):
        figures["anisotropy"] = limits.anisotropy_figure(anisotropy)
    figures |= intensity_figures.intensity_figures(document["analyses"])
    if document["error_model"].get("bins"):
        figures["error-model"] = job_figures.error_model_figure(document["error_model"]["bins"])
    regions = document["analyses"]["regions"]
    if regions is not None and regions["map"] is not None:
        figures["deviations"] = outliers.deviation_figure(regions["map"])
    if document["filtering"] is not None:
        figures["filtering"] = filtering.candidate_figure(document["filtering"])
    if len(document["datasets"]) > 1:
        figures["summary"] = job_figures.summary_figure(model_tables.summary_entries(document["datasets"]))
    if document["analyses"].get("radiation_damage") is not None:
        figures["damage"] = parts.damage_figure(document["analyses"]["radiation_damage"])
    return figures


def _job_tables(document: dict[str, Any]) -> dict[str, Table]:
    statistics = document["merging_statistics"]
    job_tables = {
        "headline": tables.headline_table(statistics),
        "error_model": tables.error_model_table(document["error_model"]),
        "shells": tables.shell_table(statistics),
        "intensity_statistics": intensity_figures.intensity_statistics_table(document["analyses"]),
        "summary": tables.summary_table(document),
        "ledger": tables.ledger_table(document["ledger"]),
    }
    if is_known(document):
        job_tables |= _run_tables(document)
    job_tables |= _limit_tables(document["analyses"])
    if len(document["datasets"]) > MAX_DETAILED and document["decisions"]:
        job_tables["decisions"] = model_tables.grouped_decision_table(document["decisions"])
    if document["analyses"].get("by_data_set") is not None:
        job_tables["by_data_set"] = parts.data_set_table(document["analyses"]["by_data_set"])
    if document["model_choice"] is not None:
        job_tables["model_choice"] = model_tables.model_choice_table(document["model_choice"])
    groups = tables.error_group_table(document["error_model"])
    if groups is not None:
        job_tables["error_groups"] = groups
    if document["free_set"] is not None:
        job_tables["free_set"] = model_tables.free_set_table(document["free_set"])
    rogues, regions = document["analyses"]["rogues"], document["analyses"]["regions"]
    if rogues is not None and rogues["worst"]:
        job_tables["rogues"] = outliers.rogue_table(rogues)
    if regions is not None and regions["regions"]:
        job_tables["regions"] = outliers.region_table(regions)
    if document["filtering"] is not None:
        job_tables["filtering_history"] = filtering.history_table(document["filtering"])
        job_tables["filtering_removed"] = filtering.removed_table(document["filtering"])
    return job_tables


def _run_tables(document: dict[str, Any]) -> dict[str, Table]:
    """What only the job itself knew."""
    fit = document["fit"]
    return {
        "fit": tables.run_table(document),
        "rounds": tables.round_table(fit),
        "times": tables.time_table(fit),
        "intensities": tables.intensity_table(document),
        "options": option_table(document["options"]),
    }


def _limit_tables(analyses: dict[str, Any]) -> dict[str, Table]:
    resolution, anisotropy = analyses["resolution"], analyses["anisotropy"]
    found = {}
    if resolution is not None:
        found["limits"] = limits.limit_table(resolution)
    if anisotropy is not None and anisotropy["verdict"] not in ("by_symmetry", "undetermined"):
        found["anisotropy"] = limits.anisotropy_table(anisotropy)
    if anisotropy is not None and anisotropy["inside_ellipsoid"] is not None:
        found["ellipsoid"] = limits.ellipsoid_table(anisotropy["inside_ellipsoid"])
    return found


def _details(
    result: ScalingResult | None, document: dict[str, Any], number: int, figures: dict[str, Figure]
) -> dict[str, Any]:
    """Tables and figures of one data set; the figures join the others."""
    entry = document["datasets"][number]
    sharing, own = [number], {}
    if result is not None:
        sharing = _sharing(result.models, number)
        view = ModelView(number, result.models[number], entry, document["fit"], result.observations, sharing)
        own = {f"{name}-{number}": figure for name, figure in model_figures(view).items()}
    images = parts.image_figures(document["analyses"].get("by_image"), {entry["identifier"]})
    own |= {f"images-{number}": figure for figure in images.values()}
    figures |= own
    return {
        "identifier": entry["identifier"],
        "type": entry["model"]["type"],
        "components": model_tables.component_table(entry, document["fit"], number),
        "decisions": model_tables.decision_table(document["decisions"].get(entry["identifier"], {})),
        "figures": list(own),
        "shared_with": document["datasets"][sharing[0]]["identifier"] if sharing[0] < number else None,
    }


def _limit_decisions(document: dict[str, Any]) -> list[str]:
    """What was made of d_min=auto and anisotropic_cut=True, which holds for all data sets."""
    decisions: dict[str, Any] = next(iter(document["decisions"].values()), {})
    names = ("cut_data.d_min", "cut_data.anisotropic_cut")
    return [f"{name.rpartition('.')[2]}: {decisions[name]['reason']}" for name in names if name in decisions]


def _sharing(models: Sequence[DataSetModel], number: int) -> list[int]:
    """Data sets that have the same absorption surface as one, and itself."""
    if not any(c.kind == "absorption" and c.shared for c in models[number].components):
        return [number]
    surfaces = [{c.n_parameters for c in m.components if c.kind == "absorption" and c.shared} for m in models]
    return [k for k, surface in enumerate(surfaces) if k == number or surface & surfaces[number]]
