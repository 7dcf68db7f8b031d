"""The colours of all figures: told apart by colour-blind readers, on light and on dark pages."""

from __future__ import annotations

__all__ = ["BLUE", "COLORS", "DIVERGING", "GREEN", "GREY", "ORANGE", "PURPLE", "SEQUENTIAL", "SKY", "faint"]

# Okabe & Ito's, those of them that stand out on white and on black.
BLUE, ORANGE, GREEN, PURPLE, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9"
COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY)
GREY = "#888888"
SEQUENTIAL = "Viridis"
"""Perceptually uniform."""
DIVERGING = [[0, "#2166ac"], [0.25, "#92c5de"], [0.5, "#f7f7f7"], [0.75, "#f4a582"], [1, "#b2182b"]]
"""Blue below, red above what is normal."""


def faint(color: str, opacity: float = 0.25) -> str:
    """A colour #rrggbb that lets others through."""
    red, green, blue = (int(color[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
