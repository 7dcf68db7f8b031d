"""The ledger: every observation is counted once, by hand and over a whole job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

from pyscale.ledger import LedgerEntry, ledger_table, make_ledger
from pyscale.observations import JobObservations
from pyscale.prepared import Fate
from pyscale.result import ScalingResult


def prepared(identifier: str, n_read: int, n_partials: int, *fates: tuple[str, str, int]) -> SimpleNamespace:
    marks = [Fate(kind, reason, np.arange(n_read) < n) for kind, reason, n in fates]
    return SimpleNamespace(identifier=identifier, n_read=n_read, n_partials_merged=n_partials, fates=marks)


def test_counts_by_hand(make_observations: Callable[..., JobObservations]) -> None:
    group = np.array([0, 0, 0, 1, 1, 2, 3, 3])
    data_set = np.array([0, 0, 1, 0, 1, 1, 0, 1])
    observations = make_observations(group, data_set, np.ones(8), np.ones(8))

    def only(*rows: int) -> np.ndarray:
        return np.isin(np.arange(8), rows)

    jobs = [
        prepared("a", 10, 1, ("filtered", "not_integrated", 2), ("user_excluded", "d_min", 1), ("filtered", "lp", 2)),
        prepared("b", 4, 0),
    ]
    ledger = make_ledger(jobs, observations, {"small_scale": only(6)}, {"standard": only(3), "wilson": only()})
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
    twice = prepared("a", 7, 0, ("filtered", "not_finite", 2), ("filtered", "not_finite", 2))
    entry = make_ledger([twice], observations, {}, {})[0]
    assert entry.filtered == {"not_finite": 4} and entry.merged == 3 and entry.used_in_fit == 2


def test_the_ledger_of_a_job_is_that_of_its_table(small_result: ScalingResult) -> None:
    result = small_result
    observations = result.observations
    kept = ~(result.fit.outlier | result.fit.small_scale | observations.absent)
    size = Counter(observations.group[kept].tolist())
    for k, (entry, p) in enumerate(zip(result.ledger, result.prepared, strict=True)):
        here = kept & (observations.data_set == k)
        assert entry.merged == np.count_nonzero(here)
        fitted = here & ~result.fit.disputed
        assert entry.used_in_fit == sum(size[g] > 1 for g in observations.group[fitted].tolist())
        assert entry.read == len(result.job.data_sets[k].reflections)
        assert entry.read - entry.partials_merged == len(p.table)
        gone = sum(sum(getattr(entry, kind).values()) for kind in ("filtered", "user_excluded", "rejected"))
        assert entry.read == entry.partials_merged + gone + entry.merged
        assert entry.partials_merged > 0 and sum(entry.rejected.values()) > 0
        assert entry.filtered["not_integrated"] > 0 and entry.user_excluded["d_min"] > 0
