"""What iotbx reads in an MTZ file: python cctbx_mtz.py file.mtz out.json"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import iotbx.mtz

BATCH = [
    "num", "nbsetid", "phistt", "phiend", "phirange", "alambd", "ncrys", "ngonax", "ndet", "ldtype", "jsaxs",
]  # fmt: skip
VECTORS = ["cell", "umat", "scanax", "e1", "source", "so", "dx", "detlm", "gonlab"]


def main():
    mtz = iotbx.mtz.object(sys.argv[1])
    batches = [
        {name: getattr(b, name)() for name in BATCH if hasattr(b, name)}
        | {name: list(getattr(b, name)()) for name in VECTORS}
        for b in mtz.batches()
    ]
    original = mtz.extract_original_index_miller_indices() if batches else []
    result = {
        "title": mtz.title(),
        "history": list(mtz.history()),
        "space_group": mtz.space_group().type().lookup_symbol(),
        "columns": {c.label(): c.type() for c in mtz.columns()},
        "crystals": [
            [c.project_name(), c.name(), list(c.unit_cell_parameters()), d.name(), d.wavelength()]
            for c in mtz.crystals()
            for d in c.datasets()
        ],
        "values": {
            label: [v if ok else None for v, ok in zip(values, valid, strict=True)]
            for label in mtz.column_labels()
            for column in [mtz.get_column(label)]
            for values, valid in [(column.extract_values(), column.selection_valid())]
        },
        "original": [list(h) for h in original],
        "miller_index": [list(h) for h in mtz.extract_miller_indices()],
        "batches": batches,
    }
    with Path(sys.argv[2]).open("w") as out:
        json.dump(result, out)


if __name__ == "__main__":
    main()
