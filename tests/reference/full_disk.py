"""Run a study on a disk that is too small, look at what is stored, make room, and run it again.

Called inside a mount namespace of its own: ``unshare -rm python full_disk.py FOLDER``.
"""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import encollapse as ec
from encollapse import cli
from reference.study_survival import STUDY


def fill(path: Path) -> None:
    """Write until nothing more goes in."""
    with suppress(OSError), path.open("wb", buffering=0) as handle:
        while True:
            handle.write(bytes(512))


def main() -> None:
    """Print what was seen as JSON."""
    folder = Path(sys.argv[1])
    small = folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(small)], check=True)
    file = folder / "study.toml"
    file.write_text(STUDY.format(seeds=[0], finish=60))
    command = ["study", str(file), "--out", str(small), "--executor", "inline", "--json"]
    first = cli.run(command)
    fill(small / "filler")  # to the last byte: a reader of the store finds no room for files of its own
    results = ec.study.open(small)
    for result in results.done:
        result.geometries(), result.history(), result.frames()
    before = {result.id: result.row for result in results.done}
    subprocess.run(["mount", "-o", "remount,size=50m", str(small)], check=True)
    second = cli.run(command)
    after = {result.id: result.row for result in ec.study.open(small).done}
    kept = all(after[trial_id] == row for trial_id, row in before.items())
    seen = {"codes": [first, second], "before": len(before), "after": len(after), "kept": kept}
    print(json.dumps(seen), file=sys.stderr)


if __name__ == "__main__":
    main()
