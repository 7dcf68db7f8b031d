"""The distribution functions against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pyscale.quantiles import central_normal_quantile, correlation_p_value


def test_normal_quantile_equals_scipy() -> None:
    probability = np.linspace(0.0751, 0.9249, 2001)
    np.testing.assert_allclose(
        central_normal_quantile(probability), stats.norm.ppf(probability), rtol=4e-15, atol=1e-16
    )


def test_normal_quantile_is_undefined_outside_its_range() -> None:
    assert np.isnan(central_normal_quantile(np.array([0.0, 0.07, 0.93, 1.0]))).all()


@given(correlation=st.floats(-1.0, 1.0), n=st.integers(3, 3000))
def test_p_value_of_a_correlation_equals_scipy(correlation: float, n: int) -> None:
    with np.errstate(divide="ignore"):
        t = correlation * np.sqrt(np.float64(n - 2) / (np.float64(1) - correlation**2))
    assert correlation_p_value(correlation, n) == pytest.approx(stats.t.sf(t, n - 2), rel=1e-9, abs=1e-12)
