"""The ledger: every observation is counted once, by hand and over a whole job."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from pyscale.fates import FATES, fate_number, observation_fates
from pyscale.io.imported import INPUT_FATES
from pyscale.ledger import LedgerEntry, ledger_table, make_ledger
from pyscale.observations import JobObservations
from pyscale.result import ScalingResult


def prepared(identifier: str, n_read: int, n_partials: int, *reasons: tuple[str, str, int]) -> SimpleNamespace:
    block = SimpleNamespace(
        reasons=[(kind, reason) for kind, reason, _ in reasons],
        counts=lambda: np.array([[0] * len(reasons), [n for _, _, n in reasons]]),
    )
    return SimpleNamespace(identifier=identifier, n_read=n_read, n_partials_merged=n_partials, block=block, number=1)


def only(n: int, *rows: int) -> np.ndarray:
    return np.isin(np.arange(n), rows)


def test_counts_by_hand(make_observations: Callable[..., JobObservations]) -> None:
    group = np.array([0, 0, 0, 1, 1, 2, 3, 3])
    data_set = np.array([0, 0, 1, 0, 1, 1, 0, 1])
    observations = make_observations(group, data_set, np.ones(8), np.ones(8))
    jobs = [
        prepared("a", 10, 1, ("filtered", "not_integrated", 2), ("user_excluded", "d_min", 1), ("filtered", "lp", 2)),
        prepared("b", 4, 0, ("filtered", "not_indexed", 0)),
    ]
    fate = observation_fates(
        observations,
        filtered={"small_scale": only(8, 6)},
        rejected={"standard": only(8, 3), "wilson": only(8)},
        not_used={},
    )
    ledger = make_ledger(jobs, observations, fate, ["standard", "wilson"])
    assert ledger == [
        LedgerEntry(
            identifier="a",
            read=10,
            partials_merged=1,
            filtered={"not_integrated": 2, "lp": 2, "small_scale": 1},
            user_excluded={"d_min": 1},
            rejected={"standard": 1, "wilson": 0},
            merged=2,
            used_in_fit=2,
            not_used_in_fit={},
        ),
        # alone in their groups: row 4, whose mate was rejected, 5, and 7, whose mate has too small a scale
        LedgerEntry(
            identifier="b",
            read=4,
            partials_merged=0,
            filtered={},
            user_excluded={},
            rejected={"standard": 0, "wilson": 0},
            merged=4,
            used_in_fit=1,
            not_used_in_fit={"no_equivalent": 3},
        ),
    ]
    assert "identifier" not in ledger[0].to_dict()
    text = ledger_table(ledger)
    assert text.count("\na  ") == text.count("\nb  ") == 1
    assert "wilson" not in text
    numbers = [int(line.split()[-1]) for line in text.splitlines()[1:] if "of these" not in line]
    for start, stop in ((0, 8), (8, 10)):
        part = numbers[start:stop]
        assert part[0] + sum(part[1:-1]) == part[-1]


def test_reasons_that_occur_before_and_after_the_fit_add_up(make_observations: Callable[..., JobObservations]) -> None:
    observations = make_observations(np.array([0, 0, 1]), np.zeros(3, int), np.ones(3), np.ones(3))
    twice = prepared("a", 7, 0, ("filtered", "small_scale", 4))
    fate = observation_fates(observations, filtered={"small_scale": only(3, 2)}, rejected={}, not_used={})
    entry = make_ledger([twice], observations, fate, [])[0]
    assert entry.filtered == {"small_scale": 5} and entry.merged == 2 and entry.used_in_fit == 2


def test_the_first_reason_counts_and_what_is_left_alone_comes_last(
    make_observations: Callable[..., JobObservations],
) -> None:
    group = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    observations = replace(
        make_observations(group, np.zeros(8, int), np.ones(8), np.ones(8)),
        not_fitted=only(8, 2),
        selected=~only(8, 4),
    )
    fate = observation_fates(
        observations,
        filtered={"small_scale": only(8, 0)},
        rejected={"standard": only(8, 0, 1)},
        not_used={"free_set": only(8, 6, 7)},
    )
    assert [FATES[k].reason for k in fate.tolist()] == [
        "small_scale",
        "standard",
        "min_partiality",
        "no_equivalent",
        "not_selected",
        "no_equivalent",
        "free_set",
        "free_set",
    ]


def test_a_reason_without_a_number_of_its_own_is_another_one() -> None:
    assert FATES[fate_number("filtered", "something new")] == FATES[49]
    assert fate_number("rejected", "wilson") == 11


def reasons_in_the_source(repository: Path) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for path in (repository / "src" / "pyscale").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r'discard\("(\w+)", "(\w+)"', text))
        found |= {("user_excluded", reason) for reason in re.findall(r'^    reason = "(\w+)"', text, re.MULTILINE)}
    return found | {("filtered", reason) for reason in INPUT_FATES}


def test_every_reason_has_a_number(repository: Path) -> None:
    reasons = reasons_in_the_source(repository)
    assert len(reasons) >= 18
    assert {(kind, reason) for kind, reason in reasons if FATES[fate_number(kind, reason)].reason == "other"} == set()


def test_the_ledger_of_a_job_is_that_of_its_table(small_result: ScalingResult) -> None:
    result = small_result
    observations = result.observations
    assert sum(entry.used_in_fit for entry in result.ledger) == result.fit.n_observations
    kept = ~(result.fit.outlier | result.fit.small_scale | observations.absent)
    size = Counter(observations.group[kept].tolist())
    for k, (entry, p) in enumerate(zip(result.ledger, result.prepared, strict=True)):
        here = kept & (observations.data_set == k)
        assert entry.merged == np.count_nonzero(here)
        assert entry.used_in_fit == sum(size[g] > 1 for g in observations.group[here].tolist())
        assert entry.read == len(result.job.data_sets[k].reflections)
        assert entry.read - entry.partials_merged == len(p.table)
        gone = sum(sum(getattr(entry, kind).values()) for kind in ("filtered", "user_excluded", "rejected"))
        assert entry.read == entry.partials_merged + gone + entry.merged
        assert entry.merged == entry.used_in_fit + sum(entry.not_used_in_fit.values())
        assert entry.partials_merged > 0 and sum(entry.rejected.values()) > 0
        assert entry.filtered["not_integrated"] > 0 and entry.user_excluded["d_min"] > 0
