"""Anchors of headings, for Sphinx and for the test of links."""

from __future__ import annotations

import re


def heading_slug(title: str) -> str:
    """Return the anchor that GitHub gives a heading, so that links work in both places."""
    return re.sub(r"[^\w\- ]|[½²³]", "", title.lower()).replace(" ", "-")
