"""What `pyscale show` tells about files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import other_formats
import pyscale
from pyscale.cli import main
from pyscale.dataset import make_job
from pyscale.description import describe_files, describe_job
from pyscale.errors import DataError
from pyscale.experiment import ExperimentList
from pyscale.io.expt import write_expt
from pyscale.io.refl import write_refl
from pyscale.reflections import Flag, ReflectionTable


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    model = {
        "__id__": "physical",
        "scale": {"n_parameters": 7, "parameters": [1.0] * 7},
        "configuration_parameters": {
            "scale_rot_interval": 12.5,
            "error_model_type": "BasicErrorModel",
            "error_model_parameters": [1.25, 0.03],
        },
    }
    document = {
        "experiment": [{"identifier": "[bold]x", "beam": 0, "scan": 0, "goniometer": 0, "scaling_model": 0}],
        "beam": [{"wavelength": -1.0}],
        "goniometer": [{}],
        "scan": [
            {
                "image_range": [1, 90],
                "oscillation": [5.0, 0.5],
                "valid_image_ranges": {"[bold]x": [[1, 20], [30, 90]]},
            }
        ],
        "scaling_model": [model],
    }
    table = ReflectionTable()
    table["id"] = np.array([0, 0, -1], np.int32)
    table["flags"] = np.array([Flag.scaled | Flag.integrated_sum, Flag.scaled, 0], np.uint64)
    table["d"] = np.array([1.5, np.nan, 9.0])
    write_expt(ExperimentList(document), tmp_path / "x.expt")
    write_refl(table, tmp_path / "x.refl")
    return str(tmp_path / "x.expt"), str(tmp_path / "x.refl")


def words(text: str, start: str) -> list[str]:
    (line,) = (x for x in text.splitlines() if x.startswith(start))
    return line.split()


def test_data_sets_columns_flags_and_models_are_shown(files: tuple[str, str]) -> None:
    text = describe_job(pyscale.read(*files))
    assert words(text, "0  [bold]x")[2:] == [
        *("1-90", "(valid:", "1-20,", "30-90)"),
        *("5", "to", "50", "by", "0.5°"),
        *("-", "-", "?", "2"),
    ]
    flat = " ".join(text.split())
    assert "wavelength -1.0 is not positive" in flat
    assert "1 more rows belong to no data set" in flat
    assert words(text, "d ") == ["d", "double", "1.5", "to", "1.5,", "1", "values", "not", "finite"]
    assert words(text, "scaled ") == ["scaled", "2"]
    assert words(text, "integrated_sum ") == ["integrated_sum", "1"]
    assert words(text, "0  physical") == [
        *("0", "physical", "scale", "7", "scale_rot_interval", "12.5"),
        *("BasicErrorModel", "[1.25,", "0.03]"),
    ]


def test_files_are_shown_together_or_alone(files: tuple[str, str]) -> None:
    assert describe_files(files) == describe_job(pyscale.read(*files))
    assert "1 stored scaling models" in describe_files(files[:1])
    assert "3 reflections, 3 columns" in describe_files(files[1:])


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("text")
    with pytest.raises(DataError, match="is of no kind that pyscale reads"):
        describe_files([str(tmp_path / "x")])


def test_ranges_are_those_of_the_reflections() -> None:
    data = pyscale.simulate(d_min=4.0, sweep_width=20.0, oscillation_width=1.0, seed=3)
    table = data.reflections()
    flags = table["flags"].copy()
    flags[::2] = 0
    table["flags"] = flags
    text = describe_job(make_job(data.experiments(), [table]))
    row = text[text.index("images with reflections") :].splitlines()[1].split()
    measured = flags != 0
    ratio = (table["intensity.prf.value"] / np.sqrt(table["intensity.prf.variance"]))[measured]
    d = 1.0 / np.sqrt(((table["miller_index"][measured] / [38.0, 48.0, 62.0]) ** 2).sum(axis=1))
    z = table["xyzobs.px.value"][measured, 2]
    images = f"{int(np.floor(z.min())) + 1}-{int(np.floor(z.max())) + 1}"
    assert row == [
        *("0", str(int(measured.sum())), f"{d.max():.2f}", "to", f"{d.min():.2f}", "Å", images),
        *(f"{ratio.mean():.2f}", f"{100 * np.mean(ratio > 3):.1f}", "%"),
    ]
    assert "Missing" not in text
    del table["s1"]
    text = describe_job(make_job(data.experiments(), [table]))
    assert "Missing: no directions of diffracted beams (s1): no absorption surface" in text


def test_other_programs_files_are_shown_whatever_they_lack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batches = other_formats.simulated_batches(3)
    path = tmp_path / "x.hkl"
    path.write_text(other_formats.hklf4_text(batches.index, batches.intensity, batches.sigma, batches.batch))
    assert main(["show", str(path)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "3 data sets" in text and "intensity.sum.value" in text
    assert "Missing: no unit cell: nothing can be scaled" in text
    assert "Missing: no rotation angles: model=KB" in text
    assert "Before it can be scaled" in text and "give unit_cell=" in text
    assert "3 data sets (batch_1_" in text
    assert main(["show", str(path), "unit_cell=30,40,55,90,90,90", "space_group=P222"]) == 0
    text = capsys.readouterr().out
    assert "Before it can be scaled" not in text and "P 2 2 2" in text and "30.000 40.000 55.000" in text


def test_streams_of_lattices_of_two_laue_classes_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "x.stream"
    path.write_text(other_formats.stream_text(other_formats.simulated_stills(2), lattice="tetragonal"))
    text = describe_files([str(path)])
    assert "30.000 40.000 55.000" in text
    assert "Missing: no space group: nothing can be scaled" in text
