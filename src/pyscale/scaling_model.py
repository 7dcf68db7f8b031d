"""The scaling model of one data set: g is the product of its components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .components import ComponentModel, Coordinates

__all__ = ["DataSetModel", "ModelClass"]

ModelClass = Literal["physical", "KB", "array", "dose_decay"]


@dataclass(frozen=True)
class DataSetModel:
    """The model of one data set.

    Attributes
    ----------
    model : str
        DIALS' name of the class of models.
    components : tuple of ComponentModel
    analytical : bool
        Whether g has the column `analytical_correction` as a factor, too.
    configuration : dict
        `configuration_parameters` of a stored model.
    """

    model: ModelClass
    components: tuple[ComponentModel, ...]
    analytical: bool = False
    configuration: dict[str, Any] = field(default_factory=dict)

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return sum(c.n_parameters for c in self.components)

    @property
    def has_absorption(self) -> bool:
        """Whether evaluation needs beam directions in the crystal frame."""
        return any(c.kind == "absorption" for c in self.components)

    @property
    def has_grid(self) -> bool:
        """Whether evaluation needs the place on the detector."""
        return any(c.kind == "grid" for c in self.components)

    @property
    def is_placed(self) -> bool:
        """Whether the place of all nodes is known."""
        return all(c.is_placed for c in self.components)

    def component(self, name: str) -> ComponentModel | None:
        """The component of a name, None if there is none."""
        return next((c for c in self.components if c.name == name), None)

    def placed(self, coordinates: Coordinates) -> DataSetModel:
        """Return the model with the nodes of its smooth components laid over the rows of a data set."""
        return self.with_components([c.placed(coordinates) for c in self.components])

    def with_components(self, components: Sequence[ComponentModel]) -> DataSetModel:
        """Return the model with other components."""
        return replace(self, components=tuple(components))
