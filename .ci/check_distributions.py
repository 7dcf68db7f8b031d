"""Check what the source distribution and the wheel hold: ``check_distributions.py DIRECTORY``."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

IN_WHEEL = ("pyscale/__init__.py", "pyscale/_core.pyi", "pyscale/py.typed")
TEMPLATES = ("*.html*", "*.css", "*.js")
DEVELOPMENT = (
    "pyscale/include/pyscale/scaling.hpp",
    "pyscale/include/pyscale/version.hpp",
    "pyscale/lib/libpyscale.a",
    "pyscale/lib/cmake/pyscale/pyscale-config.cmake",
    "pyscale/lib/cmake/pyscale/pyscale-targets.cmake",
)
DEVELOPMENT_FILES = ("pyscale/include/pyscale/", "pyscale/lib/")
NOT_IN_WHEEL = (".cpp", ".hpp", ".h", ".a", ".cmake")
LARGEST_WHEEL = 3_000_000
IN_SDIST = (
    "pyproject.toml",
    "CITATION.cff",
    "CMakeLists.txt",
    "README.md",
    "LICENSE",
    "tests/conftest.py",
    "cpp/tests/main.cpp",
    "cmake/library.cmake",
    "examples/cpp/scale_arrays.cpp",
    "tests/cpp_consumer/main.cpp",
)
NOT_IN_SDIST = ("build/", "dist/", ".venv/")


def problems(wheel: set[str], sdist: set[str], source: Path) -> list[str]:
    package = source / "src"
    templates = {str(p.relative_to(package)) for kind in TEMPLATES for p in package.rglob(kind)}
    found = [f"the wheel lacks {name}" for name in {*IN_WHEEL, *DEVELOPMENT, *templates} - wheel]
    others = {name for name in wheel if not name.startswith(DEVELOPMENT_FILES)}
    found += [f"the wheel holds {name}" for name in others if name.endswith(NOT_IN_WHEEL)]
    if not any(name.startswith("pyscale/_core.") and name.endswith(".so") for name in wheel):
        found.append("the wheel lacks the extension module")
    found += [f"the source distribution lacks {name}" for name in set(IN_SDIST) - sdist]
    found += [f"the source distribution holds {name}" for name in sdist if name.startswith(NOT_IN_SDIST)]
    return sorted(found)


def main(directory: Path) -> int:
    (wheel_path,) = directory.glob("*.whl")
    (sdist_path,) = directory.glob("*.tar.gz")
    with zipfile.ZipFile(wheel_path) as wheel, tarfile.open(sdist_path) as sdist:
        in_wheel = set(wheel.namelist())
        in_sdist = {name.partition("/")[2] for name in sdist.getnames()}
    found = problems(in_wheel, in_sdist, Path(__file__).resolve().parent.parent)
    size = wheel_path.stat().st_size
    if size > LARGEST_WHEEL:
        found.append(f"the wheel has {size} bytes, more than {LARGEST_WHEEL}")
    sys.stdout.write(
        "\n".join(found or [f"{len(in_sdist)} files in the source distribution, {len(in_wheel)} in the wheel"])
    )
    sys.stdout.write("\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
