"""The HTML report: one page that needs nothing but itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyscale.result import ScalingResult

__all__ = ["render_report"]


def render_report(result: ScalingResult, document: dict[str, Any] | None = None) -> str:
    """Render the report of a scaling job as one HTML page, plots and their program included.

    Every number comes from the public document, `result.to_dict()` unless it is given; only the curves and surfaces
    of the models are evaluated here, by the core.
    """
    from .page import render_page

    return render_page(result, result.to_dict() if document is None else document)
