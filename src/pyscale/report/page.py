"""The page: tables, figures and plotly.js in one template."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pyscale.option_text import changed_options, format_option

from . import figures as plots
from . import tables

if TYPE_CHECKING:
    from pyscale.result import ScalingResult

__all__ = ["MAX_DETAILED", "render_page"]

#: Data sets with plots and tables of their own.
MAX_DETAILED = 12


def render_page(result: ScalingResult) -> str:
    """Render the report."""
    document = result.to_dict()
    figures = _job_figures(document)
    details = [_details(result, document, k, figures) for k in range(min(MAX_DETAILED, len(document["datasets"])))]
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
        tables=_job_tables(document),
        details=details,
        options=[format_option(path, value) for path, value in changed_options(result.options).items()],
        figure_names=list(figures),
        figures=_script(json.dumps(figures, allow_nan=False, separators=(",", ":"))),
        plotly=_plotly(),
    )


def _job_figures(document: dict[str, Any]) -> dict[str, plots.Figure]:
    figures = plots.resolution_figures(document["merging_statistics"])
    if document["error_model"].get("bins"):
        figures["error-model"] = plots.error_model_figure(document["error_model"]["bins"])
    if len(document["datasets"]) > 1:
        figures["summary"] = plots.summary_figure(tables.summary_entries(document["datasets"]))
    return figures


def _job_tables(document: dict[str, Any]) -> dict[str, tables.Table]:
    statistics, fit = document["merging_statistics"], document["fit"]
    job_tables = {
        "headline": tables.headline_table(statistics),
        "fit": tables.run_table(document),
        "error_model": tables.error_model_table(document["error_model"]),
        "shells": tables.shell_table(statistics),
        "summary": tables.summary_table(document),
        "rounds": tables.round_table(fit),
        "ledger": tables.ledger_table(document["ledger"]),
        "times": tables.time_table(fit),
        "intensities": tables.intensity_table(fit),
    }
    if len(document["datasets"]) > MAX_DETAILED:
        job_tables["decisions"] = tables.grouped_decision_table(document["decisions"])
    return job_tables


def _details(
    result: ScalingResult, document: dict[str, Any], number: int, figures: dict[str, plots.Figure]
) -> dict[str, Any]:
    """Tables and figures of one data set; the figures join the others."""
    entry, model = document["datasets"][number], result.models[number]
    names = []
    curves = plots.model_figure(model, entry)
    if curves is not None:
        figures[f"model-{number}"] = curves
        names.append(f"model-{number}")
    for component in model.components:
        if component.kind == "absorption":
            figures[f"absorption-{number}"] = plots.absorption_figure(component, result.observations, number)
            names.append(f"absorption-{number}")
    return {
        "identifier": entry["identifier"],
        "type": entry["model"]["type"],
        "components": tables.component_table(entry),
        "decisions": tables.decision_table(document["decisions"][entry["identifier"]]),
        "figures": names,
    }


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
