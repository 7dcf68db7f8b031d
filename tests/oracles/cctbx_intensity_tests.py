"""Tests of merged intensities by cctbx, for comparison: python cctbx_intensity_tests.py case.npz out.json"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
from cctbx import crystal, miller, sgtbx
from cctbx.array_family import flex
from mmtbx.scaling import absolute_scaling, twin_analyses


def main():
    case = np.load(sys.argv[1])
    symmetry = crystal.symmetry(
        unit_cell=[float(x) for x in case["unit_cell"]],
        space_group=sgtbx.space_group(sgtbx.space_group_symbols("Hall: " + str(case["hall"]))),
    )
    rows = [tuple(int(i) for i in h) for h in case["miller_index"]]
    array = miller.array(
        miller.set(symmetry, flex.miller_index(rows), anomalous_flag=False),
        data=flex.double(case["intensity"]),
        sigmas=flex.double(case["sigma"]),
    )
    array = array.map_to_asu().set_observation_type_xray_intensity()
    result = {}
    z = array.customized_copy(data=flex.double(case["z"]) * array.epsilons().data().as_double())
    l_test = twin_analyses.l_test(z.select(z.data() > 0).set_observation_type(array))
    result["mean_abs_l"], result["mean_l_squared"] = l_test.mean_l, l_test.mean_l2
    wilson = absolute_scaling.ml_iso_absolute_scaling(array, n_residues=float(case["n_residues"]))
    result["b_wilson"] = wilson.b_wilson
    moments = twin_analyses.wilson_moments(z.select_acentric(), z.select_centric())
    result["acentric"], result["centric"] = moments.acentric_i_ratio, moments.centric_i_ratio
    h = twin_analyses.h_test(tuple(map(float, case["twin_law"].ravel())), array, fraction=1.0)
    result["mean_h"], result["mean_h_squared"] = h.mean_h, h.mean_h2
    translation = twin_analyses.detect_pseudo_translations(array, out=io.StringIO())
    result["patterson_height"] = translation.high_peak / 100
    result["patterson_vector"] = list(translation.high_peak_xyz)
    with Path(sys.argv[2]).open("w") as out:
        json.dump(result, out)


if __name__ == "__main__":
    main()
