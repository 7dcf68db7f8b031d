"""The tables behind `model=auto`: those of today's dials.scale, and those of its guide of 2018-19."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["RULES", "AutoRules"]


@dataclass(frozen=True, kw_only=True)
class AutoRules:
    """What a rotation range and the scattering angles call for; all angles in degrees.

    Attributes
    ----------
    least_rotation : float
        Less rotation has a KB model.
    intervals : tuple of (below, scale, decay)
        Intervals of scale and decay for rotations below a limit, ascending.
    absorption_rotation : float
        Rotation that an absorption surface needs.
    absorption_at_limit : bool
        Whether exactly that rotation is enough.
    least_scattering_angle : float
        Largest scattering angle that the reflections must reach for an absorption surface.
    """

    least_rotation: float = 1.0
    intervals: tuple[tuple[float, float, float], ...]
    absorption_rotation: float = 60.0
    absorption_at_limit: bool
    least_scattering_angle: float


RULES = {
    "current": AutoRules(
        intervals=((5.0, 1.0, 1.5), (10.0, 2.0, 3.0), (25.0, 4.0, 5.0), (90.0, 8.0, 10.0), (math.inf, 15.0, 20.0)),
        absorption_at_limit=False,
        least_scattering_angle=math.degrees(math.acos(0.999)),
    ),
    "guide": AutoRules(
        intervals=((10.0, 2.0, 3.0), (25.0, 4.0, 5.0), (90.0, 8.0, 10.0), (math.inf, 15.0, 20.0)),
        absorption_at_limit=True,
        least_scattering_angle=0.0,
    ),
}
"""By the value of the option `auto_rules`."""
