"""What terminals and pipes are shown: characters, colours, widths, progress, the summary of a job."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import pyscale
from pyscale.cli import main, progress
from pyscale.cli.console import setup_logging
from pyscale.cli.progress import JobProgress, clock
from pyscale.cli.summary import screen_summary, verdict_text
from pyscale.cli.terminal import cells, painted, shown, wrapped
from pyscale.dataset import make_job
from pyscale.progress import Progress
from pyscale.simulation import SimulationOptions, simulate

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    data = simulate(SimulationOptions(d_min=4.5, oscillation_width=1.0, outlier_fraction=0.01))
    return pyscale.scale(make_job(data.experiments(), [data.reflections()]), nproc=1).document


def on_terminal(code: str, columns: int, **variables: str) -> str:
    """Everything that a program writes to a terminal of so many columns."""
    terminal, device = os.openpty()
    fcntl.ioctl(device, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
    environment |= {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"} | variables
    with subprocess.Popen([sys.executable, "-c", code], stdout=device, stderr=device, env=environment) as job:
        os.close(device)
        text = b""
        # Linux ends a terminal whose other side is closed with an error, macOS with nothing to read.
        with suppress(OSError):
            while part := os.read(terminal, 4096):
                text += part
    os.close(terminal)
    assert job.returncode == 0
    return text.decode("utf-8", "replace")


JOB = """
import logging, sys, time
from pyscale.cli.console import setup_logging
from pyscale.cli.terminal import painted, write
from pyscale.progress import Progress
with setup_logging(None) as report:
    report(Progress("read", 0.0, "reading files"))
    time.sleep(0.2)
    report(Progress("fit", 0.25, "round 2 of the fit"))
    logging.getLogger("pyscale.fit_state").info("x", extra={"step": 3, "cost": 12345.6})
    time.sleep(0.4)
    logging.getLogger("pyscale.auto").warning("few reflections")
    time.sleep(0.2)
write(painted("Good data", "good", sys.stdout))
"""


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_progress_fits_its_terminal(columns: int) -> None:
    text = on_terminal(JOB, columns)
    lines = [ESCAPE.sub("", line) for line in re.split(r"[\r\n]", text)]
    assert max(cells(line) for line in lines) <= columns
    fit = [line for line in lines if "round 2 of the fit" in line]
    assert any("25 %" in line for line in fit)
    assert any("step 3" in line for line in fit) == (columns > 40)
    assert any("cost 12346" in line and "━" in line for line in fit) == (columns > 40)
    assert "pyscale: warning: few reflections" in lines
    assert text.rstrip().endswith("\x1b[32mGood data\x1b[0m")
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1


def test_no_color() -> None:
    assert not COLOUR.findall(on_terminal(JOB, 80, NO_COLOR="1"))


def test_dumb_terminals_get_plain_lines_and_poor_ones_plain_characters() -> None:
    assert "\x1b" not in on_terminal(JOB, 80, TERM="dumb")
    assert set(on_terminal(JOB, 80, PYTHONIOENCODING="ascii")) <= {chr(c) for c in range(128)}


def test_pipes_get_no_control_codes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", JOB], capture_output=True, text=True, check=True, env={**os.environ, "TERM": "xterm"}
    )
    assert done.stdout == "Good data\n"
    assert done.stderr == "pyscale: warning: few reflections\n"


def test_long_jobs_say_where_they_are_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_FIRST_LINE", 0.0)
    with setup_logging(None) as report:
        report(Progress("fit", 0.25, "fitting scales"))
        for step in (1, 2):
            logging.getLogger("pyscale.x").info("x", extra={"step": step, "cost": 10.0})
    captured = capsys.readouterr()
    assert captured.err == "pyscale: fitting scales, 25 %, 0:00, step 1, cost 10\n"
    with setup_logging(None, -1):
        logging.getLogger("pyscale.x").warning("few reflections")
        logging.getLogger("pyscale.x").info("x", extra={"notice": True})
    assert capsys.readouterr() == ("", "")


def test_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    job = JobProgress()
    now[0] = 103.0
    job.report(Progress("read", 0.0, "reading files"))
    assert job.times() == "0:00"
    now[0] = 113.0
    job.report(Progress("fit", 0.25, "fitting scales"))
    assert job.times() == "0:10, about 0:30 left"
    now[0] = 123.0
    assert job.times() == "0:20, about 0:20 left"
    now[0] = 163.0  # far behind: the end is not promised for the next second
    assert job.times() == "1:00, about 0:14 left"
    job.report(Progress("fit", 0.2, "fitting scales"))
    assert job.share == 0.25
    assert [clock(s) for s in (0.4, 59.6, 3723.0)] == ["0:00", "1:00", "1:02:03"]


def test_characters_that_a_stream_lacks() -> None:
    def stream(encoding: str) -> Any:
        return io.TextIOWrapper(io.BytesIO(), encoding=encoding)

    text = "CC½ 5.0 ± 0.1 Å² 漢字"
    assert shown(text, stream("utf-8")) == text
    assert shown(text, stream("ascii")) == "CC1/2 5.0 +- 0.1 A^2 ??"
    assert shown("1 Å", stream("latin-1")) == "1 Å"
    assert [cells(t) for t in ("abc", "漢字", "e\u0301")] == [3, 4, 1]
    assert painted("x", "good", stream("utf-8")) == "x"
    assert wrapped("one two --three-four", 9, "- ", "  ") == ["- one two", "  --three-four"]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_summary(document: dict[str, Any], columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    files = [Path(name).resolve() for name in ("scaled.expt", "scaled.refl", "pyscale.scale.html")]
    lines = screen_summary(document, files, 12.34).splitlines()
    overall = document["merging_statistics"]["overall"]
    rejected = sum(sum(entry["rejected"].values()) for entry in document["ledger"].values())
    assert lines[0].startswith(" ".join(verdict_text(document).split()[1:3]))
    assert rejected > 0 and f"{rejected} outliers rejected" in " ".join(lines)
    assert next(line for line in lines if line.startswith("R_meas")).split()[1] == f"{overall['r_meas']:.3f}"
    assert next(line for line in lines if line.startswith("Observations")).split()[1] == str(overall["n_obs"])
    flat = " ".join(" ".join(lines).split())
    assert flat.endswith("browser: pyscale.scale.html. Written in 12.3 s: scaled.expt, scaled.refl")
    figures = [Path(f"plots/cc-half.{kind}").resolve() for kind in ("svg", "png")]
    many = " ".join(screen_summary(document, [*files, *figures], 12.34).split())
    assert many.endswith("scaled.expt, scaled.refl, 2 figures in plots")
    assert "\x1b" not in flat
    assert max(map(len, lines)) <= columns
    assert len(lines) <= 22 or columns == 40


def test_many_problems_leave_room_for_the_statistics(document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from pyscale.verdict import NextStep, Problem, Verdict

    problems = tuple(Problem(f"t{k}", "caution", f"Problem {k}: " + "word " * 30) for k in range(9))
    steps = tuple(NextStep("Try this one. " * 4, f"option{k}=1") for k in range(9))
    verdict = Verdict("poor", "Poor data: problem 0.", (), problems, steps, None)
    monkeypatch.setattr("pyscale.cli.summary.verdict_of", lambda _: verdict)
    monkeypatch.setenv("COLUMNS", "80")
    lines = screen_summary(document, [Path("scaled.expt").resolve()], 1.0).splitlines()
    assert len(lines) <= 22
    assert any(re.fullmatch(r"- \d more remarks in log and report", line) for line in lines)
    assert any(line.startswith("Next: ") for line in lines) and any(line.startswith("R_pim") for line in lines)


def test_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "-q", "d_min=7", f"output.directory={tmp_path}"]) == 0
    files = [str(tmp_path / name) for name in ("simulated.expt", "simulated.refl")]
    assert main(["show", "--quiet", *files]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["show", "-q", str(tmp_path / "none.expt")]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert main(["show", "-q", "-v", *files]) == 2
    assert "contradict each other" in capsys.readouterr().err
