"""Check the metadata of a wheel, and what its extension module shows: ``check_wheel.py FILE.whl``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from email import message_from_bytes
from pathlib import Path

METADATA = (
    "Name",
    "Version",
    "Summary",
    "Keywords",
    "Author",
    "Maintainer",
    "License-Expression",
    "License-File",
    "Classifier",
    "Requires-Python",
    "Requires-Dist",
    "Provides-Extra",
    "Description-Content-Type",
)


def metadata_problems(wheel: zipfile.ZipFile) -> list[str]:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = message_from_bytes(wheel.read(name))
    return [f"the metadata lack {field}" for field in METADATA if not metadata.get(field)]


def module_problems(wheel: zipfile.ZipFile) -> list[str]:
    """On Linux: the module exports the function that the interpreter calls and nothing else, and is stripped."""
    if sys.platform != "linux" or shutil.which("nm") is None:
        return []
    (name,) = (n for n in wheel.namelist() if n.startswith("pyscale/_core.") and n.endswith(".so"))
    with tempfile.TemporaryDirectory() as folder:
        module = wheel.extract(name, folder)
        exported = [line.split()[-1] for line in symbols("-D", "--defined-only", module)]
        others = symbols(module)
    found = [f"the extension module exports {symbol}" for symbol in exported if symbol != "PyInit__core"]
    return found + (["the extension module is not stripped"] if others else [])


def symbols(*arguments: str) -> list[str]:
    return subprocess.run(["nm", *arguments], capture_output=True, text=True, check=True).stdout.splitlines()


def main(path: Path) -> int:
    with zipfile.ZipFile(path) as wheel:
        found = metadata_problems(wheel) + module_problems(wheel)
    sys.stdout.write("\n".join(found or [f"{path.name}: {path.stat().st_size / 1e6:.2f} MB"]) + "\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
