"""All analyses of a job, in the order in which people read them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Protocol

from ..progress import report_progress
from ..unit_cells import wavelengths
from .absences import AbsenceAnalysis, absence_analysis
from .agreement import Agreement, Pairs
from .anisotropy import Anisotropy
from .anomalous_signal import AnomalousAnalysis, anomalous_analysis
from .beams import Beams, beam_directions
from .by_data_set import ByDataSet, by_data_set
from .by_image import ByImage, ImageBins, by_image
from .by_shell import ByShell, by_shell
from .detector_maps import DetectorMaps, detector_maps
from .pseudo_translation import PseudoTranslation, pseudo_translation
from .radiation_damage import RadiationDamage, radiation_damage
from .regions import Regions
from .resolution import Resolution
from .rogues import Rogues, find_rogues
from .scaled_data import ScaledData
from .systematic import find_regions
from .twinning import TwinAnalysis, twin_analysis
from .wilson import WilsonAnalysis, wilson_plot

__all__ = ["Analyses", "Analysis", "analyse"]

_logger = logging.getLogger(__name__)

_START = 0.8
"""Part of a job that is done before, for progress."""


class Analysis(Protocol):
    """What every analysis offers. It is silent where all is well: `text` may be empty, `warnings` too."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""

    def text(self) -> str:
        """Lines for the log."""

    def warnings(self) -> list[str]:
        """What a user must know, each one sentence or two that say what to do about it."""


@dataclass(frozen=True, kw_only=True)
class Analyses:
    """The analyses of a job; None where the data do not allow one."""

    resolution: Resolution | None = None
    anisotropy: Anisotropy | None = None
    by_data_set: ByDataSet | None = None
    by_image: ByImage | None = None
    by_shell: ByShell | None = None
    detector: DetectorMaps | None = None
    beams: Beams | None = None
    radiation_damage: RadiationDamage | None = None
    rogues: Rogues | None = None
    regions: Regions | None = None
    wilson: WilsonAnalysis | None = None
    pseudo_translation: PseudoTranslation | None = None
    twinning: TwinAnalysis | None = None
    absences: AbsenceAnalysis | None = None
    anomalous_signal: AnomalousAnalysis | None = None

    def __iter__(self) -> Iterator[tuple[str, Analysis]]:
        for f in fields(self):
            analysis = getattr(self, f.name)
            if analysis is not None:
                yield f.name, analysis

    def to_dict(self) -> dict[str, Any]:
        """Plain values by the name of the analysis, null where there is none."""
        return {f.name: None for f in fields(self)} | {name: analysis.to_dict() for name, analysis in self}

    def warnings(self) -> list[str]:
        """Return what all of them warn of."""
        return [warning for _, analysis in self for warning in analysis.warnings()]


def analyse(data: ScaledData) -> Analyses:
    """Make all analyses, and log what they say."""
    limits = data.limits.with_statistics(data.statistics)
    analyses = Analyses(resolution=limits.resolution, anisotropy=limits.anisotropy, **_made(data))
    for _, analysis in analyses:
        if text := analysis.text():
            _logger.info("%s", text, extra={"console": False})
        for warning in analysis.warnings():
            _logger.warning("%s", warning)
    return analyses


def _made(data: ScaledData) -> dict[str, Any]:
    """The other analyses by name."""
    agreement, pairs = Agreement(data), Pairs.of(data)
    cell, space_group = data.unit_cell, data.space_group
    made: dict[str, Any] = {}
    makers: dict[str, Callable[[], Any]] = {
        "by_image": lambda: by_image(data, agreement, pairs, ImageBins.of(data)),
        "by_data_set": lambda: by_data_set(data, agreement, pairs),
        "by_shell": lambda: by_shell(data, agreement, pairs),
        "detector": lambda: detector_maps(data),
        "beams": lambda: beam_directions(data),
        "radiation_damage": lambda: radiation_damage(data, made["by_image"]),
        "rogues": lambda: find_rogues(data, data.options.output.rogues),
        "regions": lambda: find_regions(data),
        "pseudo_translation": lambda: pseudo_translation(data.normalised, cell, space_group),
        "wilson": lambda: wilson_plot(data.normalised, cell, space_group, _wavelength(data)),
        "twinning": lambda: twin_analysis(data.normalised, cell, space_group, made["pseudo_translation"]),
        "absences": lambda: absence_analysis(data),
        "anomalous_signal": lambda: anomalous_analysis(data),
    }
    for number, (name, make) in enumerate(makers.items()):
        done = number / len(makers)
        report_progress("analyses", _START + (1.0 - _START) * done, f"analyses: {name.replace('_', ' ')}")
        made[name] = make()
    return made


def _wavelength(data: ScaledData) -> float:
    return wavelengths([data.prepared[0].data_set.experiment])[0]
