"""The committed stub _core.pyi says what the binary offers: names, arguments, defaults, array types and results."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyscale import _core

SIGNATURE = re.compile(r"^(?:\d+\. )?(\w+\(.*\)(?: -> .+)?)$", re.MULTILINE)


def stub_scope(repository: Path) -> ast.Module:
    return ast.parse((repository / "src" / "pyscale" / "_core.pyi").read_text(encoding="utf-8"))


def declared(scope: ast.Module | ast.ClassDef) -> dict[str, list[ast.stmt]]:
    """Statements of a scope by the name that they declare; an overloaded function has several."""
    names: dict[str, list[ast.stmt]] = {}
    for node in scope.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.setdefault(node.target.id, []).append(node)
    return names


def public_names(owner: object) -> set[str]:
    return {name for name in vars(owner) if not name.startswith("_")}


def bound_functions(owner: object, declarations: dict[str, list[ast.stmt]]) -> Iterator[tuple[str, str, ast.stmt]]:
    """Yield (name, signature in the binary, declaration) of every function and method."""
    for name, nodes in declarations.items():
        value = inspect.getattr_static(owner, name)
        if isinstance(value, type):
            assert len(nodes) == 1
            assert isinstance(nodes[0], ast.ClassDef)
            yield from bound_functions(value, declared(nodes[0]))
        elif isinstance(value, property):
            (result,) = re.findall(r"-> .+", value.fget.__doc__ or "")
            yield name, f"{name}() {result}", nodes[0]
        elif isinstance(nodes[0], ast.FunctionDef):
            signatures = [s for s in SIGNATURE.findall(getattr(owner, name).__doc__ or "") if s.startswith(name)]
            assert len(signatures) == len(nodes), f"{name}: {len(signatures)} signatures, {len(nodes)} in the stub"
            yield from ((name, *pair) for pair in zip(signatures, nodes, strict=True))


def arguments(function: ast.FunctionDef) -> list[tuple[str, str | None, bool]]:
    """(name, array element type if it is an array, has a default) of each argument but self."""
    names = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    positional = len(names) - len(function.args.kwonlyargs)
    first_default = positional - len(function.args.defaults)
    optional = [first_default <= i < positional for i in range(positional)]
    optional += [default is not None for default in function.args.kw_defaults]
    return [
        (argument.arg, array_type(argument.annotation), default)
        for argument, default in zip(names, optional, strict=True)
        if argument.arg != "self"
    ]


def array_type(annotation: ast.expr | None) -> str | None:
    text = ast.unparse(annotation) if annotation else ""
    found = re.search(r"NDArray\[(?:np|numpy)\.(\w+)\]", text)
    return found.group(1).rstrip("_") if found else None


def returned(function: ast.FunctionDef) -> tuple[str, str | None]:
    """(type without module and parameters, array element type if it is an array) of what is returned.

    The binary may say less: an array or tuple of anything.
    """
    text = ast.unparse(function.returns) if function.returns else "None"
    outer = text.partition("[")[0].rpartition(".")[2].replace("ndarray", "NDArray")
    return outer, array_type(function.returns) if outer == "NDArray" else None


def mismatches(owner: object, scope: ast.Module) -> list[str]:
    found = []
    for name, signature, node in bound_functions(owner, declared(scope)):
        assert "::" not in signature, f"{name}: bind the class before the functions that take it: {signature}"
        # Default values that are no literals print as <...>.
        compiled = ast.parse("def " + re.sub(r"<[^<>]*>", "...", signature) + ": ...").body[0]
        assert isinstance(compiled, ast.FunctionDef)
        assert isinstance(node, ast.FunctionDef)
        if arguments(compiled) != arguments(node):
            found.append(f"{name}: the binary has {arguments(compiled)}, the stub {arguments(node)}")
        ours, theirs = returned(node), returned(compiled)
        if ours[0] != theirs[0] or theirs[1] not in (None, ours[1]):
            found.append(f"{name}: the binary returns {theirs}, the stub {ours}")
    return found


def test_every_public_name_is_in_the_stub(repository: Path) -> None:
    declarations = declared(stub_scope(repository))
    assert public_names(_core) == {name for name in declarations if not name.startswith("_")}
    for name, nodes in declarations.items():
        if isinstance(nodes[0], ast.ClassDef):
            in_stub = {n for n in declared(nodes[0]) if not n.startswith("_")}
            assert public_names(getattr(_core, name)) == in_stub, name


def test_signatures_agree(repository: Path) -> None:
    scope = stub_scope(repository)
    assert list(bound_functions(_core, declared(scope)))
    assert mismatches(_core, scope) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rank:", "ranks:"),
        ("rank: NDArray[np.int64]", "rank: NDArray[np.int32]"),
        (": int = 1", ": int"),
        ("-> dict[str, NDArray[np.int64]]", "-> NDArray[np.int64]"),
    ],
)
def test_a_stub_that_differs_is_noticed(repository: Path, old: str, new: str) -> None:
    (node,) = declared(stub_scope(repository))["group_reflections"]
    text = ast.unparse(node)
    assert old in text.replace("int=1", "int = 1")
    changed = ast.parse(text.replace("int=1", "int = 1").replace(old, new))
    assert len(mismatches(_core, changed)) == 1


def test_stubtest(repository: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed (pip install '.[lint]')")
    allowlist = repository / "tests" / "stubtest_allowlist.txt"
    stubtest = (sys.executable, "-m", "mypy.stubtest", "pyscale._core")
    done = subprocess.run(
        [*stubtest, "--mypy-config-file", "pyproject.toml", "--allowlist", str(allowlist), "--ignore-unused-allowlist"],
        cwd=repository,
        env={**os.environ, "MYPYPATH": str(repository / "src")},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
