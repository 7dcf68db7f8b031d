"""The search for regions that deviate systematically, the most significant kind first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..progress import checkpoint
from ..typing import BoolArray, FloatArray
from .cells import DetectorCells, ImageCells, Rings, detector_cells, image_cells, resolution_rings
from .detection import CellSums, Findings, RowTerms, cell_sums, components, find_deviating, local_median, threshold
from .regions import DeviationMap, Region, Regions, rectangles, rounded_map
from .scaled_data import LARGEST_DEVIATION, ScaledData

__all__ = ["find_regions"]

_PASSES = 4
_STRONG = 3.0
_LOW_FIRST = 2.0
_NEIGHBOURS = 10
_MIN_MAPPED = 10
_SUFFICIENT_ROWS = 1000
ICE = (3.895, 3.661, 3.438, 2.667, 2.247, 2.068, 1.947, 1.916, 1.882, 1.719, 1.522, 1.473, 1.442, 1.372, 1.367)
"""Spacings of hexagonal ice, Angstrom."""


@dataclass(frozen=True)
class _Found:
    """A region, its observations, and how much it stands out."""

    region: Region
    rows: BoolArray
    weight: float


class _Search:
    """Cells of a job, and what is looked at in them."""

    def __init__(self, data: ScaledData) -> None:
        self.data = data
        self.detectors = detector_cells(data)
        self.sweeps = image_cells(data)
        self.rings = resolution_rings(data)
        self.n_rings = self.rings.edges.size - 1
        self.gone = np.zeros(len(data), np.bool_)
        self.terms: RowTerms
        self.mean: FloatArray
        self.spread = (1.0, 1.0)
        self.ring_sums: CellSums
        self.detector_sums: list[CellSums]
        self.map_sums: list[CellSums]

    @property
    def n_cells(self) -> dict[str, int]:
        """Number of cells of each kind."""
        return {
            "detector": sum(d.n_blocks * (d.n_maps + (d.n_maps > 1)) for d in self.detectors),
            "images": 0 if self.sweeps is None else int(self.sweeps.offsets[-1]),
            "resolution": self.n_rings,
        }

    @property
    def limit(self) -> float:
        """Significance needed."""
        return threshold(3 * sum(self.n_cells.values()))

    def look(self) -> None:
        """Compare observations with their equivalents, none of which are in regions found so far."""
        data = self.data
        mean, sigma, z = data.compare(data.merged & ~self.gone) if self.gone.any() else data.comparison
        checkpoint()
        deviation = np.clip(z, -LARGEST_DEVIATION, LARGEST_DEVIATION)
        deviation[self.gone] = np.nan
        terms = RowTerms(deviation, deviation**2, data.expected / sigma, data.scaled.outlier)
        rings = cell_sums(self.rings.key, terms, self.n_rings)
        usual = np.maximum(local_median(rings.mean_square, rings.n, _NEIGHBOURS), 1e-3)
        self.terms = replace(terms, square=terms.square / usual[self.rings.key])
        self.ring_sums = replace(rings, square=rings.square / usual)
        self.mean = mean
        checkpoint()
        if self.terms.use.any():
            used = self.terms.use
            self.spread = (max(float(deviation[used].std()), 0.1), float(self.terms.square[used].std()))
        self.detector_sums = [self._sums_of(detector) for detector in self.detectors]
        if not self.gone.any():
            self.map_sums = self.detector_sums

    def found(self) -> list[_Found]:
        """All regions that now stand out."""
        if np.count_nonzero(self.terms.use) < _SUFFICIENT_ROWS:
            return []
        return [*self._on_detectors(), *self._in_sweeps(), *self._in_rings()]

    def _on_detectors(self) -> Iterator[_Found]:
        for detector, sums in zip(self.detectors, self.detector_sums, strict=True):
            yield from self._on_detector(detector, sums)

    def _sums_of(self, detector: DetectorCells) -> CellSums:
        """Sums of the maps of a detector, (maps, panels, ny, nx)."""
        sums = cell_sums(detector.key, self.terms, detector.n_maps * detector.n_blocks)
        return sums.map(lambda a: a.reshape(detector.n_maps, *detector.shape))

    def _on_detector(self, detector: DetectorCells, sums: CellSums) -> Iterator[_Found]:
        totals = sums.map(lambda a: a.sum(axis=(1, 2, 3), keepdims=True))
        own = find_deviating(sums, self.spread, self.limit, totals)
        if detector.n_maps == 1:
            yield from self._detector_regions(detector, _of(own, 0), None)
            return
        common = own.seeds.sum(axis=0) > 0.5 * (sums.n > 0).sum(axis=0)
        left = ~own.seeds | common
        joint = find_deviating(
            sums.map(lambda a: (a * left).sum(axis=0)),
            self.spread,
            self.limit,
            totals.map(lambda a: a.sum(axis=0)),
        )
        for m in range(detector.n_maps):
            yield from self._detector_regions(detector, _of(own, m, ~common & ~joint.seeds), m)
        yield from self._detector_regions(detector, joint, None)

    def _detector_regions(self, detector: DetectorCells, findings: Findings, number: int | None) -> Iterator[_Found]:
        n_data_sets = len(self.data.prepared)
        name = None if number is None else self.data.prepared[int(detector.data_sets[number])].identifier
        if number is None and detector.data_sets.size < n_data_sets and detector.data_sets.size == 1:
            name = self.data.prepared[int(detector.data_sets[0])].identifier
        for panel in range(detector.shape[0]):
            of_panel = _of(findings, panel)
            for finding, mask in components(of_panel):
                areas = rectangles(mask)
                covered = np.zeros_like(mask)
                for area in areas:
                    covered[area] = True
                cells = np.zeros((detector.n_maps, *detector.shape), np.bool_)
                cells[slice(None) if number is None else number, panel] = covered
                limits = [list(detector.limits(*area)) for area in areas]
                prefix = "" if name is None else f"{name}:"
                options = [f"exclude_regions={prefix}{panel}:{':'.join(map(str, box))}" for box in limits]
                rows = (detector.key >= 0) & cells.ravel()[detector.key]
                significance = float(of_panel.significance[mask].max())
                yield self._describe(
                    "detector", finding, rows, significance, options, data_set=name, panel=panel, rectangles=limits
                )

    def _in_sweeps(self) -> Iterator[_Found]:
        sweeps = self.sweeps
        if sweeps is None:
            return
        sums = cell_sums(sweeps.key, self.terms, int(sweeps.offsets[-1]))
        for k, (begin, end) in enumerate(zip(sweeps.offsets[:-1].tolist(), sweeps.offsets[1:].tolist(), strict=True)):
            of_sweep = sums.part(begin, end)
            findings = find_deviating(of_sweep, self.spread, self.limit, of_sweep.map(np.sum))
            for finding, mask in components(findings) if findings.seeds.any() else ():
                yield self._image_region(sweeps, k, finding, mask, float(findings.significance[mask].max()))

    def _image_region(self, sweeps: ImageCells, k: int, finding: str, mask: BoolArray, significance: float) -> _Found:
        cells = np.flatnonzero(mask)
        span = slice(int(cells[0]), int(cells[-1]) + 1)
        images = sweeps.images(k, span)
        identifier = self.data.prepared[int(sweeps.data_sets[k])].identifier
        first = int(sweeps.offsets[k])
        rows = (sweeps.key >= first + span.start) & (sweeps.key < first + span.stop)
        options = [f"exclude_images={identifier}:{images[0]}:{images[1]}"]
        return self._describe("images", finding, rows, significance, options, data_set=identifier, images=list(images))

    def _in_rings(self) -> Iterator[_Found]:
        sums = self.ring_sums
        findings = find_deviating(sums, self.spread, self.limit, sums.map(np.sum), with_bias=False)
        for finding, mask in components(findings) if findings.seeds.any() else ():
            rings = np.flatnonzero(mask)
            span = slice(int(rings[0]), int(rings[-1]) + 1)
            yield self._ring_region(self.rings, finding, span, float(findings.significance[mask].max()))

    def _ring_region(self, rings: Rings, finding: str, span: slice, significance: float) -> _Found:
        low, high = float(rings.edges[span.start]), float(rings.edges[span.stop])
        d_max, d_min = round(1.0 / low + 5e-4, 3), round(1.0 / high - 5e-4, 3)
        rows = (rings.key >= span.start) & (rings.key < span.stop)
        ice = sorted((abs(d - 0.5 * (d_max + d_min)), d) for d in ICE if 0.997 * d_min <= d <= 1.003 * d_max)
        options = [f"exclude_resolution={d_max:.3f}:{d_min:.3f}"]
        return self._describe(
            "resolution",
            finding,
            rows,
            significance,
            options,
            d_range=[d_max, d_min],
            ice=ice[0][1] if ice else None,
        )

    def _describe(
        self,
        kind: str,
        finding: str,
        rows: BoolArray,
        significance: float,
        options: list[str],
        *,
        data_set: str | None = None,
        panel: int | None = None,
        rectangles: list[list[int]] | None = None,
        images: list[int] | None = None,
        d_range: list[float] | None = None,
        ice: float | None = None,
    ) -> _Found:
        checkpoint()
        data, use = self.data, rows & self.terms.use
        strong = np.flatnonzero(use & (data.expected > _STRONG * np.sqrt(data.variance)))
        strong = strong[self.mean[strong] > 0]
        ratio = float(np.median(data.intensity[strong] / self.mean[strong])) if strong.size else None
        others = self.terms.use & ~rows
        elsewhere = float(self.terms.square[others].mean()) if others.any() else 1.0
        region = Region(
            kind=kind,
            finding=finding,
            data_set=data_set,
            panel=panel,
            rectangles=rectangles or [],
            images=images,
            d_range=d_range,
            n_observations=int(np.count_nonzero(use)),
            n_rejected=int(np.count_nonzero(use & self.terms.rejected)),
            fraction=int(np.count_nonzero(use)) / max(int(np.count_nonzero(self.terms.use)), 1),
            relative_intensity=ratio,
            mean_deviation=float(self.terms.deviation[use].mean()) if use.any() else 0.0,
            relative_mean_square=float(self.terms.square[use].mean()) / max(elsewhere, 1e-9) if use.any() else 0.0,
            significance=significance,
            ice=ice,
            options=options,
        )
        # Where a part is too low, its equivalents look too high.
        return _Found(region, rows, significance * (_LOW_FIRST if finding == "low" else 1.0))


def _of(findings: Findings, number: int, where: BoolArray | None = None) -> Findings:
    """One map or panel of findings, limited to some cells."""
    parts = {name: getattr(findings, name)[number] for name in findings.__dataclass_fields__}
    if where is not None:
        parts = {name: part & where if part.dtype == np.bool_ else part for name, part in parts.items()}
    return Findings(**parts)


def find_regions(data: ScaledData) -> Regions | None:
    """Look for regions of the detector, of rotation and of resolution that disagree with their equivalents elsewhere.

    The region that stands out most is set aside, together with others of its kind that do so nearly as much, and the
    rest is compared anew without it: what disagrees with it alone is not found in turn.
    """
    if np.count_nonzero(np.isfinite(data.comparison[2])) < _SUFFICIENT_ROWS:
        return None
    search = _Search(data)
    regions: list[Region] = []
    for _ in range(_PASSES):
        search.look()
        found = search.found()
        if not found:
            break
        most = max(f.weight for f in found)
        kind = next(f.region.kind for f in found if f.weight == most)
        chosen = [f for f in found if f.region.kind == kind and f.weight >= 0.7 * most]
        secondary = bool(regions)
        regions += [replace(f.region, secondary=secondary) for f in sorted(chosen, key=lambda f: -f.weight)]
        search.gone |= np.logical_or.reduce([f.rows for f in chosen])
    return Regions(n_cells=search.n_cells, regions=regions, map=_map(search, regions))


def _map(search: _Search, regions: list[Region]) -> DeviationMap | None:
    """Mean deviations on the panel with most alarm, of the data set with it or of all."""
    if not search.detectors:
        return None
    worst = next((r for r in regions if r.kind == "detector"), None)
    names = [p.identifier for p in search.data.prepared]
    k, number, panel = 0, None, 0
    if worst is not None:
        panel = int(worst.panel or 0)
        if worst.data_set is not None:
            data_set = names.index(worst.data_set)
            k = next(k for k, d in enumerate(search.detectors) if data_set in d.data_sets)
            of_detector = search.detectors[k].data_sets.tolist()
            number = of_detector.index(data_set) if search.detectors[k].n_maps > 1 else None
    detector, sums = search.detectors[k], search.map_sums[k]
    own = sums.map(lambda a: a.sum(axis=0)[panel] if number is None else a[number, panel])
    _, ny, nx = detector.shape
    w, h = detector.size
    return DeviationMap(
        data_set=None if number is None else names[int(detector.data_sets[number])],
        panel=panel,
        x=[round(k * w / nx, 1) for k in range(nx + 1)],
        y=[round(k * h / ny, 1) for k in range(ny + 1)],
        mean_deviation=rounded_map(own.mean, own.n >= _MIN_MAPPED),
    )
