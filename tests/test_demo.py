"""`pyscale demo`: what was planted is found, and what was not found is not said to be."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyscale
from pyscale.cli import demo, main
from pyscale.dataset import make_job
from pyscale.simulation import SimulatedData, simulate
from pyscale.simulation.recovery import recovery

SMALL = replace(demo.CRYSTAL, d_min=3.2)


@pytest.fixture(scope="module")
def data() -> SimulatedData:
    return simulate(SMALL)


@pytest.fixture(scope="module")
def result(data: SimulatedData) -> Any:
    return pyscale.scale(make_job(data.experiments(), [data.reflections()]), nproc=2)


def test_demo(
    data: SimulatedData, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "CRYSTAL", SMALL)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["demo"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert captured.out.startswith(f"Simulated {len(data)} observations of a lysozyme-like crystal")
    n_planted = int(data.truth["outlier"].sum())
    outliers = next(line for line in lines if line.startswith("Outliers")).split()
    assert int(outliers[1]) == n_planted and 0.7 * n_planted < int(outliers[2]) <= n_planted
    total = re.search(r"(\d+) of (\d+) found as planted", captured.out)
    assert total is not None and int(total[2]) >= 10
    assert int(total[1]) == sum(line.rstrip().endswith(" yes") for line in lines)
    names = {"simulated.expt", "simulated.refl", "truth.npz", "scaled.expt", "scaled.refl"}
    names |= {f"pyscale.scale.{kind}" for kind in ("log", "html", "json")}
    assert {path.name for path in (tmp_path / "pyscale-demo").iterdir()} == names
    commands = [line.split("#")[0].split() for line in lines if line.startswith("  pyscale ")]
    assert [command[1] for command in commands] == ["scale", "merge"]
    for command in commands:  # where to look next is there, and works
        assert main([*command[1:], "-q", *(["output.html=None"] if command[1] == "scale" else [])]) == 0


def test_narrow_terminals_get_lines_in_place_of_a_table(
    data: SimulatedData, result: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = demo._table(recovery(data, result))
    assert max(len(line) for line in lines) <= 40
    assert any(line.startswith("Twinning: planted none,") for line in lines)


def test_what_was_planted_is_found(data: SimulatedData, result: Any) -> None:
    findings = {f.quantity: f for f in recovery(data, result)}
    assert [f.quantity for f in findings.values() if not f.is_right] == []
    assert findings["Error model, b"].planted == f"{SMALL.multiplicative_error:.4f}"
    assert findings["Outliers"].planted == str(int(data.truth["outlier"].sum()))


@pytest.mark.parametrize(
    ("quantity", "change"),
    [
        ("Scale, largest/smallest", lambda z, d: 1.0 + 0.05 * np.sin(6.0 * z / z.max())),
        ("Decay, change of B", None),
        ("Absorption, rms", lambda z, d: 1.0 + 0.05 * np.sin(1e4 * d)),
    ],
)
def test_what_is_off_is_not_right(data: SimulatedData, result: Any, quantity: str, change: Any) -> None:
    truth = dict(data.truth)
    if change is None:
        d = 1.0 / np.sqrt(_inv_d2(data))
        truth["g"] = truth["g"] * np.exp(-3.0 * truth["z"] / truth["z"].max() / (2.0 * d**2))
    else:
        truth["g"] = truth["g"] * change(truth["z"], 1.0 / np.sqrt(_inv_d2(data)))
    wrong = {f.quantity for f in recovery(replace(data, truth=truth), result) if not f.is_right}
    assert quantity in wrong


def _inv_d2(data: SimulatedData) -> Any:
    edges = np.array(SMALL.unit_cell[:3])
    return ((data.truth["miller"] / edges) ** 2).sum(axis=1)
