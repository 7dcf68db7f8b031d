"""Use an installed pyscale, with nothing of the source tree: import every module, run a small job by all commands.

``python -W error .ci/check_installation.py``: warnings are errors here and in the commands.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import pyscale

EXTRAS = {"h5py", "matplotlib", "pyarrow"}
COMMANDS = (
    "simulate d_min=4",
    "show simulated.expt simulated.refl",
    "scale simulated.expt simulated.refl",
    "merge scaled.expt scaled.refl",
    "export scaled.expt scaled.refl format=mtz",
    "report scaled.expt scaled.refl",
)
OUTPUTS = (
    "scaled.refl",
    "merged.mtz",
    "scaled_unmerged.mtz",
    "pyscale.scale.json",
    "pyscale.scale.html",
    "pyscale.report.html",
)


def import_everything() -> int:
    """Import all modules of the package; those of extras may lack their library, and nothing else."""
    names = [module.name for module in pkgutil.walk_packages(pyscale.__path__, "pyscale.")]
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in EXTRAS:
                raise
    return len(names)


def run_commands(directory: Path) -> None:
    program = "import sys; from pyscale.cli import main; sys.exit(main())"
    for command in COMMANDS:
        subprocess.run(
            [sys.executable, "-W", "error", "-c", program, *command.split()],
            cwd=directory,
            env={**os.environ, "PYSCALE_DEBUG": "1", "PYTHONSAFEPATH": "1"},
            check=True,
            stdout=subprocess.DEVNULL,
        )
    for name in OUTPUTS:
        assert (directory / name).stat().st_size > 0, name


def main() -> int:
    source = Path(__file__).resolve().parent.parent / "src"
    assert source not in Path(pyscale.__file__).resolve().parents, f"{pyscale.__file__} is the source tree"
    assert pyscale.__version__ == metadata.version("pyscale-xtal")
    n_modules = import_everything()
    with tempfile.TemporaryDirectory() as directory:
        run_commands(Path(directory))
    versions = [f"{name} {metadata.version(name)}" for name in ("numpy", "scipy", "gemmi", "msgpack")]
    sys.stdout.write(f"{n_modules} modules, {len(COMMANDS)} commands with {', '.join(versions)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
