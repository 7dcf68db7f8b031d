"""Parts of sweeps as data sets of their own."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import chain, count, pairwise
from typing import Any

from ._core import __version__
from .dataset import Job, combine_tables, load_job
from .dataset_selection import DataSetNames
from .errors import UsageError
from .exclude_images import ImageCommand, centroid_z, parse_image_commands
from .experiment import Experiment, ExperimentList
from .image_ranges import ImageRange, common_ranges, valid_ranges
from .io.atomic import OutputSet
from .io.expt import write_expt
from .io.refl import write_refl
from .reflections import ReflectionTable

__all__ = ["SlicedJob", "slice_files", "slice_job"]

_logger = logging.getLogger(__name__)

_OPTION = "image_range"
_PER_SCAN_POINT = ("crystal", "beam", "goniometer")


@dataclass(frozen=True)
class SlicedJob:
    """A job some of whose sweeps were cut."""

    job: Job

    def write_outputs(
        self, output: Any, inputs: Iterable[str | os.PathLike[str]] = (), named_outputs: Collection[str] = ()
    ) -> None:
        """Write experiments and reflections, both or neither; see `ScalingResult.write_outputs`."""
        table = combine_tables(self.job, [d.reflections for d in self.job.data_sets])
        with OutputSet(inputs) as outputs:
            for name in ("experiments", "reflections"):
                path = outputs.stage(getattr(output, name), named_as_output=f"output.{name}" in named_outputs)
                if name == "experiments":
                    write_expt(self.job.experiments, path)
                else:
                    write_refl(table, path)

    def summary(self) -> str:
        """One line per data set: position, identifier, images, reflections."""
        lines = []
        for i, d in enumerate(self.job.data_sets):
            images = "-".join(map(str, d.experiment.image_range)) if d.experiment.image_range else "none"
            lines.append(f"data set {i}, {d.identifier}: images {images}, {len(d.reflections)} reflections")
        return "\n".join(lines)


def slice_files(files: Sequence[str | os.PathLike[str]], image_ranges: Sequence[str]) -> SlicedJob:
    """Read files and cut sweeps; see `slice_job`."""
    return slice_job(load_job(files), image_ranges)


def slice_job(job: Job, image_ranges: Sequence[str]) -> SlicedJob:
    """Cut sweeps into slices, each a data set with an identifier of its own in the place of the sweep.

    Data sets that no range names stay as they are. A reflection belongs to a slice if first - 1 <= z < last. Scaling
    models are not cut, but dropped.

    Parameters
    ----------
    job
        The job.
    image_ranges
        `data set:first:last`, as in exclude_images; several for one sweep must not overlap.

    Raises
    ------
    UsageError
        If there are no ranges, one is not within its scan, two overlap, or one holds no reflection.
    """
    commands = parse_image_commands(image_ranges, DataSetNames(tuple(job.identifiers)), _OPTION)
    if not commands:
        raise UsageError(f"option {_OPTION}: give the images of a slice, for example {_OPTION}=0:1:450")
    slices = [_slices_of(i, d.experiment, commands) for i, d in enumerate(job.data_sets)]
    for command in commands:
        if command.position is None and not any(command.images in s for s in slices):
            raise UsageError(f"option {command.text}: no scan has all these images")
    pieces: list[tuple[int, ImageRange | None]] = []
    for i, ranges in enumerate(slices):
        pieces += [(i, images) for images in ranges] or [(i, None)]
    experiments = _sliced_experiments(job, pieces)
    tables = [_sliced_table(job.data_sets[i].reflections, images) for i, images in pieces]
    for (i, images), table in zip(pieces, tables, strict=True):
        if images is not None and len(table) == 0:
            where = "{}:{}:{}".format(job.identifiers[i], *images)
            raise UsageError(f"option {_OPTION}={where}: no reflection lies on these images")
    stamp = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    experiments.add_history(f"{stamp}|pyscale slice|{__version__}|sliced")
    return SlicedJob(job.replaced(experiments, tables))


def _slices_of(position: int, experiment: Experiment, commands: Sequence[ImageCommand]) -> list[ImageRange]:
    """Ranges that the commands cut from one data set, in their order."""
    whole = None if experiment.is_still else experiment.image_range
    found = []
    for command in commands:
        if command.position not in (None, position):
            continue
        first, last = command.images
        if whole is not None and whole[0] <= first and last <= whole[1]:
            if not common_ranges(valid_ranges(experiment), [command.images]):
                raise UsageError(f"option {command.text}: all these images are excluded in an earlier job")
            found.append(command.images)
        elif command.position is not None:
            scan = "a still, without a scan" if whole is None else "{} to {}".format(*whole)
            raise UsageError(f"option {command.text}: data set {experiment.identifier} has other images ({scan})")
    for left, right in pairwise(sorted(found)):
        if right[0] <= left[1]:
            raise UsageError(
                f"option {_OPTION}: slices {left[0]} to {left[1]} and {right[0]} to {right[1]} of data set "
                f"{experiment.identifier} overlap; an observation must not count twice"
            )
    return found


def _sliced_experiments(job: Job, pieces: Sequence[tuple[int, ImageRange | None]]) -> ExperimentList:
    experiments = job.experiments.select(i for i, _ in pieces)
    taken = set(job.identifiers)
    dropped = []
    for k, (i, images) in enumerate(pieces):
        if images is None:
            continue
        _cut_models(experiments, k, job.experiments[i], images)
        name = "{}_{}_{}".format(job.identifiers[i], *images)
        identifier = next(n for n in chain([name], (f"{name}_{m}" for m in count(2))) if n not in taken)
        taken.add(identifier)
        experiments.set_identifier(k, identifier)
        if job.experiments[i].scaling_model is not None:
            experiments.set_scaling_model(k, None)
            dropped.append(identifier)
    if dropped:
        _logger.info(
            "The scaling models of %s are dropped: they are those of the whole sweeps; scale the slices again",
            ", ".join(dropped),
            extra={"notice": True},
        )
    return experiments


def _cut_models(experiments: ExperimentList, k: int, whole: Experiment, images: ImageRange) -> None:
    """Cut all that experiment k stores per image, or per scan point, to a range of images."""
    assert whole.image_range is not None
    n_images = whole.image_range[1] - whole.image_range[0] + 1
    part = slice(images[0] - whole.image_range[0], images[1] - whole.image_range[0] + 1)
    experiments.set_model(k, "scan", _cut_scan(whole, n_images, part, images))
    for key in _PER_SCAN_POINT:
        _cut_model(experiments, k, key, lambda name, _: name.endswith("_at_scan_points"), n_images + 1, part, 1)
    _cut_model(experiments, k, "profile", lambda _, model: bool(model.get("scan_varying")), n_images, part)
    # An entry of its own: DIALS joins the scans of experiments that share one.
    experiments.unshare_model(k, "imageset")
    _cut_model(experiments, k, "imageset", lambda name, _: name in ("images", "single_file_indices"), n_images, part)


def _cut_model(
    experiments: ExperimentList, k: int, key: str, is_cut: Any, n_entries: int, part: slice, n_more: int = 0
) -> None:
    """Cut those lists of a model that have entries for each image (or scan point, one more than images)."""
    model = experiments.model(k, key)
    if model is None:
        return
    cut = {name: _cut_list(value, n_entries, part, n_more) for name, value in model.items() if is_cut(name, model)}
    if cut:
        experiments.set_model(k, key, {**model, **cut})


def _cut_list(value: Any, n_entries: int, part: slice, n_more: int = 0) -> Any:
    if not isinstance(value, list) or not value or len(value) % n_entries:
        return value
    per_entry = len(value) // n_entries
    return value[part.start * per_entry : (part.stop + n_more) * per_entry]


def _cut_scan(whole: Experiment, n_images: int, part: slice, images: ImageRange) -> dict[str, Any]:
    scan: dict[str, Any] = {**(whole.scan or {}), "image_range": list(images)}
    oscillation = whole.oscillation
    assert oscillation is not None
    start, width = oscillation
    if scan.get("oscillation") is not None:
        scan["oscillation"] = [start + width * part.start, width]
    for name in ("exposure_time", "epochs"):
        if name in scan:
            scan[name] = _cut_list(scan[name], n_images, part)
    if scan.get("properties"):
        properties = {name: _cut_list(value, n_images, part) for name, value in scan["properties"].items()}
        if len(properties.get("oscillation", ())) == 1:
            properties["oscillation_width"] = width
        scan["properties"] = properties
    stored = (scan.get("valid_image_ranges") or {}).get(whole.identifier)
    if "valid_image_ranges" in scan:
        kept = [list(r) for r in common_ranges(valid_ranges(whole), [images])]
        scan["valid_image_ranges"] = {whole.identifier: kept} if stored else {}
    return scan


def _sliced_table(table: ReflectionTable, images: ImageRange | None) -> ReflectionTable:
    if images is None:
        return table
    z = centroid_z(table)
    return table.select((z >= images[0] - 1) & (z < images[1]))
