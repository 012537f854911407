"""A training that is killed at random moments and started again, until it ends; run as a script.

Prints the results of the disturbed and of an undisturbed training as JSON. Each attempt is a process of its own, forked
before anything was computed.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

OPTIONS: dict[str, Any] = {"epochs": 12, "finish": 50, "history_every": 7, "tolerance": 0.0, "keep_frames": True}


def attempt(dataset: Any, result: Path, checkpoint: Path | None) -> int:
    """Train in a new process, which writes what came of it."""
    child = os.fork()
    if child:
        return child
    from encollapse.train import fit

    run = fit(
        dataset,
        "one-hot",
        weight_decay=5e-3,
        feature_decay=1e-2,
        bias_decay=0.3,
        checkpoint=checkpoint,
        checkpoint_seconds=0.0,
        **OPTIONS,
    )
    digest = hashlib.sha256()
    for value in run.model.state_dict().values():
        digest.update(value.numpy().tobytes())
    for frame in run.frames:
        digest.update(frame.class_means.tobytes())
    result.write_text(json.dumps({"network": digest.hexdigest(), "history": run.history}))
    os._exit(0)


def main(folder: Path, kills: int, seed: int) -> None:
    """Train once in peace and once with `kills` murders."""
    import lightning_fabric  # noqa: F401
    import torch

    import encollapse.train.fitting  # noqa: F401
    from encollapse import data

    torch.set_num_threads(1)
    dataset = data.load("digits", counts=23, seed=7, holdout=0.2)
    moments = random.Random(seed)
    begun = time.monotonic()
    os.waitpid(attempt(dataset, folder / "calm.json", None), 0)
    duration = time.monotonic() - begun
    checkpoint, resumed = folder / "state.safetensors", 0
    for _ in range(kills):
        child = attempt(dataset, folder / "killed.json", checkpoint)
        time.sleep(moments.uniform(0.1, 0.7) * duration)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        resumed += checkpoint.exists()
    left = [path.name for path in folder.iterdir()]
    _, status = os.waitpid(attempt(dataset, folder / "killed.json", checkpoint), 0)
    results = [json.loads((folder / name).read_text()) for name in ("calm.json", "killed.json")]
    report = {"calm": results[0], "killed": results[1], "resumed": resumed, "status": status, "left": left}
    print(json.dumps(report | {"after": [path.name for path in folder.iterdir()]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
