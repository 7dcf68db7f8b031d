"""The facts of a data set that the auto rules look at, and the plan of a model that they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .scaling_model import ModelClass

__all__ = ["CrystalFacts", "Decision", "ModelPlan", "Restraint", "SweepFacts"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class CrystalFacts:
    """All sweeps of one crystal together.

    Attributes
    ----------
    n_sweeps : int
    rotation_range_deg : float
        Sum over the sweeps, degrees.
    max_scattering_angle_deg : float
        Largest of all, degrees.
    reason : str
        How it is known that they are of one crystal.
    """

    n_sweeps: int
    rotation_range_deg: float
    max_scattering_angle_deg: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class SweepFacts:
    """What the rules look at.

    Attributes
    ----------
    is_still : bool
        No scan, or an image width of zero.
    rotation_range_deg : float
        Rotation of the valid images together, degrees.
    max_scattering_angle_deg : float
        Largest angle between incident and diffracted beam among the reflections, degrees.
    crystal : CrystalFacts or None
        All sweeps of the crystal, if this one is one of several.
    has_beam_directions, has_positions : bool
        Whether directions of diffracted beams (`s1`), and places on the detector, are known.
    """

    is_still: bool
    rotation_range_deg: float
    max_scattering_angle_deg: float
    crystal: CrystalFacts | None = None
    has_beam_directions: bool = True
    has_positions: bool = True

    @property
    def crystal_range_deg(self) -> float:
        """Rotation of all sweeps of the crystal, degrees."""
        return self.rotation_range_deg if self.crystal is None else self.crystal.rotation_range_deg

    @property
    def crystal_angle_deg(self) -> float:
        """Largest scattering angle of all sweeps of the crystal, degrees."""
        return self.max_scattering_angle_deg if self.crystal is None else self.crystal.max_scattering_angle_deg

    @property
    def crystal_rotation(self) -> str:
        """The rotation of the crystal in words."""
        if self.crystal is None:
            return f"rotation of {self.rotation_range_deg:.4g} deg"
        return (
            f"{self.crystal.n_sweeps} sweeps of one crystal ({self.crystal.reason}), together "
            f"{self.crystal.rotation_range_deg:.4g} deg: that"
        )


@dataclass(frozen=True)
class Decision(Generic[T]):
    """A value and why it was chosen."""

    value: T
    reason: str


@dataclass(frozen=True)
class Restraint:
    """Weight of a restraint sum lambda p^2: where the fit starts, and between which limits it may choose.

    The limits are equal when the weight is fixed.
    """

    start: float
    lowest: float
    highest: float

    @classmethod
    def fixed(cls, weight: float) -> Restraint:
        """A weight that the fit does not change."""
        return cls(weight, weight, weight)

    def __str__(self) -> str:
        if self.lowest == self.highest:
            return f"{self.start:g}"
        return f"{self.start:g} (start; {self.lowest:g} to {self.highest:g})"


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """The model of one data set, every choice made; choices that a model does not have are None.

    Intervals are in degrees. `has_beam_directions` and `has_positions` are the facts', for other models to heed.
    """

    model: Decision[ModelClass]
    scale: Decision[bool]
    decay: Decision[bool]
    absorption: Decision[bool]
    scale_interval: Decision[float] | None = None
    decay_interval: Decision[float] | None = None
    lmax: Decision[int] | None = None
    decay_restraint: Decision[Restraint] | None = None
    surface_weight: Decision[Restraint] | None = None
    share_absorption: Decision[bool] | None = None
    image_scale: Decision[bool] | None = None
    image_scale_weight: Decision[Restraint] | None = None
    image_scale_size: Decision[Restraint] | None = None
    modulation: Decision[bool] | None = None
    n_resolution_bins: Decision[int] | None = None
    n_absorption_bins: Decision[int] | None = None
    n_modulation_bins: Decision[int] | None = None
    grid_smoothness: Decision[Restraint] | None = None
    grid_size: Decision[Restraint] | None = None
    relative_B: Decision[bool] | None = None
    resolution_dependence: Decision[str] | None = None
    share_decay: Decision[bool] | None = None
    analytical: Decision[bool] | None = None
    has_beam_directions: bool = True
    has_positions: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return {choice: {value, reason}} for reports."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            n: {"value": str(d.value) if isinstance(d.value, Restraint) else d.value, "reason": d.reason}
            for n, d in fields.items()
            if isinstance(d, Decision)
        }
