"""Distortions that are switched on one by one: what each does to g, to the intensities, and to nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyscale.errors import UsageError
from pyscale.simulation import SimulatedData, SimulationOptions, simulate
from pyscale.typing import FloatArray

FLAT: dict[str, Any] = {"scale_variation": 0.0, "decay": 0.0, "absorption": 0.0, "outlier_fraction": 0.0, "d_min": 2.6}
EFFECTS: dict[str, dict[str, Any]] = {
    "dose_decay": {"dose_decay": 0.004, "dose_per_image": (1.0, 2.5), "dose_at_start": (0.0, 360.0)},
    "modulation": {"modulation": 0.1},
    "resolution_variation": {"resolution_variation": 0.1},
    "position_variation": {"position_variation": 0.1},
    "jitter": {"jitter": 0.1},
    "beam_loss": {"beam_loss": 0.4},
    "analytical": {"analytical": 0.1},
}


def flat(**changes: Any) -> SimulatedData:
    return simulate(SimulationOptions(**{"n_sweeps": 2, **FLAT, **changes}))


def column(data: SimulatedData, name: str) -> FloatArray:
    return np.concatenate([np.asarray(c[name], float) for c in data.columns])


def intensity(data: SimulatedData) -> FloatArray:
    return np.asarray(column(data, "intensity.prf.value") * column(data, "lp") / column(data, "qe"))


def test_flat_data_have_one_scale_per_sweep() -> None:
    data = flat(n_sweeps=3)
    assert not [name for name in data.truth if name.startswith("ln_factor/")]
    scales = [np.unique(data.truth["g"][data.truth["id"] == k]) for k in range(3)]
    assert [len(s) for s in scales] == [1, 1, 1]
    assert len(np.unique(scales)) == 3


@pytest.mark.parametrize("name", EFFECTS)
def test_effect_is_all_that_changes_g(name: str) -> None:
    without, data = flat(), flat(**EFFECTS[name])
    for kept in ("I", "miller", "z", "group", "id"):
        np.testing.assert_array_equal(data.truth[kept], without.truth[kept])
    ln = data.truth[f"ln_factor/{name}"]
    assert [n for n in data.truth if n.startswith("ln_factor/")] == [f"ln_factor/{name}"]
    np.testing.assert_allclose(np.log(data.truth["g"] / without.truth["g"]), ln, atol=1e-12)
    assert 0.03 < ln.std() < 0.3


@pytest.mark.parametrize("name", EFFECTS)
def test_intensities_follow_the_truth(name: str) -> None:
    data = flat(**EFFECTS[name], mean_intensity=1000.0)
    expected, sigma = data.truth["g"] * data.truth["I_own"], data.truth["sigma"]
    pull = (intensity(data) - expected) / sigma
    assert np.sqrt((pull**2).mean()) == pytest.approx(1.0, abs=0.03)
    # amplitude of the effect in the intensities, in units of the true one
    signal = expected * -np.expm1(-data.truth[f"ln_factor/{name}"]) / sigma
    slope = 1.0 + (pull @ signal) / (signal @ signal)
    assert slope == pytest.approx(1.0, abs=5.0 / np.sqrt(signal @ signal))
    assert np.sqrt(signal @ signal) > 50.0


@pytest.mark.parametrize(("law", "power"), [("quadratic", 2), ("linear", 1)])
def test_dose_decay_goes_with_the_dose_of_each_sweep(law: str, power: int) -> None:
    data = flat(**EFFECTS["dose_decay"], dose_law=law)
    start, per_image = np.array([0.0, 360.0]), np.array([1.0, 2.5])
    k = data.truth["id"]
    z = np.concatenate([c["xyzobs.px.value"][:, 2] for c in data.columns])
    dose = start[k] + per_image[k] * z
    np.testing.assert_allclose(
        data.truth["ln_factor/dose_decay"], -0.004 * dose / column(data, "d") ** power, rtol=1e-12
    )


def unit_position(data: SimulatedData) -> FloatArray:
    """Detector coordinates over the circle of d_min around the detector's centre."""
    options = data.options
    mm = np.concatenate([c["xyzobs.mm.value"][:, :2] for c in data.columns])
    theta = np.arcsin(options.wavelength / 2.0 / options.d_min)
    return np.asarray(
        (mm - options.pixel_size * np.array(options.image_size) / 2.0)
        / (options.detector_distance * np.tan(2.0 * theta))
    )


def test_blocky_modulation_is_one_number_per_block_of_the_detector() -> None:
    data = flat(modulation=0.1, modulation_pattern="blocky", modulation_bins=5)
    blocks, ln = data.truth["detector/modulation_blocks"], data.truth["ln_factor/modulation"]
    assert blocks.shape == (5, 5)
    u = unit_position(data)
    assert np.abs(u).max() <= 1.0
    fast, slow = np.digitize(u, np.linspace(-1.0, 1.0, 6)[1:-1]).T
    np.testing.assert_array_equal(ln, blocks[fast, slow])
    assert len(np.unique(ln)) == 25


def test_smooth_modulation_is_a_sum_of_waves() -> None:
    data = flat(modulation=0.1)
    kx, ky, phase = data.truth["detector/modulation_waves"].T
    u, v = unit_position(data).T
    waves = np.cos(np.outer(u, kx) + np.outer(v, ky) + phase)
    ln = data.truth["ln_factor/modulation"]
    np.testing.assert_allclose(ln, 0.1 * waves.sum(axis=1) / np.sqrt(len(phase) / 2.0), atol=1e-9)
    assert ln.std() == pytest.approx(0.1, rel=0.3)


@pytest.mark.parametrize("name", ["jitter", "beam_loss"])
def test_image_effects_are_one_number_per_image(name: str) -> None:
    data = flat(**EFFECTS[name])
    for k in range(2):
        own = data.truth["id"] == k
        per_image = data.truth[f"sweep_{k}/{name}"]
        assert per_image.shape == (data.options.n_images,)
        image = np.floor(data.truth["z"][own]).astype(int)
        np.testing.assert_array_equal(data.truth[f"ln_factor/{name}"][own], per_image[image])
    assert not np.array_equal(data.truth[f"sweep_0/{name}"], data.truth[f"sweep_1/{name}"])


def test_jitter_has_the_asked_size_and_correlation() -> None:
    for length in (0.0, 5.0):
        data = flat(jitter=0.2, jitter_correlation=length, d_min=8.0, oscillation_width=0.02)
        ln = data.truth["sweep_0/jitter"]
        assert len(ln) == 9000
        assert ln.std() == pytest.approx(0.2, rel=0.1)
        expected = np.exp(-1.0 / length) if length else 0.0
        assert np.corrcoef(ln[1:], ln[:-1])[0, 1] == pytest.approx(expected, abs=0.05)


def test_beam_loss_weakens_runs_of_images() -> None:
    loss = flat(beam_loss=0.4, n_beam_losses=4).truth["sweep_0/beam_loss"]
    assert set(np.round(np.exp(loss), 12)) == {1.0, 0.6}
    assert 1 <= np.count_nonzero(np.diff(np.concatenate([[0.0], loss])) < 0.0) <= 4
    assert np.mean(loss < 0.0) < 0.3


def test_resolution_variation_is_no_b_factor_and_no_scale() -> None:
    data = flat(resolution_variation=0.1, n_sweeps=1)
    ln, x = data.truth["ln_factor/resolution_variation"], column(data, "d") ** -2.0
    image = (data.truth["z"] // 20).astype(int)
    left = ln.copy()
    for k in range(image.max() + 1):
        own = image == k
        design = np.column_stack([np.ones(own.sum()), x[own]])
        left[own] -= design @ np.linalg.lstsq(design, ln[own], rcond=None)[0]
    assert left.std() > 0.6 * ln.std()
    shell = np.digitize(x, np.quantile(x, np.linspace(0.0, 1.0, 9)[1:-1]))
    means = np.bincount(shell, ln) / np.bincount(shell)
    assert np.abs(means).max() < 0.2 * ln.std()


def test_position_variation_is_a_smooth_function_of_rotation_and_position() -> None:
    data = flat(position_variation=0.1, n_sweeps=1)
    ln, (u, v) = data.truth["ln_factor/position_variation"], unit_position(data).T
    turn = np.radians(data.truth["z"] * data.options.oscillation_width)
    waves = [f(k * turn) for k in (1, 2, 4) for f in (np.sin, np.cos)]
    design = np.column_stack([w * s for w in waves for s in (u, v, u * v, u**2 - v**2)])
    left = ln - design @ np.linalg.lstsq(design, ln, rcond=None)[0]
    assert left.std() < 1e-9


@pytest.mark.parametrize("partials", [0.0, 0.2])
def test_analytical_correction_is_a_column(partials: float) -> None:
    data = flat(analytical=0.1, partials=partials)
    told = column(data, "analytical_correction")
    np.testing.assert_allclose(np.log(told), data.truth["ln_factor/analytical"], rtol=1e-12)
    assert told.min() > 0.0
    assert "analytical_correction" not in flat().columns[0]


@pytest.mark.parametrize("truth", ["model", "smooth"])
def test_sweeps_of_one_crystal_share_crystal_and_absorption(truth: str) -> None:
    overlap = {"truth": truth, "absorption": 0.1, "scale_spread": 0.0, "start_angles": (0.0, 60.0)}
    for shared in (True, False):
        data = flat(**overlap, same_crystal=shared, analytical=0.05)
        assert [e["crystal"] for e in data.document["experiment"]] == ([0, 0] if shared else [0, 1])
        assert len(data.document["crystal"]) == (1 if shared else 2)
        phi = np.round(np.degrees(np.concatenate([c["xyzobs.mm.value"][:, 2] for c in data.columns])), 6)
        keys = [
            {
                (*h, p): g
                for h, p, g in zip(data.truth["miller"][own].tolist(), phi[own], data.truth["g"][own], strict=True)
            }
            for own in (data.truth["id"] == 0, data.truth["id"] == 1)
        ]
        both = keys[0].keys() & keys[1].keys()
        if not shared:
            assert not both
            continue
        assert len(both) > 1000
        np.testing.assert_allclose([keys[0][k] for k in both], [keys[1][k] for k in both], rtol=1e-9)


def test_one_crystal_on_different_goniometer_settings() -> None:
    settings = {"random_goniometer": True, "absorption": 0.1, "truth": "model"}
    surfaces = {
        shared: [flat(**settings, same_crystal=shared).truth[f"sweep_{k}/absorption"] for k in range(2)]
        for shared in (True, False)
    }
    np.testing.assert_array_equal(*surfaces[True])
    assert not np.allclose(*surfaces[False])


def test_gap_takes_out_images_and_changes_nothing_else() -> None:
    whole, data = flat(jitter=0.05, partials=0.1), flat(jitter=0.05, partials=0.1, gap=(101, 140))
    image = np.floor(whole.truth["z"]).astype(int) + 1
    stay = (image < 101) | (image > 140)
    assert 0.05 < np.mean(~stay) < 0.2
    for name, values in whole.truth.items():
        if values.shape[:1] == stay.shape:
            np.testing.assert_array_equal(values[stay], data.truth[name])
    np.testing.assert_array_equal(intensity(whole)[stay], intensity(data))
    assert data.document["scan"] == whole.document["scan"]


def test_effects_combine_and_repeat() -> None:
    everything = {k: v for options in EFFECTS.values() for k, v in options.items()}
    one, two = flat(**everything), flat(**everything)
    np.testing.assert_array_equal(one.truth["g"], two.truth["g"])
    np.testing.assert_array_equal(intensity(one), intensity(two))
    total = sum(one.truth[f"ln_factor/{name}"] for name in EFFECTS)
    np.testing.assert_allclose(np.log(one.truth["g"] / flat().truth["g"]), total, atol=1e-12)
    for name, options in EFFECTS.items():
        alone = flat(**options).truth[f"ln_factor/{name}"]
        np.testing.assert_array_equal(one.truth[f"ln_factor/{name}"], alone)
    other = flat(**everything, seed=1)
    assert not set(one.truth["sweep_0/jitter"]) & set(other.truth["sweep_0/jitter"])


def test_stills_have_the_effects_of_detector_and_column() -> None:
    data = flat(kind="stills", n_stills=20, modulation=0.1, analytical=0.05)
    assert data.truth["ln_factor/modulation"].std() > 0.03
    g = data.truth["stills/scale"][data.truth["id"]] * np.exp(
        data.truth["ln_factor/modulation"] + data.truth["ln_factor/analytical"]
    )
    np.testing.assert_allclose(data.truth["g"], g, rtol=1e-12)
    assert "detector/modulation_waves" in data.truth


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "stills", "jitter": 0.1}, "kind=rotation"),
        ({"gap": (0, 5)}, "gap=0 5"),
        ({"gap": (20, 10)}, "gap=20 10"),
        ({"gap": (300, 361)}, "n_images=360"),
        ({"gap": (1, 360)}, "gap"),
        ({"dose_per_image": (1.0, 2.0)}, "dose_per_image has 2 values for n_sweeps=3"),
        ({"dose_at_start": (-1.0,)}, "dose_at_start=-1"),
        ({"dose_law": "cubic"}, "quadratic, linear"),
        ({"modulation_pattern": "stripes"}, "smooth, blocky"),
        ({"jitter": 3.0}, "jitter=3"),
        ({"analytical": float("nan")}, "finite"),
    ],
)
def test_bad_effects_are_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        flat(n_sweeps=3, **changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
