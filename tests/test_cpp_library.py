"""The C++ library as its users have it: from the installed package and from the source tree."""

from __future__ import annotations

import importlib.util
import re
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

from cpp_builds import ROOT, consumer_of_installation, consumer_of_source, default_build, run, tool
from cpp_twin import Twin
from cpp_twin_data import Input
from pyscale import _core
from pyscale.cmake_package import cmake_dir
from pyscale.symmetry import rotation_matrices

CELL = (79.0, 79.0, 37.5, 90.0, 90.0, 90.0)
SPACE_GROUP, IMAGE_WIDTH = 96, 0.5
DTYPES = {"outlier": np.uint8, "disputed": np.uint8, "merged_row": np.int64}
INDICES = ("merged_index", "anomalous_index")


def simulated(n_sweeps: int, *, geometry: bool = False, seed: int = 3) -> Input:
    """Reflections of a tetragonal crystal in random equivalents, with scales that vary, outliers and a bad pair."""
    rng = np.random.default_rng(seed)
    unique = np.array([(h, k, l) for h in range(1, 15) for k in range(h + 1) for l in range(1, 8)], np.int32)
    n = len(unique) * 8
    which = rng.integers(0, len(unique), n)
    rotations = rotation_matrices(gemmi.SpaceGroup(SPACE_GROUP))
    miller_index = np.einsum("ni,nij->nj", unique[which], rotations[rng.integers(0, len(rotations), n)])
    data_set = rng.integers(0, n_sweeps, n).astype(np.int32)
    image_z = rng.uniform(0.0, 180.0, n)
    truth = rng.exponential(500.0, len(unique))[which]
    g = (1.0 + 0.3 * np.sin(image_z / 40.0)) * np.array([1.0, 3.0, 0.4])[data_set]
    variance = 100.0 + g * truth
    intensity = g * truth + np.sqrt(variance + (0.04 * g * truth) ** 2) * rng.normal(size=n)
    wild = rng.choice(n, n // 200, replace=False)
    intensity[wild] += 3000.0 * rng.exponential(size=wild.size)
    s1 = np.column_stack([rng.uniform(-0.3, 0.3, (n, 2)), np.full(n, -1.0)])
    return Input(
        cell=CELL,
        space_group=SPACE_GROUP,
        miller_index=np.ascontiguousarray(miller_index, np.int32),
        intensity=intensity,
        variance=variance,
        image_z=image_z,
        data_set=data_set,
        n_sweeps=n_sweeps,
        image_width=IMAGE_WIDTH,
        s1=s1 if geometry else None,
        x_px=rng.uniform(0, 2000, n) if geometry else None,
        y_px=rng.uniform(0, 2000, n) if geometry else None,
    )


def scaled(
    program: Path, given: Input, directory: Path, model: str, n_threads: int = 1, anomalous: bool = False
) -> dict:
    """What the consumer program makes of reflections."""
    directory.mkdir()
    for name in ("miller_index", "intensity", "variance", "image_z", "data_set", "s1", "x_px", "y_px", "group"):
        values = getattr(given, name)
        if values is not None:
            values.tofile(directory / name)
    cell = [str(x) for x in given.cell]
    rest = (str(given.space_group), str(given.image_width), str(given.n_sweeps))
    run(program, directory, model, str(n_threads), str(int(anomalous)), *cell, *rest)
    found: dict[str, Any] = {}
    for path in directory.glob("out_*"):
        name = path.name.removeprefix("out_")
        found[name] = np.fromfile(path, np.int32 if name in INDICES else DTYPES.get(name, np.float64))
    return found


def assert_same_bits(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, values in found.items():
        want = np.ascontiguousarray(expected[name]).ravel()
        want = want.astype(np.uint8) if want.dtype == np.bool_ else want
        assert values.dtype == want.dtype, name
        assert values.tobytes() == want.tobytes(), name


@pytest.fixture(scope="module")
def installed() -> Path:
    return consumer_of_installation() / "consumer"


def test_entry_point_leads_to_the_package() -> None:
    (entry,) = entry_points(group="cmake.root", name="pyscale")
    assert entry.value == "pyscale"
    # <root>/lib/cmake/pyscale is where CMake looks.
    assert cmake_dir().parts[-4:] == ("pyscale", "lib", "cmake", "pyscale")
    assert Path(run(tool("pyscale"), "--cmake-dir").strip()) == cmake_dir()


def test_installed_headers_need_neither_eigen_nor_python() -> None:
    headers = sorted((cmake_dir().parents[2] / "include" / "pyscale").glob("*.hpp"))
    names = {path.name for path in headers}
    assert {"scaling.hpp", "version.hpp"} <= names
    for path in headers:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"Eigen|Python|pybind11|_OPENMP", text), path
        assert set(re.findall(r"#include <pyscale/([^>]+)>", text)) <= names, path


@pytest.mark.parametrize(
    ("model", "n_sweeps", "anomalous"),
    [("physical", 1, False), ("KB", 3, True), ("array", 2, False)],
)
def test_equals_the_python_job_bit_for_bit(
    installed: Path, tmp_path: Path, model: str, n_sweeps: int, anomalous: bool
) -> None:
    given = simulated(n_sweeps, geometry=model != "KB")
    found = scaled(installed, given, tmp_path / "job", model, n_threads=2, anomalous=anomalous)
    assert_same_bits(found, Twin(given, model, anomalous=anomalous).run())
    assert np.count_nonzero(found["outlier"])


def test_group_numbers_do_as_well_as_operators(installed: Path, tmp_path: Path) -> None:
    given = simulated(1)
    groups = scaled(installed, given, tmp_path / "operators", "auto")["merged_row"]
    numbered = Input(**{**vars(given), "group": groups.astype(np.int64) * 7})
    found = scaled(installed, numbered, tmp_path / "numbers", "auto")
    assert_same_bits(found, Twin(numbered, "auto").run())
    assert np.array_equal(found["merged_row"], groups)


def test_source_tree_gives_the_same_bits(installed: Path, tmp_path: Path) -> None:
    given = simulated(2, geometry=True, seed=5)
    program = consumer_of_source() / "consumer"
    from_source = scaled(program, given, tmp_path / "source", "physical", n_threads=3)
    assert_same_bits(from_source, scaled(installed, given, tmp_path / "installed", "physical"))


def test_order_of_reflections_does_not_matter(installed: Path, tmp_path: Path) -> None:
    given = simulated(2, seed=6)
    order = np.random.default_rng(1).permutation(len(given.intensity))
    columns = ("miller_index", "intensity", "variance", "image_z", "data_set")
    shuffled = Input(**{**vars(given), **{name: np.ascontiguousarray(getattr(given, name)[order]) for name in columns}})
    a = scaled(installed, given, tmp_path / "a", "physical")
    b = scaled(installed, shuffled, tmp_path / "b", "physical")
    assert a["g"][order].tobytes() == b["g"].tobytes()
    assert a["merged_intensity"].tobytes() == b["merged_intensity"].tobytes()


def test_example_finds_the_true_scales() -> None:
    output = run(default_build() / "examples" / "cpp" / "scale_arrays")
    assert float(re.search(r"scales are right to ([0-9.]+)", output)[1]) < 0.004
    assert "round 1, step 1:" in output


@pytest.mark.skipif(sys.platform != "linux", reason="looks at ELF symbols")
def test_libraries_export_what_they_should() -> None:
    def exported(library: Path) -> set[str]:
        return {line.split()[-1] for line in run("nm", "-D", "--defined-only", library).splitlines()}

    (library,) = (path for path in default_build().glob("libpyscale.so*") if not path.is_symlink())
    symbols = exported(library)
    assert not {s for s in symbols if not re.match(r"_Z(N|NK|TIN|TSN|TVN)7pyscale", s)}
    assert not {s for s in symbols if re.search(r"5Eigen|pybind11|6detail", s)}
    assert any(s.startswith("_ZN7pyscale5scaleE") for s in symbols)
    # Templates of the standard library may name them; nothing of theirs is there.
    assert not {s for s in exported(Path(_core.__file__)) if re.match(r"_Z(N|NK|T.N)(5Eigen|8pybind11|7pyscale)", s)}


def test_reference_is_up_to_date() -> None:
    path = ROOT / "docs" / "make_cpp.py"
    spec = importlib.util.spec_from_file_location("make_cpp", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run python docs/make_cpp.py"


def test_version_of_the_package() -> None:
    config = (cmake_dir() / "pyscale-config-version.cmake").read_text(encoding="utf-8")
    project = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert project is not None
    assert f'set(PACKAGE_VERSION "{project[1]}")' in config
