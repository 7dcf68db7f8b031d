"""Twins and pseudo-translations of simulated crystals."""

from __future__ import annotations

import numpy as np
import pytest

from pyscale.errors import UsageError
from pyscale.simulation import SimulatedData, SimulationOptions, simulate

CELL = (40.0, 40.0, 50.0, 90.0, 90.0, 90.0)


def simulated(**options: object) -> SimulatedData:
    known = {"unit_cell": CELL, "space_group": "P 41", "d_min": 3.0, "oscillation_width": 2.0}
    return simulate(SimulationOptions(**(known | options)))


def by_index(data: SimulatedData, name: str) -> dict[tuple[int, ...], float]:
    return dict(zip(map(tuple, data.truth["miller"].tolist()), data.truth[name].tolist(), strict=True))


@pytest.mark.parametrize(("group", "cell", "law", "operator"), [
    ("P 41", CELL, "k,h,-l", lambda h, k, m: (k, h, -m)),
    ("P 31 2 1", (40.0, 40.0, 50.0, 90.0, 90.0, 120.0), "-h,-k,l", lambda h, k, m: (-h, -k, m)),
    ("P 3", (40.0, 40.0, 50.0, 90.0, 90.0, 120.0), "k,h,-l", lambda h, k, m: (k, h, -m)),
])  # fmt: skip
def test_a_twin_is_a_mixture_of_both_mates(group: str, cell: tuple[float, ...], law: str, operator: object) -> None:
    data = simulated(space_group=group, unit_cell=cell, twin_fraction=0.3, twin_law=law, anomalous=0.1)
    twinned, alone = by_index(data, "I_own"), by_index(data, "I_untwinned")
    compared = 0
    for index, value in twinned.items():
        other = operator(*index)  # type: ignore[operator]
        if other in alone:
            assert value == pytest.approx(0.7 * alone[index] + 0.3 * alone[other], rel=1e-9)
            compared += 1
    assert compared > 100


def test_the_law_is_found_where_none_is_given_and_told_in_the_truth() -> None:
    assert str(simulated(twin_fraction=0.3).truth["twin_law"]) == "k,h,-l"
    assert "twin_law" not in simulated().truth


def test_a_crystal_without_a_law_needs_one() -> None:
    with pytest.raises(UsageError, match="twin_law"):
        simulated(space_group="P 43 21 2", unit_cell=(40.0, 40.0, 55.0, 90.0, 90.0, 90.0), twin_fraction=0.3)
    with pytest.raises(UsageError, match="no twin law"):
        simulated(twin_fraction=0.3, twin_law="up,down")
    with pytest.raises(UsageError, match="rotation"):
        simulated(twin_fraction=0.3, twin_law="-h,-k,-l")


def test_other_options_change_nothing_else() -> None:
    plain, twin = simulated(), simulated(twin_fraction=0.3)
    np.testing.assert_array_equal(twin.truth["g"], plain.truth["g"])
    np.testing.assert_array_equal(twin.truth["I_untwinned"], plain.truth["I_own"])


def test_pseudo_translations_weaken_classes_of_reflections() -> None:
    data = simulated(pseudo_translation=(0.5, 0.5, 0.5), pseudo_translation_fraction=0.8)
    odd = data.truth["miller"].sum(axis=1) % 2 == 1
    mean = [data.truth["I"][odd == value].mean() for value in (True, False)]
    assert mean[0] / mean[1] == pytest.approx(0.2 / 1.8, rel=0.25)
    with pytest.raises(UsageError, match="pseudo_translation"):
        simulated(pseudo_translation_fraction=0.5)
