"""Merging statistics of iotbx, for comparison: python cctbx_merging.py cases.npz out.json"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from cctbx import crystal, miller, sgtbx
from cctbx.array_family import flex
from iotbx.merging_statistics import dataset_statistics

FIELDS = {
    "d_max": "d_max",
    "d_min": "d_min",
    "n_obs": "n_obs",
    "n_unique": "n_uniq",
    "multiplicity": "mean_redundancy",
    "completeness": "completeness",
    "mean_intensity": "i_mean",
    "i_over_sigma": "i_over_sigma_mean",
    "r_merge": "r_merge",
    "r_meas": "r_meas",
    "r_pim": "r_pim",
    "cc_half": "cc_one_half",
    "cc_half_significant": "cc_one_half_significance",
    "cc_half_sigma_tau": "cc_one_half_sigma_tau",
    "n_half_pairs": "cc_one_half_n_refl",
    "cc_anom": "cc_anom",
    "anomalous_completeness": "anom_completeness",
    "anomalous_signal": "anom_signal",
    "anomalous_difference_over_sigma": "delta_i_mean_over_sig_delta_i_mean",
}


def entry(s, i_obs):
    result = {ours: getattr(s, theirs) for ours, theirs in FIELDS.items()}
    result["r_anom"] = r_anom(i_obs)
    # iotbx counts possible reflections between the extremes of the shell's data, not its limits.
    possible = miller.build_set(i_obs, i_obs.anomalous_flag(), d_min=s.d_min * (1 - 1e-6))
    result["n_possible"] = possible.resolution_filter(d_max=s.d_max * (1 + 1e-9), d_min=s.d_min * (1 - 1e-9)).size()
    plot = s.anom_probability_plot_expected_delta
    result["anomalous_slope"] = plot.slope if plot is not None else None
    return result


def r_anom(i_obs):
    """With the plain mean of the mates; iotbx has their weighted mean."""
    used = i_obs.select(i_obs.sigmas() > 0).customized_copy(anomalous_flag=True).map_to_asu()
    plus, minus = used.merge_equivalents(use_internal_variance=False).array().hemispheres_acentrics()
    if plus.size() == 0:
        return None
    difference = flex.abs(plus.data() - minus.data())
    return flex.sum(difference) / flex.sum(flex.abs(plus.data() + minus.data()) / 2)


def merged(i_obs, use_internal_variance):
    m = i_obs.merge_equivalents(use_internal_variance=use_internal_variance)
    array = m.array()
    return {
        "miller_index": np.array(list(array.indices())).tolist(),
        "intensity": list(array.data()),
        "sigma": list(array.sigmas()),
        "n_obs": list(m.redundancies().data()),
    }


def statistics(case):
    symmetry = crystal.symmetry(
        unit_cell=[float(x) for x in case["unit_cell"]],
        space_group=sgtbx.space_group(sgtbx.space_group_symbols("Hall: " + str(case["hall"]))),
    )
    rows = [tuple(int(i) for i in h) for h in case["miller_index"]]
    result = {}
    for anomalous in (False, True):
        i_obs = miller.array(
            miller.set(symmetry, flex.miller_index(rows), anomalous_flag=anomalous),
            data=flex.double(case["intensity"]),
            sigmas=flex.double(np.sqrt(np.maximum(case["variance"], 0))),
        ).set_observation_type_xray_intensity()
        found = dataset_statistics(
            i_obs,
            n_bins=int(case["n_shells"]),
            anomalous=anomalous,
            use_internal_variance=False,
            cc_one_half_significance_level=0.01,
            d_min=float(case["d_min"]) if case["d_min"] > 0 else None,
            assert_is_not_unique_set_under_symmetry=False,
        )
        d_min = float(case["d_min"]) * (1 - 1e-6)
        inside = i_obs.resolution_filter(d_min=d_min).eliminate_sys_absent()
        used = inside.select(inside.sigmas() > 0)
        binner = inside.setup_binner(n_bins=int(case["n_shells"]))
        shells = [inside.select(binner.selection(k)) for k in binner.range_used()]
        result["anomalous" if anomalous else "merged"] = {
            "overall": entry(found.overall, inside),
            "shells": [entry(b, shell) for b, shell in zip(found.bins, shells, strict=True)],
            "reflections": {str(flag): merged(used, flag) for flag in (False, True)},
        }
    return result


def main():
    cases: dict[str, dict] = {}
    with np.load(sys.argv[1]) as archive:
        for key in archive.files:
            name, field = key.split("|")
            cases.setdefault(name, {})[field] = archive[key]
    with Path(sys.argv[2]).open("w") as out:
        json.dump({name: statistics(case) for name, case in cases.items()}, out)


if __name__ == "__main__":
    main()
