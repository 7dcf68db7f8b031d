"""The HTML report."""

from __future__ import annotations

from typing import Any

__all__ = ["render_report"]


def render_report(result: Any) -> str:
    """Render the report of a scaling result as one HTML page."""
    from html import escape

    return f"<!DOCTYPE html><meta charset=utf-8><title>pyscale</title><pre>{escape(result.summary())}</pre>"
