"""The command line: exit status, one line on standard error, logs, and what is written when."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pyscale.cli import main
from pyscale.cli.console import UnexpectedError, setup_logging
from pyscale.errors import DataError, UsageError


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYSCALE_DEBUG", raising=False)


class _Document(dict[str, Any]):
    def __str__(self) -> str:
        return "good"


class FakeScaler(ModuleType):
    """Stands for `pyscale.scaler`: notes how it was called, and fails if it is told to."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__("pyscale.scaler")
        self.error = error
        self.calls: list[tuple[Any, ...]] = []
        self.written: list[dict[str, Any]] = []
        self.filtering = self.free_set = None

    def scale_files(self, files: Any, options: Any, given: Any = None) -> FakeScaler:
        self.calls.append((files, options))
        logging.getLogger("pyscale.fitting").info("fitting [3 parameters]", extra={"fraction": 0.5})
        logging.getLogger("pyscale.fitting").debug("a detail")
        if self.error is not None:
            raise self.error
        return self

    def write_outputs(self, output: Any, **keywords: Any) -> None:
        self.written.append({"output": output, **keywords})

    @property
    def document(self) -> _Document:
        return _Document(fit={"wall_seconds": {"read": 0.2}, "n_threads": 2, "peak_memory_mib": 100.0})

    def summary(self) -> str:
        return "tables"


@pytest.fixture
def scaler(monkeypatch: pytest.MonkeyPatch) -> FakeScaler:
    fake = FakeScaler()
    monkeypatch.setitem(sys.modules, "pyscale.scaler", fake)
    monkeypatch.setattr("pyscale.cli.scale.screen_summary", lambda document, *_: f"{document}: R_meas 0.035")
    monkeypatch.setattr("pyscale.cli.logs.verdict_text", lambda document, _: f"Verdict: {document}")
    return fake


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("pyscale: "), captured.err
    assert "Traceback" not in captured.out
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["scal"], "unknown command scal: did you mean scale?"),
        (["frobnicate"], "expected one of scale, show, apply"),
        (["--verison"], "unknown command --verison"),
        (["scale"], "no input files: pyscale scale FILE..."),
        (["scale", "d_min=1"], "no input files"),
        (["scale", "a.expt", "dmin=1"], "unknown option dmin: did you mean cut_data.d_min"),
        (["scale", "a.expt", "d_min=x"], "option cut_data.d_min=x: expected number or auto or None"),
        (["scale", "a.expt", "d_min=2", "d_max=1"], "must be less than cut_data.d_max=1"),
        (["scale", "a.expt", "output.additional_stats=True"], "not yet available"),
        (["scale", "a.expt", "--verbos"], "unknown flag --verbos: did you mean --verbose?"),
        (["scale", "none.phil"], "cannot read options from none.phil"),
        (["simulate", "a.expt"], "pyscale simulate takes no files"),
        (["simulate", "kind=foo"], "kind=foo"),
        (["demo", "sed=1"], "unknown option sed: did you mean seed?"),
        (["apply", "a.expt"], "no reflections to apply a.expt to"),
        (["show"], "no input files"),
        (["show", "lmax=3"], "unknown option lmax"),
        (["export"], "no input files: pyscale export"),
        (["report"], "no input files: pyscale report"),
        (["slice"], "no input files: pyscale slice FILE..."),
    ],
)
def test_wrong_usage(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(arguments) == 2
    assert reason in error_line(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (DataError("a.refl: no column miller_index"), 1, "pyscale: a.refl: no column miller_index"),
        (DataError("two\nlines"), 1, "pyscale: two lines"),
        (UsageError("option x: no"), 2, "pyscale: option x: no"),
        (KeyboardInterrupt(), 130, "interrupted: no output was written"),
        (MemoryError(), 1, "not enough memory"),
        (OSError(28, "No space left on device", "scaled.refl"), 1, "scaled.refl: No space left on device"),
        (PermissionError(13, "Permission denied", "x"), 1, "x: Permission denied"),
    ],
)
def test_failures_leave_no_file(
    error: BaseException,
    status: int,
    reason: str,
    scaler: FakeScaler,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    scaler.error = error
    assert main(["scale", "a.expt", "a.refl"]) == status
    assert reason in error_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_unexpected_errors_ask_for_a_report(
    scaler: FakeScaler, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaler.error = ZeroDivisionError("division by zero\nin a fit")
    assert main(["scale", "a.expt"]) == 1
    line = error_line(capsys)
    assert "please report it with pyscale.scale.log" in line
    assert "ZeroDivisionError division by zero in a fit" in line
    log = (tmp_path / "pyscale.scale.log").read_text()
    assert "Traceback" in log and "scale_files" in log and "fitting [3 parameters]" in log
    assert main(["scale", "a.expt", "output.log=None"]) == 1
    assert "please report it (" in error_line(capsys)
    assert main(["scale", "a.expt", "output.log=no/such/folder.log"]) == 2
    assert "the directory does not exist" in error_line(capsys)
    monkeypatch.setenv("PYSCALE_DEBUG", "1")
    with pytest.raises(UnexpectedError):
        main(["scale", "a.expt"])


def test_scale(scaler: FakeScaler, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["scale", "a.expt", "a.refl", "d_min=2", "physical.lmax=6", "output.log=my.log"]) == 0
    ((files, options),) = scaler.calls
    assert files == (Path("a.expt"), Path("a.refl"))
    assert options.cut_data.d_min == 2.0 and options.physical.lmax == 6
    (written,) = scaler.written
    assert written["inputs"] == files and written["output"] is options.output
    assert written["named_outputs"] == {"cut_data.d_min", "physical.lmax", "output.log"}
    captured = capsys.readouterr()
    assert captured.out == "good: R_meas 0.035\n" and captured.err == ""
    log = (tmp_path / "my.log").read_text()
    for text in (
        "Input files: a.expt a.refl",
        "The following parameters have been modified:",
        "Defaults that differ from those of dials.scale: output.html=pyscale.scale.html (dials.scale.html);",
        "cut_data.d_min=2.0",
        "fitting [3 parameters]",
        "Verdict: good",
        "Time: ",
    ):
        assert text in log
    assert "a detail" not in log
    assert [path.name for path in tmp_path.iterdir()] == ["my.log"]


def test_simulate(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["simulate", "d_min=6", "sweep_width=20"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"simulated.expt", "simulated.refl", "truth.npz"}
    assert "reflections written to " in capsys.readouterr().out
    assert main(["simulate", "d_min=6", "output.directory=simulated.expt"]) == 2
    assert "simulated.expt: cannot be made a directory" in error_line(capsys)


def test_verbose_and_notes(scaler: FakeScaler, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["scale", "-vv", "a.expt", "scale_term=False"]) == 0
    captured = capsys.readouterr()
    note = "option scale_term was renamed to physical.scale_correction"
    assert captured.err == f"pyscale: note: {note}\n"
    assert "a detail" in captured.out and captured.out.endswith("tables\n\ngood: R_meas 0.035\n")
    log = (tmp_path / "pyscale.scale.log").read_text()
    assert note in log and "a detail" in log


def test_logging_is_put_back(tmp_path: Path) -> None:
    logger = logging.getLogger("pyscale")
    before = (logger.level, logger.propagate, list(logger.handlers))
    with pytest.raises(DataError), setup_logging(tmp_path / "x.log"):
        raise DataError("no")
    with setup_logging(tmp_path / "x.log"):
        logging.getLogger("pyscale.io").info("reading")
    assert "reading" in (tmp_path / "x.log").read_text()
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


def test_warnings_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with setup_logging(None):
        logging.getLogger("pyscale.auto").warning("few\nreflections")
    assert error_line(capsys) == "pyscale: warning: few reflections"


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["--help"], ["pyscale scale FILE...", "pyscale merge", "pyscale report"]),
        (["--version"], ["pyscale "]),
        (["scale", "--help"], ["Common options", "cut_data.d_min=None", "--show-options", "Output files:"]),
        (["scale", "a.expt", "dmin=3", "-h"], ["Common options"]),
        (
            ["scale", "--show-options"],
            ["array.n_resolution_bins = 10", "Not yet available: ", "Also: n_threads"],
        ),
        (["simulate", "--help"], ["kind=rotation"]),
        (["demo", "--help"], ["folder=pyscale-demo"]),
        (["apply", "--show-options"], ["output.reflections = applied.refl"]),
        (["show", "--help"], ["pyscale show FILE..."]),
    ],
)
def test_help(arguments: list[str], texts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    for text in texts:
        assert text in captured.out


def test_help_lists_common_options_first_and_none_that_are_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["scale", "--help"])
    text = capsys.readouterr().out
    assert text.index("cut_data.d_min=") < text.index("physical.lmax=") < text.index("scaling_refinery.")
    assert "refinery_log" not in text and "track_step" not in text


def test_no_arguments_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "pyscale scale" in capsys.readouterr().out


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_help_and_version_load_no_numerical_library() -> None:
    code = (
        "import sys; from pyscale.cli import main\n"
        "for arguments in (['--version'], ['--help'], ['scale']): main(arguments)\n"
        "for name in 'scale merge export show apply slice simulate demo'.split(): main([name, '-h'])\n"
        "print(sorted({'scipy', 'plotly', 'jinja2', 'gemmi', 'numpy', 'rich', 'msgpack'} & set(sys.modules)))"
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_who_leaves_is_no_error() -> None:
    code = "import sys; from pyscale.cli import main; sys.exit(main(['scale', '--show-options']))"
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
