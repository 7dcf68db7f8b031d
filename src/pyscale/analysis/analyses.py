"""All analyses of a job, in the order in which people read them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Protocol

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
    agreement, pairs = Agreement(data), Pairs.of(data)
    images = by_image(data, agreement, pairs, ImageBins.of(data))
    cell, space_group = data.unit_cell, data.space_group
    translation = pseudo_translation(data.normalised, cell, space_group)
    analyses = Analyses(
        resolution=limits.resolution,
        anisotropy=limits.anisotropy,
        by_data_set=by_data_set(data, agreement, pairs),
        by_image=images,
        by_shell=by_shell(data, agreement, pairs),
        detector=detector_maps(data),
        beams=beam_directions(data),
        radiation_damage=radiation_damage(data, images),
        rogues=find_rogues(data, data.options.output.rogues),
        regions=find_regions(data),
        wilson=wilson_plot(data.normalised, cell, space_group, _wavelength(data)),
        pseudo_translation=translation,
        twinning=twin_analysis(data.normalised, cell, space_group, translation),
        absences=absence_analysis(data),
        anomalous_signal=anomalous_analysis(data),
    )
    for _, analysis in analyses:
        if text := analysis.text():
            _logger.info("%s", text, extra={"console": False})
        for warning in analysis.warnings():
            _logger.warning("%s", warning)
    return analyses


def _wavelength(data: ScaledData) -> float:
    return wavelengths([data.prepared[0].data_set.experiment])[0]
