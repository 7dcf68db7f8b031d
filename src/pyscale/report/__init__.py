"""The HTML report: one page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyscale.result import ScalingResult

__all__ = ["render_comparison", "render_document", "render_report"]


def render_report(result: ScalingResult, document: dict[str, Any] | None = None) -> str:
    """Render the report of a scaling job as one HTML page, plots and their program included.

    Everything on it comes from the public document, `result.to_dict()` unless it is given.
    """
    return render_document(result.to_dict() if document is None else document)


def render_document(document: dict[str, Any]) -> str:
    """Render the report of a public document (`pyscale.scale.json`) as one HTML page."""
    from .page import render_page

    return render_page(document)


def render_comparison(documents: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """Render a page that lays two public documents side by side.

    Parameters
    ----------
    documents : two dict
    names : two str
        What to call them, such as the paths of their files.
    """
    from .comparison import render_two

    return render_two(documents, names)
