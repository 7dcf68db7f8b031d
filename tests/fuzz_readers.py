"""Read thousands of damaged files: a reader returns data or raises PyscaleError, quickly and without a warning.

``python -W error tests/fuzz_readers.py [--files 300] [--seed 1] [--only KIND]``: the number is for each kind of file.
Not a test of the suite: docs/developing/contributing.md says how to run it, best against a build with sanitizers.
A file that fails is kept beside the message.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import mtz_files
import other_formats
import pickles
import pyscale
import xds_files
from pyscale.errors import PyscaleError
from pyscale.io.refl import read_refl, write_refl

SECONDS = 20
N_ROWS = 40
HKL_OPTIONS: dict[str, Any] = {"unit_cell": other_formats.CELL, "space_group": "P222", "wavelength": 0.7}
INTERESTING = (b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff" * 4, b"\xff\xff\xff\x7f", b"-1", b"1e999", b"nan", b"\n")
SAMPLES: dict[str, Callable[[Path], bytes]] = {}
READERS: dict[str, Callable[[Path], object]] = {}


def sample(kind: str, read: Callable[[Path], object]) -> Callable[[Callable[[Path], bytes]], Callable[[Path], bytes]]:
    """Register what makes a sound file of a kind, and its reader."""

    def register(make: Callable[[Path], bytes]) -> Callable[[Path], bytes]:
        SAMPLES[kind], READERS[kind] = make, read
        return make

    return register


def every_column(path: Path) -> None:
    table = read_refl(path)
    for name in table.names():
        np.asarray(table[name]).copy()


def with_sound_experiments(path: Path) -> None:
    pyscale.read(path.with_name("simulated.expt"), path)


def with_sound_reflections(path: Path) -> None:
    pyscale.read(path, path.with_name("simulated.refl"))


@sample("sound.pickle", every_column)
def pickled(folder: Path) -> bytes:
    return pickles.table_pickle(pickles.small_columns(N_ROWS), N_ROWS, {0: "a", 1: "b"})


@sample("columns.refl", every_column)
def packed(folder: Path) -> bytes:
    (folder / "x.pickle").write_bytes(pickled(folder))
    write_refl(read_refl(folder / "x.pickle"), folder / "x.refl")
    return (folder / "x.refl").read_bytes()


@sample("damaged.refl", with_sound_experiments)
def reflections(folder: Path) -> bytes:
    xds_files.small_sweep(d_min=9.0).write(folder)
    return (folder / "simulated.refl").read_bytes()


@sample("damaged.expt", with_sound_reflections)
def experiments(folder: Path) -> bytes:
    xds_files.small_sweep(d_min=9.0).write(folder)
    return (folder / "simulated.expt").read_bytes()


@sample("INTEGRATE.HKL", pyscale.read)
def integrate(folder: Path) -> bytes:
    xds_files.write_integrate(folder / "x", xds_files.small_sweep(d_min=9.0))
    return (folder / "x").read_bytes()


@sample("XDS_ASCII.HKL", pyscale.read)
def xds_ascii(folder: Path) -> bytes:
    data = xds_files.small_sweep(d_min=9.0)
    entries = xds_files.geometry_lines(data.experiments()[0], data.document)
    xds_files.write_ascii(folder / "x", entries, xds_files.sweep_columns(data))
    return (folder / "x").read_bytes()


@sample("shelx.hkl", lambda path: pyscale.read(path, **HKL_OPTIONS))
def hklf4(folder: Path) -> bytes:
    b = other_formats.simulated_batches(2, 40)
    return other_formats.hklf4_text(b.index, b.intensity, b.sigma, b.batch).encode()


@sample("crystfel.stream", pyscale.read)
def stream(folder: Path) -> bytes:
    return other_formats.stream_text(other_formats.simulated_stills(3, n_rows=20)).encode()


@sample("unmerged.mtz", pyscale.read)
def mtz(folder: Path) -> bytes:
    mtz_files.write_mtz(folder / "x.mtz", [mtz_files.simulate_sweep(n_images=3, d_min=6.0)])
    return (folder / "x.mtz").read_bytes()


def damaged(sound: bytes, random: np.random.Generator) -> bytes:
    """Change a few places: bytes replaced, bits flipped, pieces cut out, repeated, moved, or the end cut off."""
    data = bytearray(sound)
    for _ in range(int(random.integers(1, 5))):
        at, length = int(random.integers(0, len(data) + 1)), int(2 ** random.uniform(0, 8))
        piece = bytes(data[at : at + length])
        kind = int(random.integers(0, 7))
        if kind == 0 and piece:
            data[at] ^= 1 << int(random.integers(0, 8))
        elif kind == 1 and piece:
            data[at] = int(random.integers(0, 256))
        elif kind == 2:
            new = INTERESTING[int(random.integers(0, len(INTERESTING)))]
            data[at : at + len(new)] = new
        elif kind == 3:
            del data[at : at + length]
        elif kind == 4:
            data[at:at] = piece
        elif kind == 5:
            to = int(random.integers(0, len(data) + 1))
            data[to : to + len(piece)] = piece
        elif kind == 6 and random.random() < 0.3:
            del data[at:]
    return bytes(data)


def too_slow(*_: object) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


def outcomes(kind: str, n_files: int, seed: int, folder: Path) -> Iterator[str]:
    """Read damaged files; what became of each: data, refused, or FAILED."""
    sound = SAMPLES[kind](folder)
    path = folder / kind
    path.write_bytes(sound)
    READERS[kind](path)
    for number in range(n_files):
        path.write_bytes(damaged(sound, np.random.default_rng([seed, number])))
        signal.alarm(SECONDS)
        try:
            READERS[kind](path)
            yield "data"
        except PyscaleError:
            yield "refused"
        except Exception:
            kept = Path(tempfile.gettempdir()) / f"fuzz-{seed}-{number}-{kind}"
            kept.write_bytes(path.read_bytes())
            sys.stdout.write(f"{kept}\n{traceback.format_exc()}\n")
            yield "FAILED"
        finally:
            signal.alarm(0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=sorted(SAMPLES))
    arguments = parser.parse_args()
    logging.disable()
    signal.signal(signal.SIGALRM, too_slow)
    failed = 0
    for kind in [arguments.only] if arguments.only else SAMPLES:
        begin = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            found = list(outcomes(kind, arguments.files, arguments.seed, Path(folder)))
        counts = {name: found.count(name) for name in ("data", "refused", "FAILED")}
        failed += counts["FAILED"]
        sys.stdout.write(f"{kind}: {counts}, {time.process_time() - begin:.1f} s\n")
        sys.stdout.flush()
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
