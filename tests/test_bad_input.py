"""Bad input ends with one line that says what and where, or is scaled soundly: no traceback, hang or huge memory."""

from __future__ import annotations

import copy
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyscale.cli import main
from pyscale.experiment import ExperimentList
from pyscale.io.expt import write_expt
from pyscale.io.refl import read_refl, write_refl
from pyscale.reflections import ReflectionTable
from pyscale.simulation import SimulatedData, SimulationOptions, simulate

SECONDS = 30
MEBIBYTE = 2**20


@dataclass
class Input:
    """Files to be: columns of one table and the experiment list, to be changed at will before `write`."""

    document: dict[str, Any]
    columns: dict[str, Any]
    identifiers: dict[int, str]
    opaque: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, data: SimulatedData) -> Input:
        table = data.reflections()
        columns = {name: table[name].copy() for name in table.names()}
        return cls(copy.deepcopy(data.document), columns, dict(table.identifiers))

    def __len__(self) -> int:
        return len(self.columns["id"])

    def keep(self, rows: Any) -> None:
        """Keep some rows only."""
        self.columns = {name: values[rows] for name, values in self.columns.items()}

    def table(self) -> ReflectionTable:
        table = ReflectionTable(identifiers=self.identifiers)
        for name, values in self.columns.items():
            table[name] = values
        return table

    def write(self, folder: Path, stem: str = "in") -> list[str]:
        """Write both files; returns their paths."""
        paths = [folder / f"{stem}.expt", folder / f"{stem}.refl"]
        write_refl(self.table(), paths[1])
        try:
            write_expt(ExperimentList(self.document), paths[0])
        except Exception:
            paths[0].write_text(json.dumps(self.document))
        return [str(path) for path in paths]


@contextmanager
def limits(extra_mib: int = 1024) -> Iterator[None]:
    """Neither a hang nor a huge allocation: an alarm, and (where the system has it) a limit of address space."""

    def ring(*_: object) -> None:
        raise AssertionError(f"still running after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        with _address_space(extra_mib):
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _address_space(extra_mib: int) -> Iterator[None]:
    status = Path("/proc/self/statm")
    if not status.exists():
        yield
        return
    import resource

    used = int(status.read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + extra_mib * MEBIBYTE, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@dataclass
class Outcome:
    """What a command did."""

    status: int
    out: str
    error: str
    new_files: list[str]


class Runner:
    """Runs commands in an empty folder and checks what holds for each of them."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def __call__(self, *arguments: str, extra_mib: int = 1024) -> Outcome:
        before = self._listing()
        self._capsys.readouterr()
        with limits(extra_mib):
            status = main(list(arguments))
        captured = self._capsys.readouterr()
        after = self._listing()
        new = sorted(name for name, state in after.items() if before.get(name) != state)
        lines = captured.err.splitlines()
        assert "Traceback" not in captured.err + captured.out
        assert all(line.startswith("pyscale: ") for line in lines), captured.err
        errors = [line for line in lines if not line.startswith(("pyscale: warning:", "pyscale: note:"))]
        assert not any("unexpected error" in line for line in errors), errors
        if status == 0:
            assert not errors, errors
            return Outcome(0, captured.out, "", new)
        assert status in (1, 2), (status, captured.err)
        assert len(errors) == 1, captured.err
        assert len(errors[0]) < 700, errors[0]
        assert not new, f"written in spite of an error: {new}"
        assert set(before) == set(after)
        return Outcome(status, captured.out, errors[0].removeprefix("pyscale: "), new)

    def _listing(self) -> dict[str, tuple[int, int]]:
        found = (p for p in self.folder.rglob("*") if p.is_file())
        return {str(p.relative_to(self.folder)): (p.stat().st_mtime_ns, p.stat().st_size) for p in found}

    def scale(self, *arguments: str, **keywords: Any) -> Outcome:
        """`pyscale scale`; where it succeeds its files must be sound."""
        outcome = self("scale", *arguments, **keywords)
        if outcome.status == 0:
            self.check_outputs()
        return outcome

    def check_outputs(self) -> dict[str, Any]:
        table = read_refl(self.folder / "scaled.refl")
        scale, flags = table["inverse_scale_factor"], table["flags"]
        assert np.isfinite(scale).all()
        scaled = (flags & np.uint64(1 << 26)) != 0
        assert scaled.any()
        assert (scale[scaled] > 0).all()
        for name in ("intensity.scale.value", "intensity.scale.variance", "inverse_scale_factor_variance", "d"):
            assert np.isfinite(table[name][scaled]).all(), name
        assert (table["intensity.scale.variance"][scaled] > 0).all()
        assert (table["inverse_scale_factor_variance"][scaled] >= 0).all()
        document: dict[str, Any] = json.loads((self.folder / "pyscale.scale.json").read_text())
        for identifier, entry in document["ledger"].items():
            left = sum(sum(entry[kind].values()) for kind in ("filtered", "user_excluded", "rejected"))
            assert entry["read"] == entry["partials_merged"] + left + entry["merged"], (identifier, entry)
        assert document["merging_statistics"]["overall"]["n_obs"] == sum(
            e["merged"] for e in document["ledger"].values()
        )
        assert document["fit"]["cost"] is not None
        return document


Change = Callable[[Input], None]


@pytest.fixture(scope="session")
def simulated() -> SimulatedData:
    """A sweep of 90 degrees, some 1500 rows."""
    return simulate(SimulationOptions(d_min=5.0, sweep_width=90.0, oscillation_width=1.0, seed=3))


@pytest.fixture(scope="session")
def simulated_pair() -> SimulatedData:
    """Two narrow sweeps of the same crystal form."""
    return simulate(SimulationOptions(d_min=5.5, sweep_width=40.0, oscillation_width=1.0, n_sweeps=2, seed=4))


@pytest.fixture(scope="session")
def simulated_stills() -> SimulatedData:
    return simulate(SimulationOptions(kind="stills", n_stills=30, d_min=4.0, seed=5))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYSCALE_DEBUG", raising=False)
    return Runner(tmp_path, capsys)


COLUMNS = simulate(SimulationOptions(d_min=12.0, sweep_width=3.0)).reflections().names()
NEEDED = {
    "flags": "'flags' is missing",
    "id": "'id' is missing",
    "intensity.prf.variance": "'intensity.prf.variance' is missing",
    "intensity.sum.variance": "'intensity.sum.variance' is missing",
    "miller_index": "'miller_index' is missing",
    "s1": "'s1' is missing",
}


@pytest.mark.parametrize("name", COLUMNS)
def test_missing_column(simulated: SimulatedData, run: Runner, name: str) -> None:
    spoilt = Input.of(simulated)
    del spoilt.columns[name]
    outcome = run.scale(*spoilt.write(run.folder), "absorption_correction=True")
    assert outcome.status == (1 if name in NEEDED else 0)
    assert NEEDED.get(name, "") in outcome.error
    assert outcome.status == 0 or "in.refl" in outcome.error


@pytest.mark.parametrize("name", COLUMNS)
def test_column_of_another_type(simulated: SimulatedData, run: Runner, name: str) -> None:
    spoilt = Input.of(simulated)
    spoilt.columns[name] = np.zeros(len(spoilt), np.bool_)
    outcome = run.scale(*spoilt.write(run.folder), "absorption_correction=True")
    assert outcome.status == 0 or f"in.refl: column '{name}' has type bool, not" in outcome.error


def intensities(change: Callable[[Any, Any], None]) -> Change:
    """Change value and variance of both kinds."""

    def apply(spoilt: Input) -> None:
        for which in ("prf", "sum"):
            change(spoilt.columns[f"intensity.{which}.value"], spoilt.columns[f"intensity.{which}.variance"])

    return apply


def setting(name: str, rows: Any, value: Any) -> Change:
    """Set rows of a column."""

    def apply(spoilt: Input) -> None:
        spoilt.columns[name][rows] = value

    return apply


def keeping(rows: Any) -> Change:
    return lambda spoilt: spoilt.keep(rows)


def values(value: float) -> Change:
    return intensities(lambda i, _: i.__setitem__(slice(None), value))


def one_variance(value: float) -> Change:
    return intensities(lambda _, v: v.__setitem__(7, value))


def one_value(value: float) -> Change:
    return intensities(lambda i, _: i.__setitem__(7, value))


def scaled_by(factor: float) -> Change:
    def change(i: Any, v: Any) -> None:
        i *= factor
        v *= factor
        v *= factor

    return intensities(change)


def unique_only(spoilt: Input) -> None:
    """One row for each Miller index up to sign and order: all multiplicities are 1 in any space group."""
    _, first = np.unique(np.abs(spoilt.columns["miller_index"]), axis=0, return_index=True)
    spoilt.keep(first)


def no_integrated(spoilt: Input) -> None:
    spoilt.columns["flags"] &= ~np.uint64(0x300)


def crystal(**changes: Any) -> Change:
    return lambda spoilt: spoilt.document["crystal"][0].update(changes)


def beam(**changes: Any) -> Change:
    return lambda spoilt: spoilt.document["beam"][0].update(changes)


def scan(**changes: Any) -> Change:
    return lambda spoilt: spoilt.document["scan"][0].update(changes)


def without_profiles(spoilt: Input) -> None:
    del spoilt.columns["intensity.prf.value"], spoilt.columns["intensity.prf.variance"]


def without_sums(spoilt: Input) -> None:
    del spoilt.columns["intensity.sum.value"], spoilt.columns["intensity.sum.variance"]


def without_intensities(spoilt: Input) -> None:
    without_profiles(spoilt)
    without_sums(spoilt)


def space_group(hall: str) -> Change:
    return crystal(space_group_hall_symbol=hall)


def both(*changes: Change) -> Change:
    def apply(spoilt: Input) -> None:
        for change in changes:
            change(spoilt)

    return apply


Z = (slice(None), 2)
BAD_VALUE = "row 7"

# What is done to the data, and what follows: a part of the error, or None where they can be scaled all the same.
CASES: dict[str, tuple[Change, str | None]] = {
    "NaN intensity": (one_value(np.nan), BAD_VALUE),
    "infinite intensity": (one_value(np.inf), BAD_VALUE),
    "NaN variance": (one_variance(np.nan), BAD_VALUE),
    "infinite variance": (one_variance(np.inf), BAD_VALUE),
    "zero variance": (one_variance(0.0), BAD_VALUE),
    "negative variance": (one_variance(-1.0), BAD_VALUE),
    "all NaN": (values(np.nan), "is not finite"),
    "no rows": (keeping(slice(0, 0)), "no reflections"),
    "one row": (keeping(slice(0, 1)), "measured more than once"),
    "two rows": (keeping(slice(0, 2)), "measured more than once"),
    "multiplicity 1": (unique_only, "measured more than once"),
    "P1": (both(space_group(" P 1"), unique_only), "measured more than once"),
    "all zero": (values(0.0), "no intensity is positive"),
    "all negative": (intensities(lambda i, _: np.negative(np.abs(i), out=i)), "in.refl: no "),
    "all identical": (intensities(lambda i, v: (i.fill(100.0), v.fill(10.0))), None),
    "constant z": (setting("xyzobs.px.value", Z, 10.0), None),
    "z outside the scan": (setting("xyzobs.px.value", Z, 1e5), "outside_scan: "),
    "one z outside the scan": (setting("xyzobs.px.value", (5, 2), 1e5), None),
    "one z far outside the scan": (setting("xyzobs.px.value", (5, 2), 1e300), None),
    "one z negative": (setting("xyzobs.px.value", (5, 2), -1e5), None),
    "one z NaN": (setting("xyzobs.px.value", (5, 2), np.nan), None),
    "all z NaN": (setting("xyzobs.px.value", Z, np.nan), "no reflection of data set"),
    "one huge": (one_value(1e300), "within 1e+60"),
    "all huge": (scaled_by(1e150), "within 1e+60"),
    "all large": (scaled_by(1e50), None),
    "all 1e300": (values(1e300), "within 1e+60"),
    "all tiny": (scaled_by(1e-150), "within 1e+60"),
    "all small": (scaled_by(1e-25), None),
    "denormal": (both(values(5e-324), intensities(lambda _, v: v.fill(5e-324))), "within 1e+60"),
    "one denormal variance": (one_variance(5e-324), BAD_VALUE),
    "one tiny variance": (one_variance(1e-50), None),
    "huge variance": (intensities(lambda _, v: v.fill(1e308)), "within 1e+60"),
    "one s1 zero": (setting("s1", 5, 0.0), None),
    "all s1 zero": (setting("s1", slice(None), 0.0), None),
    "one s1 NaN": (setting("s1", 5, np.nan), None),
    "all s1 NaN": (setting("s1", slice(None), np.nan), None),
    "hkl 000": (setting("miller_index", 5, 0), None),
    "all hkl 000": (setting("miller_index", slice(None), 0), "not_indexed"),
    "one hkl 1e9": (setting("miller_index", 5, 10**9), None),
    "one hkl -2^31": (setting("miller_index", 5, -(2**31)), None),
    "one hkl 2^31-1": (setting("miller_index", 5, 2**31 - 1), None),
    "nothing integrated": (no_integrated, "not_integrated"),
    "all flags": (setting("flags", slice(None), 2**64 - 1), None),
    "lp zero": (setting("lp", slice(None), 0.0), "no_lorentz_polarisation"),
    "lp NaN": (setting("lp", 3, np.nan), None),
    "lp huge": (setting("lp", slice(None), 1e200), "not_finite: "),
    "one lp huge": (setting("lp", 3, 1e200), None),
    "partiality zero": (setting("partiality", slice(None), 0.0), "no_partiality"),
    "partiality NaN": (setting("partiality", slice(None), np.nan), "no_partiality"),
    "partiality tiny": (setting("partiality", slice(None), 1e-310), "partiality_cutoff"),
    "id negative": (setting("id", slice(None), -1), "no reflections with an experiment"),
    "id 1e9": (setting("id", slice(3, 5), 10**9), "reflection tables"),
    "sum only": (without_profiles, None),
    "profile only": (without_sums, None),
    "no intensities": (without_intensities, "intensity.sum.value are missing"),
    "identifier mismatch": (lambda s: s.identifiers.update({0: "another"}), "identifier"),
    "unknown space group": (space_group("no such"), "space_group_hall_symbol"),
    "no space group": (space_group(None), "space_group_hall_symbol"),
    "cubic": (space_group(" F 4d 2 3 -1ad"), None),
    "absurd cell": (crystal(real_space_a=[1e9, 0.0, 0.0]), "real_space"),
    "tiny cell": (crystal(real_space_a=[1e-9, 0.0, 0.0]), "real_space"),
    "flat cell": (crystal(real_space_a=[0.0, 0.0, 0.0]), "real_space"),
    "text in the cell": (crystal(real_space_a=["a", 0.0, 0.0]), "real_space_a"),
    "wavelength 0": (beam(wavelength=0.0), "wavelength"),
    "wavelength negative": (beam(wavelength=-1.0), "wavelength"),
    "beam direction 0": (beam(direction=[0.0, 0.0, 0.0]), "direction"),
    "no beam": (lambda s: s.document.update(beam=[]), "beam"),
    "no crystal": (lambda s: s.document["experiment"][0].pop("crystal"), "crystal"),
    "no goniometer": (lambda s: s.document["experiment"][0].pop("goniometer"), None),
    "no scan": (lambda s: s.document["experiment"][0].pop("scan"), None),
    "no detector": (lambda s: s.document["experiment"][0].pop("detector"), None),
    "reference beyond the list": (lambda s: s.document["experiment"][0].update(beam=7), "beam"),
    "no experiments": (lambda s: s.document.update(experiment=[]), "experiments"),
    "oscillation 0": (scan(oscillation=[0.0, 0.0]), None),
    "oscillation negative": (scan(oscillation=[0.0, -1.0]), None),
    "oscillation huge": (scan(oscillation=[0.0, 1e9]), "oscillation"),
    "oscillation 1e300": (scan(oscillation=[0.0, 1e300]), "oscillation"),
    "oscillation tiny": (scan(oscillation=[0.0, 1e-6]), None),
    "images reversed": (scan(image_range=[90, 1]), "image_range"),
    "images 1 to 2e9": (scan(image_range=[1, 2 * 10**9]), "image_range"),
    "images elsewhere": (scan(image_range=[1001, 1090]), "outside_scan: "),
}


@pytest.mark.parametrize("name", CASES)
def test_spoilt_data(simulated: SimulatedData, run: Runner, name: str) -> None:
    change, expected = CASES[name]
    spoilt = Input.of(simulated)
    change(spoilt)
    outcome = run.scale(*spoilt.write(run.folder))
    if expected is None:
        assert outcome.status == 0, outcome.error
    else:
        assert outcome.status == 1
        assert expected in outcome.error


@pytest.mark.parametrize(
    ("value", "variance"),
    [(np.nan, 1.0), (1.0, 0.0), (1.0, -1.0), (1.0, np.nan), (np.inf, np.inf), (1e300, 1.0)],
)
def test_invalid_rows_can_be_left_out(simulated: SimulatedData, run: Runner, value: float, variance: float) -> None:
    spoilt = Input.of(simulated)
    for which in ("prf", "sum"):
        spoilt.columns[f"intensity.{which}.value"][7] = value
        spoilt.columns[f"intensity.{which}.variance"][7] = variance
    assert run.scale(*spoilt.write(run.folder), "invalid_rows=exclude").status == 0
    document = json.loads((run.folder / "pyscale.scale.json").read_text())
    (entry,) = document["ledger"].values()
    assert entry["filtered"]["not_integrated"] >= 1


# Options that are at the edge of sense or beyond, and the exit status: None where either result is sound.
OPTIONS: dict[str, tuple[str, int | tuple[int, int]]] = {
    "nothing to refine": ("decay_correction=False scale_correction=False absorption_correction=False", 0),
    "no scale": ("scale_correction=False", 0),
    "only absorption": ("decay_correction=False scale_correction=False absorption_correction=True", 0),
    "d_min beyond all": ("d_min=1000", 1),
    "d_max beyond all": ("d_max=0.1", 1),
    "d_min above d_max": ("d_min=5 d_max=3", 2),
    "d_min zero": ("d_min=0", 2),
    "d_min negative": ("d_min=-1", 2),
    "d_min NaN": ("d_min=nan", 2),
    "no error model": ("error_model=None", 0),
    "no outlier rejection": ("outlier_rejection=None emax=None", 0),
    "outlier_zmax 3": ("outlier_zmax=3", 0),
    "outlier_zmax below its range": ("outlier_zmax=1", 2),
    "outlier_zmax huge": ("outlier_zmax=1e300", 0),
    "emax tiny": ("emax=1e-6", (0, 1)),
    "1 error model bin": ("error_model=basic n_bins=1", 0),
    "1000 error model bins": ("error_model=basic n_bins=1000", 0),
    "1 shell": ("nbins=1", 0),
    "1000 shells": ("nbins=1000", 0),
    "0 shells": ("nbins=0", 2),
    "64 threads": ("nproc=64", 0),
    "0 threads": ("nproc=0", 2),
    "a million threads": ("nproc=1000000", 2),
    "lmax 12": ("absorption_correction=True lmax=12", 0),
    "lmax 1000": ("absorption_correction=True lmax=1000", 2),
    "tiny interval": ("scale_interval=1 decay_interval=1", 0),
    "vanishing interval": ("scale_interval=1e-9", 2),
    "too many parameters": ("scale_interval=0.01 decay_interval=0.01", 2),
    "summation": ("intensity_choice=sum", 0),
    "profile": ("intensity_choice=profile", 0),
    "KB": ("model=KB", 0),
    "anomalous": ("anomalous=True", 0),
    "fixed error model": ("error_model.basic.a=1 error_model.basic.b=0.1", 0),
    "a = 0": ("error_model.basic.a=0", 2),
    "a = b = 0": ("error_model.basic.a=0 error_model.basic.b=0", 2),
    "huge b": ("error_model.basic.b=1e200", 2),
    "min_Ih beyond all": ("error_model=basic min_Ih=1e30", 0),
    "all I/sigma too low": ("min_isigi=1e9", 1),
    "partiality 1": ("partiality_cutoff=1", 0),
    "all scales too small": ("small_scale_cutoff=1e6", 1),
    "another cell": ("best_unit_cell=50,50,50,90,90,90", 0),
    "flat cell": ("best_unit_cell=50,50,50,1,1,179", 2),
    "cell of zeros": ("best_unit_cell=0,0,0,0,0,0", 2),
    "tiny cell": ("best_unit_cell=1e-3,1e-3,1e-3,90,90,90", 1),
    "5 cell parameters": ("best_unit_cell=50,50,50,90,90", 2),
    "one iteration": ("full_matrix_max_iterations=1", 0),
    "huge tolerance": ("rmsd_tolerance=1e300", 2),
    "huge restraints": ("surface_weight=1e300 absorption_correction=True decay_restraint=1e300", 0),
    "no restraints": ("surface_weight=0 absorption_correction=True decay_restraint=0", 0),
    "two outputs in one file": ("output.reflections=x output.experiments=x", 2),
    "no directory": ("output.reflections=nowhere/scaled.refl", 2),
    "a directory as output": ("output.reflections=.", 2),
    "empty output name": ("output.reflections=", 2),
    "log without a directory": ("output.log=nowhere/x.log", 2),
    "log in place of another output": ("output.log=scaled.refl", 2),
    "html without a directory": ("output.html=nowhere/x.html", 2),
    "null device": ("output.html=/dev/null", 2),
    "no side files": ("output.html=None output.log=None", 0),
    "mtz": ("output.merged_mtz=m.mtz output.unmerged_mtz=u.mtz", 0),
    "names not ASCII": ("output.merged_mtz=m.mtz crystal_name=кристалл", 0),
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("few", [False, True], ids=["", "few rows"])
def test_options(simulated: SimulatedData, run: Runner, name: str, few: bool) -> None:
    spoilt = Input.of(simulated)
    if few:
        order = np.argsort(np.abs(spoilt.columns["miller_index"]) @ [10_000, 100, 1], kind="stable")
        spoilt.keep(np.sort(order[:50]))
    text, status = OPTIONS[name]
    # Each thread reserves address space (stack, heap arena) that it does not use.
    outcome = run.scale(*spoilt.write(run.folder), *text.split(), extra_mib=8192 if "nproc" in text else 1024)
    assert outcome.status in (status if isinstance(status, tuple) else (status,)), outcome.error


# Files.


def test_corrupt_reflections(simulated: SimulatedData, run: Runner) -> None:
    """Any byte of the structure changed, or the file cut anywhere: an error in one line, or a result."""
    small = Input.of(simulated)
    small.keep(slice(0, 300))
    expt, refl = small.write(run.folder)
    whole = Path(refl).read_bytes()
    rng = np.random.default_rng(0)
    structure = [
        k for name in small.columns for k in range(whole.find(name.encode()) - 3, whole.find(name.encode()) + 60)
    ]
    places = [
        *range(0, 40, 2),
        *rng.choice(structure, 30, replace=False),
        *rng.integers(0, len(whole), 15),
        len(whole) - 1,
    ]
    for place in places:
        spoilt = bytearray(whole)
        spoilt[place] ^= int(rng.integers(1, 256))
        Path(refl).write_bytes(spoilt)
        _remove_outputs(run.folder)
        run.scale(expt, refl)
        _remove_outputs(run.folder)
        run("show", expt, refl)
    for length in [0, 1, 2, 10, *rng.integers(0, len(whole), 10), len(whole) - 1]:
        Path(refl).write_bytes(whole[:length])
        _remove_outputs(run.folder)
        outcome = run.scale(expt, refl)
        assert outcome.status == 1 and "in.refl" in outcome.error


def _remove_outputs(folder: Path) -> None:
    for name in ("scaled.expt", "scaled.refl", "pyscale.scale.log", "pyscale.scale.html", "pyscale.scale.json"):
        (folder / name).unlink(missing_ok=True)


def test_corrupt_experiments(simulated: SimulatedData, run: Runner) -> None:
    small = Input.of(simulated)
    small.document["scan"][0]["exposure_time"] = small.document["scan"][0]["epochs"] = []
    expt, refl = small.write(run.folder)
    whole = Path(expt).read_bytes()
    rng = np.random.default_rng(1)
    for place in rng.integers(0, len(whole), 50):
        spoilt = bytearray(whole)
        spoilt[place] = int(rng.integers(0, 256))
        Path(expt).write_bytes(spoilt)
        _remove_outputs(run.folder)
        run.scale(expt, refl)
        run("show", expt, refl)
    for length in rng.integers(0, len(whole) - 3, 10):
        Path(expt).write_bytes(whole[:length])
        outcome = run.scale(expt, refl, "output.reflections=other.refl")
        assert outcome.status == 1 and "in.expt" in outcome.error


def test_every_value_of_the_experiments_replaced(simulated: SimulatedData, run: Runner) -> None:
    """Each entry of each model is replaced by a value of another kind."""
    rng = np.random.default_rng(2)
    values = np.array([None, "x", -1, 1e308, [], {}, [None], True], dtype=object)
    small = Input.of(simulated)
    small.keep(slice(0, 300))
    document = copy.deepcopy(small.document)
    for kind in ("beam", "goniometer", "scan", "crystal", "experiment", "detector", "imageset"):
        for key in document[kind][0]:
            small.document = copy.deepcopy(document)
            small.document[kind][0][key] = rng.choice(values)
            _remove_outputs(run.folder)
            run.scale(*small.write(run.folder))


def test_files_that_do_not_belong(simulated: SimulatedData, run: Runner) -> None:
    expt, refl = Input.of(simulated).write(run.folder)
    Path("text.txt").write_text("no data")
    Path("swapped.expt").write_bytes(Path(refl).read_bytes())
    Path("swapped.refl").write_bytes(Path(expt).read_bytes())
    Path("empty.refl").write_bytes(b"")
    Path("folder.refl").mkdir()
    for arguments, status in (
        ([expt], 1),
        ([refl], 1),
        ([expt, "none.refl"], 2),
        ([expt, "text.txt"], 1),
        ([expt, "empty.refl"], 1),
        ([expt, "folder.refl"], 2),
        ([expt, refl, refl], 1),
        ([expt, expt, refl], 1),
    ):
        assert run.scale(*arguments).status == status, arguments
    assert run.scale("swapped.expt", "swapped.refl").status == 0


def test_duplicate_files_are_two_data_sets(simulated: SimulatedData, run: Runner) -> None:
    expt, refl = Input.of(simulated).write(run.folder)
    assert run.scale(expt, refl, expt, refl).status == 0
    assert len(json.loads(Path("pyscale.scale.json").read_text())["ledger"]) == 2


def test_inputs_are_not_overwritten(simulated: SimulatedData, run: Runner) -> None:
    expt, refl = Input.of(simulated).write(run.folder, "scaled")
    before = Path(refl).read_bytes()
    outcome = run("scale", expt, refl)
    assert outcome.status == 2 and "is an input file" in outcome.error
    assert Path(refl).read_bytes() == before
    assert run("scale", expt, refl, "output.experiments=scaled.expt", "output.reflections=scaled.refl").status == 0
    assert "inverse_scale_factor" in read_refl(refl)


def test_scaled_files_can_be_scaled_again(simulated: SimulatedData, run: Runner) -> None:
    expt, refl = Input.of(simulated).write(run.folder)
    assert run.scale(expt, refl).status == 0
    first = read_refl("scaled.refl")["inverse_scale_factor"].copy()
    names = ("output.experiments=b.expt", "output.reflections=b.refl")
    assert run("scale", "scaled.expt", "scaled.refl", "overwrite_existing_models=True", *names).status == 0
    np.testing.assert_array_equal(read_refl("b.refl")["inverse_scale_factor"], first)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_directory_that_cannot_be_written(simulated: SimulatedData, run: Runner) -> None:
    expt, refl = Input.of(simulated).write(run.folder)
    Path("locked").mkdir(mode=0o500)
    assert run.scale(expt, refl, "output.reflections=locked/scaled.refl").status == 2


@pytest.mark.parametrize(
    "stem", ["with space", "ünï", "a=b", "100%", "[x]", "-v", "$HOME", "new\nline", "\udcff", "x" * 200]
)
def test_odd_file_names(simulated: SimulatedData, run: Runner, stem: str) -> None:
    assert run.scale(*Input.of(simulated).write(run.folder, stem)).status == 0


# Several data sets.


def test_different_space_groups(simulated_pair: SimulatedData, run: Runner) -> None:
    pair = Input.of(simulated_pair)
    pair.document["crystal"][1]["space_group_hall_symbol"] = " P 1"
    outcome = run.scale(*pair.write(run.folder))
    assert outcome.status == 1 and "different space groups" in outcome.error


def test_one_of_two_data_sets_is_bad(simulated_pair: SimulatedData, run: Runner) -> None:
    for spoil in (
        lambda s: s.keep(s.columns["id"] == 0),
        lambda s: s.columns["flags"].__setitem__(s.columns["id"] == 1, 0),
        lambda s: s.identifiers.pop(1),
        lambda s: s.identifiers.update({1: "another"}),
        lambda s: s.columns["intensity.prf.value"].__setitem__(-1, np.nan),
    ):
        pair = Input.of(simulated_pair)
        spoil(pair)
        outcome = run.scale(*pair.write(run.folder))
        assert outcome.status == 1 or (outcome.status == 0 and 1 not in pair.identifiers), outcome


def test_data_sets_without_a_common_reflection(simulated_pair: SimulatedData, run: Runner) -> None:
    pair = Input.of(simulated_pair)
    odd = (np.abs(pair.columns["miller_index"]).sum(axis=1) % 2).astype(np.int32)
    pair.keep(odd == pair.columns["id"])
    assert run.scale(*pair.write(run.folder)).status == 0
    assert "2 parts without a common reflection" in Path("pyscale.scale.log").read_text()


def test_one_reflection_of_a_data_set(simulated_pair: SimulatedData, run: Runner) -> None:
    pair = Input.of(simulated_pair)
    first = np.flatnonzero(pair.columns["id"] == 1)[:1]
    pair.keep(np.sort(np.concatenate([np.flatnonzero(pair.columns["id"] == 0), first])))
    assert run.scale(*pair.write(run.folder)).status == 0


def test_stills(simulated_stills: SimulatedData, run: Runner) -> None:
    for model in ("auto", "physical", "KB"):
        assert run.scale(*Input.of(simulated_stills).write(run.folder), f"model={model}").status == 0


def test_a_thousand_data_sets(run: Runner) -> None:
    """A thousand stills of few reflections each are one job."""
    many = simulate(SimulationOptions(kind="stills", n_stills=50, d_min=8.0, seed=6))
    spoilt = Input.of(many)
    document, columns = spoilt.document, spoilt.columns
    copies, n = 20, len(spoilt)
    spoilt.columns = {name: np.concatenate([values] * copies) for name, values in columns.items()}
    spoilt.columns["id"] = spoilt.columns["id"] + np.repeat(50 * np.arange(copies, dtype=np.int32), n)
    spoilt.document["experiment"] = [
        {**entry, "identifier": f"{k}-{entry['identifier']}"} for k in range(copies) for entry in document["experiment"]
    ]
    spoilt.identifiers = {k: e["identifier"] for k, e in enumerate(spoilt.document["experiment"])}
    outcome = run.scale(*spoilt.write(run.folder))
    assert outcome.status == 0


# Other commands.


@pytest.mark.parametrize(
    "arguments",
    [
        "d_min=0",
        "d_min=1e9",
        "d_min=0.3",
        "wavelength=0",
        "unit_cell=0,0,0,90,90,90",
        "unit_cell=1e6,1e6,1e6,90,90,90",
        "unit_cell=50,50,50,1,1,179",
        "space_group=nonsense",
        "n_sweeps=0",
        "n_sweeps=100000",
        "sweep_width=1e9",
        "oscillation_width=1e-4 sweep_width=3600",
        "oscillation_width=0",
        "kind=stills n_stills=1000000",
        "mean_intensity=nan",
        "outlier_fraction=2",
        "seed=-1",
        "output.directory=/dev/null/x",
        "truth=other",
        "rotation_axis=0,0,0",
        "detector_offset=1e9,1e9",
        "keep=1e-6 d_min=10",
    ],
)
def test_impossible_simulations(run: Runner, arguments: str) -> None:
    outcome = run("simulate", *arguments.split())
    assert outcome.status in (1, 2)


def test_show_and_demo_of_nonsense(run: Runner) -> None:
    assert run("show", "none.refl").status == 2
    assert run("show").status == 2
    Path("x").write_text("x")
    assert run("show", "x").status == 1
    assert run("demo", "folder=x").status == 2
    assert run("demo", "folder=none/below").status == 2
    assert run("demo", "seed=x").status == 2
