"""The page: tables, figures and plotly.js in one template."""

from __future__ import annotations

from typing import Any

from pyscale.option_text import format_option
from pyscale.options import ScalingOptions, to_dict

from . import correlations, filtering, intensity_figures, limits, model_tables, outliers, parts, tables, warned
from .all_figures import MAX_DETAILED, data_set_figures, whole_job_figures
from .assets import render
from .model_figures import ModelView
from .option_tables import changed_in_document, option_table
from .plots import Figure
from .table import Table, is_known

__all__ = ["render_page"]


def render_page(document: dict[str, Any]) -> str:
    """Render the report of a public document."""
    figures = whole_job_figures(document)
    details = [_details(document, k, figures) for k in range(min(MAX_DETAILED, len(document["datasets"])))]
    return render(
        "report.html",
        figures,
        document=document,
        sources=document["sources"],
        n_data_sets=len(document["datasets"]),
        cell=", ".join(f"{x:.4g}" for x in document["unit_cell"]),
        tiles=tables.key_figures(document["merging_statistics"]),
        warnings=warned.warnings(document),
        n_splits=(document["options"] or to_dict(ScalingOptions()))["output"]["merging"]["n_splits"],
        limit_decisions=_limit_decisions(document),
        tables=_job_tables(document),
        details=details,
        ended=filtering.ENDED.get((document["filtering"] or {}).get("termination_reason", ""), "for another reason"),
        options=[format_option(path, value) for path, value in changed_in_document(document["options"] or {}).items()],
    )


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
    if document["fit"].get("correlations") is not None:
        job_tables["correlations"] = correlations.correlation_table(document["fit"]["correlations"])
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


def _details(document: dict[str, Any], number: int, figures: dict[str, Figure]) -> dict[str, Any]:
    """Tables and figures of one data set; the figures join the others."""
    entry = document["datasets"][number]
    own, view = data_set_figures(document, number), ModelView(document, number)
    figures |= own
    shown_with = number if view.surface is None else view.surface["data_sets"][0]
    return {
        "identifier": entry["identifier"],
        "type": entry["model"]["type"],
        "components": model_tables.component_table(entry, document["fit"], number),
        "decisions": model_tables.decision_table(document["decisions"].get(entry["identifier"], {})),
        "figures": list(own),
        "shared_with": document["datasets"][shown_with]["identifier"] if shown_with < number else None,
    }


def _limit_decisions(document: dict[str, Any]) -> list[str]:
    """What was made of d_min=auto and anisotropic_cut=True, which holds for all data sets."""
    decisions: dict[str, Any] = next(iter(document["decisions"].values()), {})
    names = ("cut_data.d_min", "cut_data.anisotropic_cut")
    return [f"{name.rpartition('.')[2]}: {decisions[name]['reason']}" for name in names if name in decisions]
