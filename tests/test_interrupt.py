"""Signals: commands stop at once, wherever they are, and say what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Whatever the tests themselves run under: nohup ignores SIGHUP, and so would the program.
START = """
import signal, sys
signal.signal(signal.SIGINT, signal.{handler})
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
"""

FAKE = """
import hashlib, logging, threading, time, types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pyscale.cli import command
from pyscale.io.atomic import OutputSet
from pyscale.io.journal import journal_in_use

def in_c():  # lets other threads run, but looks at no signals
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 2_000_000_000)

def in_thread():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(in_c).result()

def beside_thread():  # that the end of the program would wait for
    threading.Thread(target=in_c).start()
    in_python()

def in_python():
    while True:
        time.sleep(0.01)

def while_files_move():
    with journal_in_use().settling():
        ready()
        time.sleep(1.0)
    in_python()

def ready():
    print("ready", flush=True)

class Result:
    def write_outputs(self, output, **keywords):
        if "{where}" == "after_one":
            with OutputSet() as done:
                done.stage("first.txt").write_text("whole")
        with OutputSet() as outputs:
            outputs.stage("second.txt").write_text("half")
            if "{where}" != "while_files_move":
                ready()
            {{"after_one": in_c}}.get("{where}", globals().get("{where}"))()

sys.modules["pyscale.scaler"] = types.SimpleNamespace(scale_files=lambda *a: Result())
sys.argv[1:] = ["scale", "a.expt"]
command()
"""


def stopped(code: str, folder: Path, number: signal.Signals) -> tuple[int, str, float]:
    """Exit status, standard error and seconds of a program that is told to stop once it is ready."""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as job:
        assert job.stdout is not None and job.stderr is not None
        while job.stdout.readline().strip() != "ready":
            assert job.poll() is None, job.stderr.read()
        start = time.monotonic()
        job.send_signal(number)
        error = job.stderr.read()
        job.wait()
        return job.returncode, error, time.monotonic() - start


@pytest.mark.parametrize("where", ["in_python", "in_c", "in_thread", "beside_thread", "while_files_move"])
def test_interrupted(where: str, tmp_path: Path) -> None:
    code = START.format(handler="default_int_handler") + FAKE.format(where=where)
    status, error, seconds = stopped(code, tmp_path, signal.SIGINT)
    assert status == 130
    assert error == "pyscale: interrupted: no output was written, and files from before are as they were\n"
    assert list(tmp_path.iterdir()) == []
    assert seconds < 10.0  # 0.2 to 1.2 on a machine that is not busy


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_other_signals_and_what_is_kept(name: str, tmp_path: Path) -> None:
    code = START.format(handler="default_int_handler") + FAKE.format(where="after_one")
    number = signal.Signals[name]
    status, error, _ = stopped(code, tmp_path, number)
    assert status == 128 + number
    assert error == "pyscale: interrupted: these outputs are complete and kept: first.txt\n"
    assert [path.name for path in tmp_path.iterdir()] == ["first.txt"]


def test_signals_that_are_ignored_stay_so(tmp_path: Path) -> None:
    code = START.format(handler="SIG_IGN") + FAKE.format(where="in_python")
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE) as job:
        assert job.stdout is not None
        while job.stdout.readline().strip() != b"ready":
            assert job.poll() is None
        job.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert job.poll() is None
        job.send_signal(signal.SIGKILL)


def test_handlers_are_put_back() -> None:
    from pyscale.cli import main

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert main(["--version"]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("shown", [" of the fit", "analyses"])
def test_control_c_on_a_terminal(shown: str, tmp_path: Path) -> None:
    """A whole job, stopped when its progress says so by the key itself."""
    code = (
        START.format(handler="default_int_handler")
        + "from pyscale.cli import command; sys.argv[1:] = ['demo']; command()"
    )
    terminal, device = os.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(
        [sys.executable, "-c", f"import fcntl, termios; fcntl.ioctl(1, termios.TIOCSCTTY, 0)\n{code}"],
        cwd=tmp_path,
        stdin=device,
        stdout=device,
        stderr=device,
        env=environment,
        start_new_session=True,
    ) as job:
        os.close(device)
        text = ""
        while shown not in text:
            text += os.read(terminal, 4096).decode("utf-8", "replace")
        os.write(terminal, b"\x03")
        rest = ""
        try:
            while part := os.read(terminal, 4096):
                rest += part.decode("utf-8", "replace")
        except OSError:
            pass
    os.close(terminal)
    assert job.returncode == 130, rest
    flat = " ".join(rest.split())
    kept = [f"pyscale-demo/{name}" for name in ("simulated.expt", "simulated.refl", "truth.npz")]
    assert f"pyscale: interrupted: these outputs are complete and kept: {', '.join(kept)}" in flat
    assert rest.rstrip().endswith("truth.npz") and "Traceback" not in rest
    assert rest.count("\x1b[?25h") >= 1  # the cursor is back
    assert sorted(path.name for path in (tmp_path / "pyscale-demo").iterdir()) == sorted(
        name.rpartition("/")[2] for name in kept
    )
