"""What iotbx reads in a file of reflections: python cctbx_reflections.py file out.json (file=hklf4 names the kind)"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from iotbx.reflection_file_reader import any_reflection_file


def main():
    file = any_reflection_file(sys.argv[1])
    arrays = [
        {
            "labels": array.info().labels,
            "unit_cell": None if array.unit_cell() is None else list(array.unit_cell().parameters()),
            "space_group": None if array.space_group() is None else array.space_group().type().lookup_symbol(),
            "anomalous": array.anomalous_flag(),
            "miller_index": [list(h) for h in array.indices()],
            "data": list(array.data()),
            "sigmas": None if array.sigmas() is None else list(array.sigmas()),
        }
        for array in file.as_miller_arrays(merge_equivalents=False)
    ]
    with Path(sys.argv[2]).open("w") as out:
        json.dump({"type": file.file_type(), "arrays": arrays}, out)


if __name__ == "__main__":
    main()
