"""Outputs appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyscale.errors import UsageError
from pyscale.io import atomic
from pyscale.io.atomic import OutputSet, write_atomically


def files(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in folder.iterdir()}


def test_a_file_appears_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with write_atomically(tmp_path / "a") as temporary:
        temporary.write_text("new")
        assert (tmp_path / "a").read_text() == "old"
    assert files(tmp_path) == {"a": "new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_after_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "a").write_text("old")

    def fail() -> None:
        with OutputSet() as outputs:
            outputs.stage(tmp_path / "a").write_text("new")
            outputs.stage(tmp_path / "b").write_text("new")
            raise error

    with pytest.raises(error):
        fail()
    assert files(tmp_path) == {"a": "old"}


def test_a_failing_rename_undoes_those_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("old")
    replace = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if Path(target).name == "c":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)

    def write() -> None:
        with OutputSet() as outputs:
            for name in "abc":
                outputs.stage(tmp_path / name).write_text("new")

    with pytest.raises(UsageError, match=r"c: cannot be written \(No space left on device\); no output was written"):
        write()
    assert files(tmp_path) == {"a": "old"}


@pytest.mark.parametrize("hard_links", [True, False])
def test_existing_files_are_replaced_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hard_links: bool
) -> None:
    if not hard_links:

        def refuse(self: Path, target: Path) -> None:
            raise OSError(1, "Operation not permitted")

        monkeypatch.setattr(atomic.Path, "hardlink_to", refuse)
    (tmp_path / "a").write_text("old")
    with OutputSet() as outputs:
        outputs.stage(tmp_path / "a").write_text("1")
        outputs.stage(tmp_path / "b").write_text("2")
    assert files(tmp_path) == {"a": "1", "b": "2"}


def test_inputs_are_overwritten_only_when_named(tmp_path: Path) -> None:
    source = tmp_path / "in.refl"
    source.write_text("old")
    (tmp_path / "link.refl").symlink_to(source)
    with OutputSet(inputs=[source]) as outputs:
        for name in ("in.refl", "link.refl", "./in.refl"):
            with pytest.raises(UsageError, match="is an input file"):
                outputs.stage(tmp_path / name)
        outputs.stage(source, named_as_output=True).write_text("new")
    assert source.read_text() == "new"
    assert (tmp_path / "link.refl").read_text() == "new"


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with OutputSet() as outputs:
        with pytest.raises(UsageError, match="out: the directory does not exist"):
            outputs.stage(tmp_path / "none" / "out")
        with pytest.raises(UsageError, match="out: the directory does not exist"):
            outputs.stage(tmp_path / "file" / "out")
        with pytest.raises(UsageError, match="is not a regular file"):
            outputs.stage(tmp_path)
        outputs.stage(tmp_path / "twice").write_text("1")
        with pytest.raises(UsageError, match="two outputs"):
            outputs.stage(tmp_path / "twice")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with OutputSet() as outputs, pytest.raises(UsageError, match="out: no permission to write"):
            outputs.stage(tmp_path / "out")
    finally:
        tmp_path.chmod(0o755)


def test_the_usual_permissions_are_given(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with write_atomically(tmp_path / "out") as temporary:
        temporary.write_text("")
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode
