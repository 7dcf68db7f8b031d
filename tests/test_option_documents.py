"""Options as PHIL and TOML text and as a JSON schema, and back; flags that show them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pyscale.cli import main
from pyscale.errors import UsageError
from pyscale.option_documents import json_schema, phil_text, toml_text, value_of
from pyscale.option_text import changed_options, parse_arguments
from pyscale.options import SCALING_NAMES, ScalingOptions, options_of, with_changes
from pyscale.options.dials import expert_level
from pyscale.phil import parse_phil
from pyscale.simulation import SimulationOptions

OPTIONS = {option.path: option for option in options_of(ScalingOptions)}
needs_toml = pytest.mark.skipif(sys.version_info < (3, 11), reason="TOML needs Python 3.11")


def read_back(text: str, name: str, folder: Path) -> ScalingOptions:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return parse_arguments([str(path)], SCALING_NAMES).options


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("options")


def test_all_defaults_are_written_with_their_help(folder: Path) -> None:
    for text, name in ((toml_text(ScalingOptions()), "x.toml"), (phil_text(ScalingOptions(), attributes=1), "x.phil")):
        words = " ".join(text.replace("#", " ").replace('"', " ").split())
        for option in OPTIONS.values():
            assert f"{option.name} = " in text, option.path
            assert " ".join(option.help.replace('"', " ").split())[:60] in words, option.path
        if name == "x.phil" or sys.version_info >= (3, 11):
            (folder / name).write_text(text, encoding="utf-8")
            parsed = parse_arguments([str(folder / name)], SCALING_NAMES)
            assert parsed.options == ScalingOptions() and parsed.given == set(OPTIONS)


def test_libtbx_reads_our_phil_text(run_oracle: Callable[..., None], tmp_path: Path) -> None:
    tree = with_changes(
        ScalingOptions(),
        {
            "model": "KB",
            "output.merged_mtz": 'a "b" #{c}=d.mtz',
            "reflection_selection.best_unit_cell": (10, 20, 30, 90, 90, 90),
            "scaling_options.outlier_rejection": None,
            "cut_data.d_min": 1.5,
        },
    )
    source, answer = tmp_path / "x.phil", tmp_path / "answer.json"
    source.write_text(phil_text(tree, attributes=2), encoding="utf-8")
    run_oracle("libtbx_phil.py", "text", source, answer)
    read = dict(json.loads(answer.read_text(encoding="utf-8")))
    assert set(read) == set(OPTIONS)
    assert read["model"] == ["physical", "*KB", *read["model"][2:]]
    assert read["output.merged_mtz"] == ['a "b" #{c}=d.mtz']
    assert read["reflection_selection.best_unit_cell"] == ["10.0", "20.0", "30.0", "90.0", "90.0", "90.0"]
    assert not any(word.startswith("*") for word in read["scaling_options.outlier_rejection"])
    assert read["cut_data.d_min"] == ["1.5"] and read["exclude_images"] == ["None"]


def test_phil_text_of_dials(require_dials: Path, tmp_path: Path) -> None:
    for levels in (["-e0"], ["-e3", "-a3"]):
        done = subprocess.run(
            [require_dials / "dials.scale", "-c", *levels], capture_output=True, text=True, check=True
        )
        items = parse_phil(done.stdout.partition("\n\n")[2], "dials.phil")
        names = [item.name for item in items]
        assert len(set(names)) == len(names) > (20 if levels == ["-e0"] else 100)
        for name in set(names) - {"input.experiments", "input.reflections"}:
            assert [option.path for option in SCALING_NAMES.resolve(name)] == [name]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('output { json = """a "b" c""" }', {"output.json": 'a "b" c'}),
        ('physical\n  .help = "two"\n  "lines"\n  .expert_level = 1\n{ lmax = 6 }', {"physical.lmax": 6}),
        ('json = "one"\nlmax = 5', {"output.json": "one", "physical.lmax": 5}),
        ("cut_data.d_min = 2 # x\ncut_data { d_max = 20; min_isigi = -1 }", None),
        ("input.experiments = None\nlmax = 6", {"physical.lmax": 6}),
        ("exclude_images = 0:1:5\nexclude_images = 1:2:3 *:7:9", {"exclude_images": ("0:1:5", "1:2:3", "*:7:9")}),
    ],
)
def test_phil_as_people_write_it(text: str, expected: dict[str, Any] | None, folder: Path) -> None:
    expected = expected or {"cut_data.d_min": 2.0, "cut_data.d_max": 20.0, "cut_data.min_isigi": -1.0}
    changed = changed_options(read_back(text, "x.phil", folder))
    assert {path: value for path, value in changed.items() if path in expected} == expected


@pytest.mark.parametrize("text", ["include file other.phil", "a = 1\ninclude scope some.module.phil_scope"])
def test_include_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"x\.phil line \d: include is not supported: give the other file"):
        parse_phil(text, "x.phil")


def test_schema_accepts_what_options_accept() -> None:
    schema = json_schema(ScalingOptions, "options")
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert validator.is_valid(ScalingOptions().to_dict())
    assert validator.is_valid({"cut_data": {"d_min": 1.5}})
    wrong: list[dict[str, Any]] = [
        {"cut_data": {"d_min": "1.5"}},
        {"cut_data": {"d_min": 0.01}},
        {"cut_data": {"dmin": 2.0}},
        {"model": "phsical"},
        {"physical": {"lmax": None}},
        {"reflection_selection": {"best_unit_cell": [1.0]}},
    ]
    for value in wrong:
        assert not validator.is_valid(value), value


def shown(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_configuration(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    text = shown(["scale", "d_min=2", "-c", "-e", "1"], capsys)
    expected = {path for path in OPTIONS if expert_level(path) <= 1}
    assert {item.name for item in parse_phil(text, "x")} == expected
    assert changed_options(read_back(text, "x.phil", folder)) == {"cut_data.d_min": 2.0}
    assert ".help" not in text
    for flags in (["-e3", "-a", "2"], ["--expert-level=3", "--attributes-level", "2"]):
        text = shown(["scale", "--show-config", *flags], capsys)
        assert {item.name for item in parse_phil(text, "x")} == set(OPTIONS)
        assert ".help = " in text and ".type = float" in text and ".expert_level = 2" in text
    assert "cut_data" not in shown(["scale", "-c"], capsys)


@needs_toml
def test_shown_options_are_files_of_options(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert read_back(shown(["scale", "--show-options=toml"], capsys), "x.toml", folder) == ScalingOptions()
    assert read_back(shown(["scale", "--show-options=phil"], capsys), "x.phil", folder) == ScalingOptions()
    assert json.loads(shown(["scale", "--options-schema"], capsys))["properties"]["cut_data"]["type"] == "object"
    assert "n_sweeps = 1" in shown(["simulate", "--show-options=toml"], capsys)


def test_options_of_flat_commands_are_documents_too() -> None:
    Draft202012Validator(json_schema(SimulationOptions, "x")).validate({"d_min": 3.0, "kind": "stills"})
    assert value_of(SimulationOptions(), options_of(SimulationOptions)[0]) == "rotation"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--export-autocomplete-hints"], "pyscale has no completion for the shell; --show-options lists"),
        (["-c", "-e", "x"], "flag -e x: expected a level, 0 to 3"),
        (["-a"], "flag -a needs a value"),
        (["--phil"], "flag --phil needs a value"),
        (["--phil", "none.txt"], "cannot read options from none.txt: No such file"),
        (["--show-options=yaml"], "expected one of text, toml, phil"),
        (["--sor"], "unknown flag --sor: did you mean --sort?"),
    ],
)
def test_wrong_flags(flags: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scale", "a.expt", *flags]) == 2
    captured = capsys.readouterr()
    assert reason in captured.err and captured.err.count("\n") == 1


def test_version_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(["scale", "--version"], capsys) == shown(["--version"], capsys)


def test_phil_flag(capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "settings.txt"
    path.write_text("physical { lmax = 6 }", encoding="utf-8")
    assert "lmax = 6" in shown(["scale", "-c", "-e1", "--phil", str(path)], capsys)
    assert "lmax = 6" in shown(["scale", "-c", "-e1", f"--phil={path}"], capsys)
    assert "lmax = 5" in shown(["scale", "-c", "-e1", "--phil", str(path), "lmax=5"], capsys)
    monkeypatch.setattr("sys.stdin", io.StringIO("cut_data.d_min = 3"))
    assert "d_min = 3.0" in shown(["scale", "-c", "-e1", "--phil", "-"], capsys)


@pytest.mark.parametrize(
    "arguments",
    [["d_min=", "2"], ["d_min", "=2"], ["d_min", "=", "2"], ["d_min = 2"], ["d_min =", "2"]],
)
def test_spaces_beside_the_sign(arguments: list[str]) -> None:
    parsed = parse_arguments([*arguments, "a.refl"], SCALING_NAMES)
    assert changed_options(parsed.options) == {"cut_data.d_min": 2.0}
    assert parsed.files == (Path("a.refl"),)
    assert len(parsed.notes) == (len(arguments) > 1)


def test_a_missing_value_takes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a.refl"
    path.touch()
    for arguments in (["html=", str(path)], ["html="], ["html=", "lmax=6"]):
        with pytest.raises(UsageError, match=r"output\.html has no value"):
            parse_arguments(arguments, SCALING_NAMES)


def test_input_files_by_the_names_of_dials() -> None:
    parsed = parse_arguments(["input.experiments=a.expt", 'input.reflections="a.refl b.refl"'], SCALING_NAMES)
    assert parsed.files == (Path("a.expt"), Path("a.refl"), Path("b.refl"))


def test_lists_and_booleans_in_any_writing() -> None:
    path = "reflection_selection.best_unit_cell"
    for text in ("10 20 30 90 90 90", "10,20,30,90,90,90", "[10, 20,30 90,90,90]", "(10,20,30,90,90,90)"):
        for written in (text, f'"{text}"', f"'{text}'"):
            changed = changed_options(parse_arguments([f"best_unit_cell={written}"], SCALING_NAMES).options)
            assert changed == {path: (10.0, 20.0, 30.0, 90.0, 90.0, 90.0)}, written
    for word in ("True", "true", "YES", "on", "1"):
        assert parse_arguments([f"anomalous={word}"], SCALING_NAMES).options.anomalous is True
    for word in ("False", "no", "OFF", "0"):
        assert parse_arguments([f"anomalous={word}"], SCALING_NAMES).options.anomalous is False
    for word in ("none", "NONE", "None"):
        assert parse_arguments([f"html={word}"], SCALING_NAMES).options.output.html is None
    for word in ("auto", "Auto", "AUTO"):
        assert parse_arguments([f"lmax={word}"], SCALING_NAMES).options == ScalingOptions()
