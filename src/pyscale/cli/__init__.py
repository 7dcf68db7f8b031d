"""The command `pyscale`."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from pyscale.errors import PyscaleError, UsageError
from pyscale.io.journal import Journal

from .console import UnexpectedError
from .interrupt import interruptible, what_is_kept
from .terminal import close_output, write, write_error

__all__ = ["command", "main"]


@dataclass(frozen=True)
class _Command:
    arguments: str
    summary: str


_COMMANDS = {
    "scale": _Command("FILE... [name=value ...]", "scale integrated data; the main job"),
    "show": _Command("FILE...", "what is in these files: data sets, columns, symmetry, models"),
    "apply": _Command("MODEL.expt FILE...", "evaluate a stored scaling model on reflections, no fit"),
    "slice": _Command("FILE... image_range=id:first:last", "a part of a sweep as a data set of its own"),
    "simulate": _Command("[name=value ...]", "a data set with a known answer, for trying and for testing"),
    "demo": _Command("", "simulate, scale and report in one go: a first try"),
    "merge": _Command(
        "scaled.expt scaled.refl", "merged intensities, amplitudes and free-R flags (MTZ), statistics; no fit"
    ),
    "export": _Command("scaled.expt scaled.refl format=mtz", "reflections in the formats of other programs, no fit"),
    "report": _Command(
        "pyscale.scale.json | scaled.expt scaled.refl", "the HTML report again; --compare A.json B.json: of two jobs"
    ),
}


def command() -> NoReturn:
    """Be the program `pyscale`: run `main`, and end the process; one that was stopped waits for none of its threads."""
    status = main()
    if status > 128:
        os._exit(status)
    sys.exit(status)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv
        Arguments without the program's name; None for those of the process.

    Returns
    -------
    int
        Exit status: 0 done, 1 the data cannot be used, 2 wrong usage, 130 interrupted by Ctrl-C (128 + the number of
        the signal for others).
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    # Read by OpenMP when it is loaded: threads that spin while they wait slow a job down threefold on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    journal = Journal()
    try:
        with interruptible(journal):
            status = _run(arguments)
    except KeyboardInterrupt as error:
        write_error(what_is_kept(journal))
        status = getattr(error, "exit_status", 130)
    except Exception as error:
        if os.environ.get("PYSCALE_DEBUG") and not isinstance(error, (PyscaleError, OSError, MemoryError)):
            raise
        text, status = _told(error)
        write_error(text)
    close_output()
    return status


def _told(error: Exception) -> tuple[str, int]:
    """One line for an error, and the exit status."""
    if isinstance(error, PyscaleError):
        return str(error), error.exit_status
    if isinstance(error, MemoryError):
        return "not enough memory for this job", 1
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}", 1
    return _unexpected(error), 1


def _run(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        write(_help())
        return 0 if arguments else UsageError.exit_status
    name, rest = arguments[0], arguments[1:]
    if name == "--version":
        from pyscale import __version__

        write(f"pyscale {__version__}")
        return 0
    if name == "--cmake-dir":
        from pyscale.cmake_package import cmake_dir

        write(str(cmake_dir()))
        return 0
    if name not in _COMMANDS:
        raise UsageError(f"unknown command {name[:60]}{_nearest(name)}")
    run: Callable[[Sequence[str]], int] = importlib.import_module(f"pyscale.cli.{name}").run
    return run(rest)


def _help() -> str:
    lines = ["Put integrated diffraction intensities on one scale.", ""]
    for name, command in _COMMANDS.items():
        lines += [f"  pyscale {name} {command.arguments}".rstrip(), f"      {command.summary}"]
    lines += [
        "",
        "  pyscale COMMAND --help            the options of a command, the common ones first",
        "  pyscale COMMAND --show-options    every option with type, default and meaning",
        "  pyscale --version",
        "  pyscale --cmake-dir               where find_package(pyscale) of CMake finds the C++ library",
    ]
    return "\n".join(lines)


def _nearest(name: str) -> str:
    from difflib import get_close_matches

    if name.startswith("-"):
        return " (pyscale --help lists the commands)"
    near = get_close_matches(name, _COMMANDS, n=2)
    return f": did you mean {' or '.join(near)}?" if near else f": expected one of {', '.join(_COMMANDS)}"


def _unexpected(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, UnexpectedError) and error.__cause__ else error
    log = f" with {error.log_path}" if isinstance(error, UnexpectedError) else ""
    text = " ".join(f"{type(cause).__name__} {cause}".split())[:200]
    return f"unexpected error, please report it{log} (PYSCALE_DEBUG=1 shows where it arose): {text}"
