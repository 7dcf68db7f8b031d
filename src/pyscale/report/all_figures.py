"""All figures of the report, from the public document."""

from __future__ import annotations

from typing import Any

from . import correlations, filtering, flow, intensity_figures, limits, outliers, overview, parts
from . import figures as job_figures
from .model_figures import ModelView, model_figures
from .plots import Figure

__all__ = ["MAX_DETAILED", "data_set_figures", "page_figures", "whole_job_figures"]

#: Data sets with plots and tables of their own.
MAX_DETAILED = 12


def page_figures(document: dict[str, Any]) -> dict[str, Figure]:
    """All figures of the report of a document, by name."""
    figures = whole_job_figures(document)
    for k in range(min(MAX_DETAILED, len(document["datasets"]))):
        figures |= data_set_figures(document, k)
    return figures


def whole_job_figures(document: dict[str, Any]) -> dict[str, Figure]:
    """Figures of all data sets together, by name."""
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


def data_set_figures(document: dict[str, Any], number: int) -> dict[str, Figure]:
    """Figures of one data set, by name."""
    entry = document["datasets"][number]
    own = {f"{name}-{number}": figure for name, figure in model_figures(ModelView(document, number)).items()}
    images = parts.image_figures(document["analyses"].get("by_image"), {entry["identifier"]: entry["excluded_images"]})
    return own | {f"images-{number}": figure for figure in images.values()}
