"""Amplitudes by cctbx's French-Wilson procedure: python cctbx_french_wilson.py case.npz out.npz"""

from __future__ import annotations

import io
import sys

import numpy as np
from cctbx import crystal, miller, sgtbx
from cctbx.array_family import flex
from cctbx.french_wilson import calculate_mean_intensities, french_wilson_scale


def main(source, target):
    case = np.load(source)
    symmetry = crystal.symmetry(
        unit_cell=[float(x) for x in case["unit_cell"]],
        space_group=sgtbx.space_group(sgtbx.space_group_symbols("Hall: " + str(case["hall"]))),
    )
    rows = [tuple(int(i) for i in h) for h in case["miller_index"]]
    array = miller.array(
        miller.set(symmetry, flex.miller_index(rows), anomalous_flag=False),
        data=flex.double(case["intensity"]),
        sigmas=flex.double(case["sigma"]),
    ).set_observation_type_xray_intensity()
    found = french_wilson_scale(miller_array=array, log=io.StringIO())
    means = calculate_mean_intensities(array, log=io.StringIO())
    np.savez(
        target,
        miller_index=np.array(list(found.indices()), dtype=np.int32),
        amplitude=np.array(found.data()),
        sigma=np.array(found.sigmas()),
        mean_intensity=np.array([means[h] for h in found.indices()]),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
