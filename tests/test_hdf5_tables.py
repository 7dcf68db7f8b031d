"""Reflection tables of DIALS in HDF5 form."""

from __future__ import annotations

import builtins
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import other_formats
import pyscale
from pyscale.cli import main
from pyscale.errors import DataError
from pyscale.io.expt import write_expt
from pyscale.io.refl import read_refl, write_refl
from pyscale.reflections import ReflectionTable
from pyscale.simulation import SimulatedData


@pytest.fixture(scope="module")
def data() -> SimulatedData:
    return pyscale.simulate(d_min=4.0, sweep_width=40.0, oscillation_width=1.0, n_sweeps=2, seed=5)


@pytest.fixture(scope="module")
def table(data: SimulatedData) -> ReflectionTable:
    return data.reflections()


def assert_equal(found: ReflectionTable, expected: ReflectionTable) -> None:
    assert found.types() == expected.types()
    assert found.identifiers == expected.identifiers
    for name in expected.names():
        np.testing.assert_array_equal(found[name], expected[name])


def test_tables_are_those_of_msgpack(tmp_path: Path, table: ReflectionTable) -> None:
    path = tmp_path / "t.refl"
    table = table.copy()
    table["covariance"] = np.arange(9.0 * len(table)).reshape(-1, 9)
    table["bbox"] = np.arange(6 * len(table), dtype=np.int32).reshape(-1, 6)
    table["used"] = np.arange(len(table)) % 2 == 0
    other_formats.write_hdf5(path, [table], "integrate")
    assert_equal(read_refl(path), table)


def test_ids_of_groups_are_their_own(tmp_path: Path, table: ReflectionTable) -> None:
    parts = []
    for number in (0, 1):
        part = table.select(table["id"] == number)
        part["id"] = np.where(np.arange(len(part)) % 9 == 0, -1, 4).astype(np.int32)
        part.identifiers = {4: table.identifiers[number]}
        parts.append(part)
    other_formats.write_hdf5(tmp_path / "t.refl", parts)
    found = read_refl(tmp_path / "t.refl")
    assert found.identifiers == table.identifiers
    n = len(parts[0])
    assert set(found["id"][:n].tolist()) == {-1, 0} and set(found["id"][n:].tolist()) == {-1, 1}
    for part in parts:
        part.identifiers = {}
    other_formats.write_hdf5(tmp_path / "t.refl", parts)
    unnamed = read_refl(tmp_path / "t.refl")
    np.testing.assert_array_equal(unnamed["id"], found["id"])
    assert unnamed.identifiers == {}


def test_a_job_is_scaled_as_from_msgpack(tmp_path: Path, data: SimulatedData, table: ReflectionTable) -> None:
    write_expt(data.experiments(), tmp_path / "x.expt")
    write_refl(table, tmp_path / "a.refl")
    other_formats.write_hdf5(tmp_path / "b.refl", [table])
    scales = [
        pyscale.scale(pyscale.read(tmp_path / "x.expt", tmp_path / name), nproc=1).inverse_scale_factor
        for name in ("a.refl", "b.refl")
    ]
    np.testing.assert_array_equal(*scales)


def test_what_is_no_number_stays_out(tmp_path: Path, table: ReflectionTable) -> None:
    path = tmp_path / "t.refl"
    other_formats.write_hdf5(path, [table])
    with h5py.File(path, "r+") as file:
        group = file["dials/processing/group_0"]
        group["names"] = [b"x"] * len(table)
        group.create_group("shoebox")["data"] = np.zeros(3, np.float32)
        group["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")
        group["soft"] = h5py.SoftLink("/dials/processing/group_0/id")
        group["d32"] = np.ones(len(table), np.float32)
        del group["id"]
        group["id"] = table["id"].astype(np.int64)
    found = read_refl(path)
    assert set(found.names()) == {*table.names(), "d32"}
    assert found.dials_type("id") == "int" and found.dials_type("d32") == "double"


def _without(name: str) -> Callable[[Any], None]:
    def change(group: Any) -> None:
        del group.attrs[name]

    return change


def _column(name: str, values: Any) -> Callable[[Any], None]:
    def change(group: Any) -> None:
        if name in group:
            del group[name]
        group[name] = values

    return change


def _huge(group: Any) -> None:
    group.create_dataset("huge", shape=(2**40,), dtype="f8", chunks=(2**20,))


def _huge_chunk(group: Any) -> None:
    n = len(group["id"])
    group.create_dataset("huge", data=np.zeros(n), maxshape=(None,), chunks=(2**25,), compression="gzip")


def _external(group: Any) -> None:
    n = len(group["id"])
    group.create_dataset("outside", shape=(n,), dtype="f8", external=[("/etc/passwd", 0, n * 8)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("identifiers"), "lacks the attributes"),
        (_without("experiment_ids"), "lacks the attributes"),
        (_column("more", np.zeros(3)), "column 'more' has 3 rows, but "),
        (_column("id", np.zeros(2)), "column 'id' has 2 rows, but "),
        (lambda group: group.__delitem__("id"), "no column 'id'"),
        (lambda group: group.attrs.__setitem__("experiment_ids", np.array([7, 8])), "is not among the attribute"),
        (lambda group: group.attrs.__setitem__("experiment_ids", np.array([0, 0])), "occurs twice"),
        (lambda group: group.attrs.__setitem__("experiment_ids", np.array([0])), "do not go together"),
        (_huge, "column 'huge' has 1099511627776 rows, but |column 'id' .*, but 'huge' "),
        (_huge_chunk, "in pieces of"),
        (_external, "lies in other files"),
    ],
)
def test_faults_are_named(tmp_path: Path, table: ReflectionTable, change: Callable[[Any], None], message: str) -> None:
    path = tmp_path / "t.refl"
    other_formats.write_hdf5(path, [table])
    with h5py.File(path, "r+") as file:
        change(file["dials/processing/group_0"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=message) as info:
        read_refl(path)
    assert "\n" not in str(info.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_other_hdf5_files_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["entry"] = np.zeros(3)
    with pytest.raises(DataError, match="no reflection table of DIALS"):
        read_refl(tmp_path / "x.h5")


def test_truncated_files_are_refused(tmp_path: Path, table: ReflectionTable) -> None:
    path = tmp_path / "t.refl"
    other_formats.write_hdf5(path, [table])
    content = path.read_bytes()
    for size in np.linspace(8, len(content) - 1, 25).astype(int).tolist():
        path.write_bytes(content[:size])
        with pytest.raises(DataError, match="truncated or corrupt HDF5 file") as info:
            read_refl(path)
        assert "\n" not in str(info.value)


def test_damaged_files_are_read_or_refused(tmp_path: Path, table: ReflectionTable) -> None:
    path = tmp_path / "t.refl"
    other_formats.write_hdf5(path, [table.select(slice(50))])
    content = np.frombuffer(path.read_bytes(), np.uint8)
    random = np.random.default_rng(1)
    for _ in range(60):
        damaged = content.copy()
        damaged[random.integers(8, 6000, 3)] = random.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        try:
            read_refl(path)
        except DataError as error:
            assert "\n" not in str(error)


def test_without_h5py_one_line_says_what_to_install(
    tmp_path: Path, table: ReflectionTable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.refl"
    other_formats.write_hdf5(path, [table])
    real = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name == "h5py":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["show", str(path)]) == 1
    error = capsys.readouterr().err.strip()
    assert "pip install h5py" in error and error.count("\n") == 0
