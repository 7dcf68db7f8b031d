"""`pyscale export` beside dials.export: the same files in, the same unmerged MTZ file out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import gemmi
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from pyscale.cli import main

pytestmark = pytest.mark.data

# ROT is that of the centroid here, and that of the prediction in DIALS.
COLUMNS = ("I", "SIGI", "SCALEUSED", "BG", "SIGBG", "FRACTIONCALC", "XDET", "YDET", "LP")


def by_observation(mtz: gemmi.Mtz) -> dict[str, np.ndarray]:
    assert mtz.switch_to_original_hkl()
    columns = {c: np.array(mtz.column_with_label(c).array) for c in (*COLUMNS, "BATCH")}
    index = mtz.make_miller_array()
    order = np.lexsort((columns["XDET"], columns["BATCH"], *index.T))
    return {"index": index[order]} | {name: values[order] for name, values in columns.items()}


def test_unmerged_mtz_is_that_of_dials_export(data_root: Path, require_dials: Path, tmp_path: Path) -> None:
    files = [str(data_root / "quartz_ed" / f"scaled.{kind}") for kind in ("expt", "refl")]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    command = [str(require_dials / "dials.export"), *files, "mtz.hklout=dials.mtz"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert main(["export", *files, f"mtz.hklout={tmp_path / 'pyscale.mtz'}"]) == 0
    theirs, ours = (gemmi.read_mtz_file(str(tmp_path / f"{name}.mtz")) for name in ("dials", "pyscale"))
    assert ours.cell.parameters == pytest.approx(theirs.cell.parameters, abs=1e-4)
    assert [b.number for b in ours.batches] == [b.number for b in theirs.batches]
    assert_allclose([list(b.floats) for b in ours.batches], [list(b.floats) for b in theirs.batches], atol=1e-3)
    a, b = by_observation(theirs), by_observation(ours)
    assert_array_equal(a["index"], b["index"])
    for name in (*COLUMNS, "BATCH"):
        assert_allclose(b[name], a[name], rtol=2e-6, err_msg=name)
