"""Damage files of every kind that the package reads, and count what reading them comes to.

    python benchmarks/damaged_files.py [--files 1000] [--seed 0]

Each file is whole but for flipped bits, a cut, a blank or foreign stretch, inserted bytes or a changed header. Reading
it has to end in an error of the package that names it, or in the values that were written. Formats without a sum of
their bytes (.npy, .safetensors, .parquet as it is commonly written, JSON) cannot tell a number from another one; what
they hide is counted apart.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from reference.damaged_files import campaign


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gigabytes", type=float, default=8, help="address space; what asks for more fails")
    options = parser.parse_args()
    limit = int(options.gigabytes * 1e9)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = campaign(Path(folder), options.files, options.seed)
    for title, cases in (("raw exceptions", found.raw), ("changed and unnoticed", found.unnoticed)):
        print(f"{title:24}{len(cases)}")
        for case in cases[:40]:
            print("   ", case)
    print(f"{'refused by name':24}{found.refused.total()}")
    print(f"{'read as written':24}{found.unharmed.total()}")
    print(f"{'changed, without a sum':24}{found.other.total()}  {dict(found.other)}")
    print(f"{'seconds':24}{time.perf_counter() - start:.0f}")
    sys.exit(bool(found.raw or found.unnoticed))


if __name__ == "__main__":
    main()
