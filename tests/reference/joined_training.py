"""A training in a process of its own: joined to another as a launcher joins them, or one that does not end.

``python joined_training.py joined FOLDER`` is the second of two, and writes ``history.json``;
``python joined_training.py endless`` prints the number of the process that it has started.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from torch import distributed
from torch.distributed import FileStore  # type: ignore[attr-defined]

import encollapse as ec
from encollapse.train import fit
from encollapse.train.distributed.launcher import network_of_this_machine
from encollapse.train.loop.progress import listening

COUNTS = [29, 31, 23, 37, 19, 41, 17, 43, 13, 30]
DATA = ec.data.load("digits", counts=COUNTS, seed=7)
DECAYS: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 0.09 / (10 * 283 * 5e-3), "bias_decay": 1.0}


def joined(folder: Path) -> None:
    with network_of_this_machine():
        store = FileStore(str(folder / "store"), 2)
        distributed.init_process_group("gloo", store=store, rank=1, world_size=2)
    short: dict[str, Any] = {"batch_size": 31, "epochs": 4, "finish": 4, "history_every": 2}
    run = fit(DATA, "one-hot", **DECAYS, **short, device="cpu", devices=2)
    (folder / "history.json").write_text(json.dumps(run.history))


def endless() -> None:
    def tell(done: int, _total: int, _note: str) -> None:
        if done == 0:
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
            print(children.split()[-1], flush=True)

    with listening(tell):
        fit(DATA, "one-hot", **DECAYS, epochs=1_000_000, device="cpu", devices=2)


if __name__ == "__main__":
    joined(Path(sys.argv[2])) if sys.argv[1] == "joined" else endless()
