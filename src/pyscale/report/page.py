"""The page: tables, figures and plotly.js in one template."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pyscale.option_text import changed_options, format_option

from . import (
    correlations,
    filtering,
    flow,
    intensity_figures,
    limits,
    model_tables,
    outliers,
    overview,
    parts,
    tables,
)
from . import figures as job_figures
from .model_figures import ModelView, model_figures
from .plots import Figure
from .table import Table

if TYPE_CHECKING:
    from pyscale.result import ScalingResult

__all__ = ["MAX_DETAILED", "render_page"]

#: Data sets with plots and tables of their own.
MAX_DETAILED = 12


def render_page(result: ScalingResult, document: dict[str, Any]) -> str:
    """Render the report of a result and its public document."""
    figures = _job_figures(document)
    details = [_details(document, k, figures) for k in range(min(MAX_DETAILED, len(document["datasets"])))]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        document=document,
        sources=result.job.sources,
        n_data_sets=len(document["datasets"]),
        cell=", ".join(f"{x:.4g}" for x in document["unit_cell"]),
        warnings=tables.warnings(document),
        limit_decisions=_limit_decisions(result),
        tables=_job_tables(document),
        details=details,
        options=[format_option(path, value) for path, value in changed_options(result.options).items()],
        figure_names=list(figures),
        captions={name: figure["caption"] for name, figure in figures.items()},
        figures=_script(json.dumps(figures, allow_nan=False, separators=(",", ":"))),
        plotly=_plotly(),
    )


def _job_figures(document: dict[str, Any]) -> dict[str, Figure]:
    analyses = document["analyses"]
    figures = job_figures.resolution_figures(document["merging_statistics"])
    resolution, anisotropy = analyses["resolution"], analyses["anisotropy"]
    if resolution is not None:
        figures |= limits.limit_figures(resolution)
    if anisotropy is not None and anisotropy["verdict"] not in ("by_symmetry", "undetermined"):
        figures["anisotropy"] = limits.anisotropy_figure(anisotropy)
    figures |= intensity_figures.intensity_figures(analyses)
    figures |= job_figures.error_model_figures(document["error_model"])
    if (regions := analyses["regions"]) is not None and outliers.has_own_map(regions, analyses.get("detector")):
        figures["deviations"] = outliers.deviation_figure(regions["map"])
    if analyses.get("detector") is not None:
        figures |= outliers.detector_figures(analyses["detector"]["maps"], analyses["rogues"])
    if document["filtering"] is not None:
        figures["filtering"] = filtering.candidate_figure(document["filtering"])
        if document["filtering"]["cycles"][0]["n_removed"]:
            figures["filtering-history"] = filtering.history_figure(document["filtering"])
    if len(document["datasets"]) > 1:
        figures |= overview.overview_figures(document)
    if analyses.get("radiation_damage") is not None:
        figures["damage"] = parts.damage_figure(analyses["radiation_damage"])
    correlated = document["fit"].get("correlations") or {"matrices": ()}
    for k, matrix in enumerate(correlated["matrices"]):
        figures[f"correlations-{k}"] = correlations.correlation_figure(matrix)
    figures["ledger"] = flow.ledger_figure(document["ledger"])
    return figures


def _job_tables(document: dict[str, Any]) -> dict[str, Table]:
    statistics, fit = document["merging_statistics"], document["fit"]
    job_tables = {
        "headline": tables.headline_table(statistics),
        "fit": tables.run_table(document),
        "error_model": tables.error_model_table(document["error_model"]),
        "shells": tables.shell_table(statistics),
        "intensity_statistics": intensity_figures.intensity_statistics_table(document["analyses"]),
        "summary": tables.summary_table(document),
        "rounds": tables.round_table(fit),
        "ledger": tables.ledger_table(document["ledger"]),
        "times": tables.time_table(fit),
        "intensities": tables.intensity_table(document),
    }
    job_tables |= _limit_tables(document["analyses"])
    if len(document["datasets"]) > MAX_DETAILED:
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
    view = ModelView(document, number)
    own = {f"{name}-{number}": figure for name, figure in model_figures(view).items()}
    images = parts.image_figures(document["analyses"].get("by_image"), {entry["identifier"]: entry["excluded_images"]})
    own |= {f"images-{number}": figure for figure in images.values()}
    figures |= own
    shown_with = number if view.surface is None else view.surface["data_sets"][0]
    return {
        "identifier": entry["identifier"],
        "type": entry["model"]["type"],
        "components": model_tables.component_table(entry, document["fit"], number),
        "decisions": model_tables.decision_table(document["decisions"][entry["identifier"]]),
        "figures": list(own),
        "shared_with": document["datasets"][shown_with]["identifier"] if shown_with < number else None,
    }


def _limit_decisions(result: ScalingResult) -> list[str]:
    """What was made of d_min=auto and anisotropic_cut=True."""
    decisions = result.limits.decisions
    return [f"{name.rpartition('.')[2]}: {decision.reason}" for name, decision in decisions.items()]


def _script(text: str) -> Markup:
    """JSON that cannot end the script element that holds it."""
    return Markup(text.replace("<", "\\u003c"))


def _plotly() -> Markup | None:
    """plotly.js as the Python package brings it, found without the slow import; None without it."""
    spec = importlib.util.find_spec("plotly")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "package_data" / "plotly.min.js"
        if path.is_file():
            return Markup(path.read_text(encoding="utf-8"))
    return None
