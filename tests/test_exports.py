"""MTZ files of a whole job, read back by gemmi."""

from __future__ import annotations

import json
import math
from pathlib import Path

import gemmi
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from pyscale.exports import write_json, write_merged, write_unmerged
from pyscale.result import ScalingResult
from pyscale.symmetry import d_spacing


@pytest.fixture(scope="module")
def merged(small_result: ScalingResult, tmp_path_factory: pytest.TempPathFactory) -> gemmi.Mtz:
    path = tmp_path_factory.mktemp("merged") / "merged.mtz"
    write_merged(small_result, path)
    return gemmi.read_mtz_file(str(path))


@pytest.fixture(scope="module")
def unmerged(small_result: ScalingResult, tmp_path_factory: pytest.TempPathFactory) -> gemmi.Mtz:
    path = tmp_path_factory.mktemp("unmerged") / "unmerged.mtz"
    write_unmerged(small_result, path)
    found = gemmi.read_mtz_file(str(path))
    assert found.switch_to_original_hkl()
    return found


def column(mtz: gemmi.Mtz, label: str) -> np.ndarray:
    return np.array(mtz.column_with_label(label), dtype=np.float64)


def used(result: ScalingResult) -> np.ndarray:
    return ~result.scaled.outlier & ~result.scaled.small_scale


def test_unmerged_rows_are_the_observations(small_result: ScalingResult, unmerged: gemmi.Mtz) -> None:
    result, observations = small_result, small_result.observations
    rows = used(result)
    absent = np.count_nonzero(observations.absent & rows)
    assert unmerged.nreflections == result.statistics.overall.n_obs + absent
    # rows of both in an order of their own: Miller index, scale, intensity (single precision in the file)
    index = unmerged.make_miller_array()
    intensity, g = column(unmerged, "I"), column(unmerged, "SCALEUSED")
    scaled = (observations.intensity / result.scaled.g)[rows]
    sigma = (np.sqrt(result.scaled.variance) / result.scaled.g)[rows]
    theirs = np.lexsort((intensity, *index.T))
    ours = np.lexsort((scaled.astype(np.float32), *observations.miller_index[rows].T))
    assert_array_equal(index[theirs], observations.miller_index[rows][ours])
    assert_allclose(intensity[theirs], scaled[ours], rtol=1e-6)
    assert_allclose(g[theirs], result.scaled.g[rows][ours], rtol=1e-6)
    assert_allclose(column(unmerged, "SIGI")[theirs], sigma[ours], rtol=1e-3)
    assert_allclose(column(unmerged, "SIGSCALEUSED")[theirs], np.sqrt(result.scaled.g_variance[rows][ours]), rtol=1e-5)


def test_unmerged_batches_are_the_images(small_result: ScalingResult, unmerged: gemmi.Mtz) -> None:
    result, observations = small_result, small_result.observations
    rows = used(result)
    assert len(unmerged.batches) == sum(
        last - first + 1 for first, last in (d.experiment.image_range for d in result.job.data_sets)
    )
    per_sweep = np.bincount(observations.data_set[rows])
    batch = column(unmerged, "BATCH")
    offset = unmerged.batches[80].number
    assert [np.count_nonzero(batch < offset), np.count_nonzero(batch >= offset)] == per_sweep.tolist()
    # a degree per image: the angle of each row lies within its image
    rot = column(unmerged, "ROT")
    image = np.where(batch < offset, batch - unmerged.batches[0].number, batch - offset)
    assert np.all((rot > image - 1e-3) & (rot < image + 1 + 1e-3))


def test_unmerged_rows_merge_to_the_merged_file(unmerged: gemmi.Mtz, merged: gemmi.Mtz) -> None:
    found = gemmi.Intensities()
    columns = (column(unmerged, "I"), column(unmerged, "SIGI"))
    found.set_data(unmerged.cell, unmerged.spacegroup, unmerged.make_miller_array(), *columns)
    found.remove_systematic_absences()
    found.merge_in_place(gemmi.DataType.Mean)
    ours = dict(zip(map(tuple, merged.make_miller_array().tolist()), column(merged, "IMEAN"), strict=True))
    theirs = {tuple(h): i for h, i in zip(found.miller_array.tolist(), found.value_array, strict=True)}
    assert ours.keys() == theirs.keys()
    assert_allclose([theirs[h] for h in ours], list(ours.values()), rtol=1e-4)


def test_merged_counts_are_those_of_the_document(
    small_result: ScalingResult, merged: gemmi.Mtz, tmp_path: Path
) -> None:
    path = tmp_path / "pyscale.scale.json"
    write_json(small_result, path)
    document = json.loads(path.read_text())
    overall = document["merging_statistics"]["overall"]
    assert merged.nreflections == overall["n_unique"]
    assert document["merging_statistics"]["anomalous"]["overall"]["n_obs"] == overall["n_obs"]
    if merged.column_with_label("N") is not None:
        assert column(merged, "N").sum() == overall["n_obs"]
    n_mates = sum(np.count_nonzero(np.isfinite(column(merged, label))) for label in ("I(+)", "I(-)"))
    centric = np.array(
        [small_result.space_group.operations().is_reflection_centric(h) for h in merged.make_miller_array()]
    )
    n_centric = np.count_nonzero(centric & np.isfinite(column(merged, "I(-)")))
    assert n_mates - n_centric == document["merging_statistics"]["anomalous"]["overall"]["n_unique"]
    assert merged.spacegroup.xhm() == document["space_group"]
    assert merged.cell.parameters == pytest.approx(document["unit_cell"], rel=1e-5)
    d = d_spacing(tuple(document["unit_cell"]), merged.make_miller_array().astype(np.int32))
    assert [d.max(), d.min()] == pytest.approx([overall["d_max"], overall["d_min"]], rel=1e-9)


def test_merged_intensities_are_weighted_means(small_result: ScalingResult, merged: gemmi.Mtz) -> None:
    result, observations = small_result, small_result.observations
    rows = used(result) & ~observations.absent
    weight = np.where(rows, result.scaled.g**2 / result.scaled.variance, 0.0)
    total = np.bincount(observations.group, weight)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(observations.group, weight * observations.intensity / result.scaled.g) / total
    expected = np.sort(mean[total > 0])
    assert_allclose(np.sort(column(merged, "IMEAN")), expected, rtol=2e-6, atol=1e-5)
    # the uncertainty of the scales joins that of counting, as far as equivalents have it in common
    u = weight * np.sqrt(result.scaled.g_variance) / result.scaled.g
    r = result.scaled.scale_correlation[observations.offsets[:-1], 1]
    of_scale = r * np.bincount(observations.group, u) ** 2 + (1 - r) * np.bincount(observations.group, u**2)
    with np.errstate(invalid="ignore"):
        sigma = np.hypot(total**-0.5, mean * np.sqrt(of_scale) / total)
    assert_allclose(np.sort(column(merged, "SIGIMEAN")), np.sort(sigma[total > 0]), rtol=1e-5)
    signal = np.mean(mean[total > 0] * np.sqrt(total[total > 0]))
    assert result.statistics.overall.i_over_sigma == pytest.approx(signal, rel=1e-9)
    assert math.isfinite(signal)
