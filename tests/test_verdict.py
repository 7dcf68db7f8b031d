"""The verdict: what is said of good, poor, electron, disconnected, twinned, damaged and nearly empty jobs."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

import pyscale
from pyscale.option_text import parse_arguments
from pyscale.options import SCALING_NAMES
from pyscale.verdict import GRADES, SEVERITIES, Verdict, verdict_of

Document = dict[str, Any]


def scaled_document(folder: Path, options: dict[str, Any] | None = None, **simulation: Any) -> Document:
    small = {"d_min": 3.0, "oscillation_width": 1.0, "n_sweeps": 1, "sweep_width": 90.0}
    paths = pyscale.simulate(**(small | simulation)).write(folder)
    return pyscale.scale(pyscale.read(*paths[:2]), **(options or {})).to_dict()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Document:
    return scaled_document(tmp_path_factory.mktemp("sound"))


def changed(document: Document, **values: Any) -> Document:
    """A copy with values at paths such as fit__termination; numbers are positions in lists."""
    copied = copy.deepcopy(document)
    for path, value in values.items():
        *above, last = path.split("__")
        place: Any = copied
        for key in above:
            place = place[int(key) if isinstance(place, list) else key]
        place[last] = value
    return copied


def severities(verdict: Verdict) -> dict[str, str]:
    return {p.topic: p.severity for p in verdict.problems}


def check(verdict: Verdict) -> None:
    """What holds for any verdict."""
    worst = max((SEVERITIES.index(p.severity) for p in verdict.problems), default=0)
    assert verdict.grade == GRADES[worst] or verdict.grade == "undecided"
    order = [SEVERITIES.index(p.severity) for p in verdict.problems]
    assert order == sorted(order, reverse=True)
    assert verdict.next_steps and verdict.sentences and verdict.headline.endswith(".")
    texts = [verdict.headline, *verdict.sentences]
    texts += [*(p.text for p in verdict.problems), *(s.text for s in verdict.next_steps)]
    assert all(t.strip() == t and "None" not in t and "nan" not in t.split() for t in texts)
    json.dumps(verdict.to_dict(), allow_nan=False)


def test_sound_data_are_good(sound: Document) -> None:
    verdict = verdict_of(sound)
    check(verdict)
    assert verdict.to_dict() == sound["verdict"]
    assert verdict.grade == "good" and verdict.d_min == pytest.approx(3.0, abs=0.02)
    assert f"useful to {verdict.d_min:.2f} Å" in verdict.headline


def test_cause_and_cure(sound: Document) -> None:
    """Each fault brings its own severity, grade and the option that helps."""
    limit = next(k for k, x in enumerate(sound["analyses"]["resolution"]["limits"]) if x["criterion"] == "cc_half")
    at = f"analyses__resolution__limits__{limit}"
    first, damage = sound["datasets"][0], "analyses__radiation_damage"
    cases: list[tuple[dict[str, Any], str, str, str]] = [
        ({"fit__termination": "max_iterations", "fit__message": "out of steps"}, "convergence", "caution", ""),
        ({"fit__undetermined": ["B of 1"]}, "undetermined", "caution", "model=KB"),
        ({"fit__chi_squared": 4.0}, "errors", "caution", ""),
        ({"connectivity__n_components": 2}, "disconnected", "fatal", "use_datasets=" + first["identifier"]),
        ({"merging_statistics__overall__completeness": 0.94}, "completeness", "note", ""),
        ({"merging_statistics__overall__completeness": 0.84}, "completeness", "caution", ""),
        ({"merging_statistics__overall__completeness": 0.4}, "completeness", "serious", ""),
        ({"merging_statistics__overall__multiplicity": 1.5}, "multiplicity", "caution", ""),
        ({"merging_statistics__shells__0__r_pim": 0.11}, "agreement", "caution", ""),
        ({"merging_statistics__shells__0__cc_half_high": 0.8}, "agreement", "serious", ""),
        ({"merging_statistics__overall__cc_half_significant": False}, "agreement", "fatal", ""),
        ({f"{at}__state": "nowhere", f"{at}__d_min": None}, "resolution", "fatal", ""),
        ({"analyses__resolution__suggested_d_min": 3.6}, "resolution", "note", "d_min=auto"),
        ({f"{damage}__site_specific": True, f"{damage}__r_d_rise": 0.6, f"{damage}__sparing": "exclude_images=0:60:90"},
         "damage", "caution", "exclude_images=0:60:90"),
        ({"analyses__anisotropy__verdict": "anisotropic"}, "anisotropy", "note", "anisotropic_cut=True"),
        ({"analyses__absences__suggestions": ["P 41 21 2"]}, "absences", "note", 'space_group="P 41 21 2"'),
        ({"analyses__absences__contradicted": True, "analyses__absences__suggestions": []}, "absences", "serious", ""),
        ({"error_model__isa": 6.0}, "isa", "caution", ""),
    ]  # fmt: skip
    for changes, topic, severity, option in cases:
        verdict = verdict_of(changed(sound, **changes))
        check(verdict)
        assert severities(verdict).get(topic) == severity, topic
        assert not option or option in [s.option for s in verdict.next_steps], topic
    assert not ({case[1] for case in cases} - {"completeness"}) & set(severities(verdict_of(sound)))


def test_options_can_be_typed(sound: Document) -> None:
    """Every option that any verdict names is one that the command line takes."""
    steps = {"d_min=auto", "anomalous=True", "check_consistent_indexing=True", "anisotropic_cut=True", "model=KB"}
    steps |= {"filtering.method=deltacchalf", 'space_group="P 41 21 2"', "exclude_images=0:60:90", "use_datasets=0,1"}
    for option in steps:
        parse_arguments([option.replace('"', "")], SCALING_NAMES, [])


def test_few_measurements_are_not_judged(sound: Document) -> None:
    verdict = verdict_of(changed(sound, merging_statistics__overall__n_half_pairs=12))
    check(verdict)
    assert verdict.grade == "undecided" and "too few" in verdict.headline.lower()
    assert not any("differ by" in s for s in verdict.sentences)


def test_left_out_measurements(sound: Document) -> None:
    """Predicted reflections count for nothing, measured ones that an option left out do."""
    (name,) = sound["ledger"]
    entry = sound["ledger"][name]
    predicted = {"filtered": {"not_integrated": 9 * entry["read"]}, "read": 10 * entry["read"]}
    assert "left_out" not in severities(verdict_of(sound | {"ledger": {name: entry | predicted}}))
    cut = {"user_excluded": {"d_min": 2 * entry["read"]}, "read": 3 * entry["read"]}
    verdict = verdict_of(sound | {"ledger": {name: entry | cut}})
    assert severities(verdict)["left_out"] == "caution"
    assert any("67 %" in p.text and "d_min" in p.text for p in verdict.problems)


def test_unit_of_intensity(tmp_path: Path, sound: Document) -> None:
    """The verdict is that of the same data in another unit."""
    paths = pyscale.simulate(d_min=3.0, oscillation_width=1.0, n_sweeps=1, sweep_width=90.0).write(tmp_path)
    job = pyscale.read(*paths[:2])
    for d in job.data_sets:
        for which in ("prf", "sum"):
            if f"intensity.{which}.value" in d.reflections:
                d.reflections[f"intensity.{which}.value"] = d.reflections[f"intensity.{which}.value"] * 4096.0
                d.reflections[f"intensity.{which}.variance"] = d.reflections[f"intensity.{which}.variance"] * 4096.0**2
    verdict = verdict_of(pyscale.scale(job).to_dict())
    assert verdict.grade == verdict_of(sound).grade
    assert severities(verdict) == severities(verdict_of(sound))


def test_twinned(tmp_path: Path) -> None:
    document = scaled_document(
        tmp_path, twin_fraction=0.3, unit_cell=(60.0, 60.0, 45.0, 90.0, 90.0, 90.0), space_group="P 43"
    )
    verdict = verdict_of(document)
    check(verdict)
    assert severities(verdict).get("twinning") == "caution", document["analyses"]["twinning"]
    assert verdict.grade in ("fair", "poor")


def test_poor_job(tmp_path: Path) -> None:
    """Most of the data excluded: incomplete, hardly redundant, and said so."""
    document = scaled_document(tmp_path, {"exclude_images": "0:13:90"})
    verdict = verdict_of(document)
    check(verdict)
    found = severities(verdict)
    assert verdict.grade in ("poor", "undecided") and found["left_out"] == "caution" and "completeness" in found
    assert any(step.text.startswith("Leave less out: options exclude ") for step in verdict.next_steps)


def test_disconnected(tmp_path: Path) -> None:
    paths = pyscale.simulate(d_min=5.0, oscillation_width=0.5, n_sweeps=2, sweep_width=2.0).write(tmp_path)
    document = pyscale.scale(pyscale.read(*paths[:2])).to_dict()
    document = changed(document, connectivity__n_components=2, datasets__1__component=1)
    verdict = verdict_of(document)
    check(verdict)
    assert verdict.grade == "unusable" and "no reflection in common" in verdict.headline


@pytest.mark.data
@pytest.mark.parametrize(
    ("folder", "pattern", "grades", "topics"),
    [
        ("l_cysteine", "*_integrated.*", {"good"}, set()),
        ("quartz_ed", "integrated.*", {"fair"}, {"outliers"}),
        ("l_cysteine_narrow", "*_integrated.*", {"unusable"}, {"disconnected", "completeness"}),
        ("cunir_stills", "*integrated.*", {"unusable"}, {"agreement"}),
        ("gamma_xe", "descaled_unmerged.mtz", {"fair"}, {"damage", "anomalous"}),
    ],
)
def test_real_jobs(data_root: Path, folder: str, pattern: str, grades: set[str], topics: set[str]) -> None:
    files = sorted((data_root / folder).glob(pattern))
    verdict = verdict_of(pyscale.scale(pyscale.read(*files)).to_dict())
    check(verdict)
    assert verdict.grade in grades and topics <= set(severities(verdict))
