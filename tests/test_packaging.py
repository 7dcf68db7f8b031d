"""What is said of versions in several places agrees."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


def constraints(repository: Path) -> dict[str, str]:
    text = (repository / ".ci" / "constraints-oldest.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w-]+)==(\S+)$", text, re.MULTILINE))


def minima(repository: Path) -> dict[str, str]:
    """Lower limits of the dependencies and of the extras for users."""
    text = (repository / "pyproject.toml").read_text(encoding="utf-8")
    (dependencies,) = re.findall(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    extras = re.findall(r"^(?:arrow|hdf5|plots) = \[(.*?)\]", text, re.MULTILINE)
    return dict(re.findall(r'"([\w-]+)>=([\d.]+)"', dependencies + "".join(extras)))


def test_the_oldest_dependencies_are_those_that_are_tested(repository: Path) -> None:
    tested, admitted = constraints(repository), minima(repository)
    assert tested.keys() == admitted.keys()
    for name, oldest in admitted.items():
        assert re.fullmatch(re.escape(oldest) + r"(\.0)*", tested[name]), f"{name}>={oldest}, tested {tested[name]}"


def test_the_recipe_needs_what_the_package_needs(repository: Path) -> None:
    run = (repository / "recipe" / "recipe.yaml").read_text(encoding="utf-8").partition("  run:\n")[2]
    needed = dict(re.findall(r"^    - ([\w-]+) >=([\d.]+)$", run, re.MULTILINE))
    needed["msgpack"] = needed.pop("msgpack-python")
    text = (repository / "pyproject.toml").read_text(encoding="utf-8")
    (python,) = re.findall(r'^requires-python = ">=([\d.]+)"', text, re.MULTILINE)
    of_extras = ("pyarrow", "h5py", "matplotlib")
    assert needed == {"python": python} | {k: v for k, v in minima(repository).items() if k not in of_extras}


@pytest.mark.parametrize(
    ("file", "pattern"),
    [("CITATION.cff", r"^version: (\S+)$"), ("recipe/recipe.yaml", r'^  version: "(\S+)"$')],
)
def test_one_version(repository: Path, file: str, pattern: str) -> None:
    text = (repository / "pyproject.toml").read_text(encoding="utf-8")
    (version,) = re.findall(r'^version = "(\S+)"$', text, re.MULTILINE)
    assert re.findall(pattern, (repository / file).read_text(encoding="utf-8"), re.MULTILINE) == [version]
