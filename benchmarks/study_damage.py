"""Damage finished studies, checkpoints and moments, and look for raw exceptions and for numbers that changed unsaid.

    python benchmarks/study_damage.py [--cases 1000] [--seed 0] [--quick]

Each case copies what an undisturbed run has left and damages one file of it: flipped bits, a cut, garbage, nothing, a
folder in its place. A study is then read in full and run again; checkpoints are resumed from and moments loaded.
Whatever is read has to be what the undisturbed run found, or the package has to say what is wrong: by one of its own
errors that names the file, by a trial that is called lost or missing, or by a warning that trials are run again. After
the second run every number has to be back. ``--quick`` is 40 cases.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import encollapse as ec
from encollapse._internal.progress import tracked
from encollapse.errors import EncollapseError

STUDY = """
name = "damage"
title = "Short trials"
[defaults]
dataset = { name = "digits", counts = 5 }
weight_decay = 5e-3
relative_threshold = 0.3
epochs = 1
train = { finish = 3 }
measure = { every = 1, frames = true }
[[runs]]
encoding = { file = "mine.json" }
bias_decay = 0
[[runs]]
model = "ufm"
encoding = ["one-hot", { file = "mine.json" }]
bias_decay = [0, 0.1, inf]
"""

Found = dict[str, Any]


def flipped(content: bytes, generator: random.Random) -> bytes:
    """Content with one to eight other bits."""
    changed = bytearray(content)
    for _ in range(generator.randint(1, 8)):
        changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
    return bytes(changed)


KINDS: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "bits": flipped,
    "more bits": flipped,
    "cut": lambda content, generator: content[: generator.randrange(len(content))],
    "garbage inside": lambda content, generator: (
        content[: (at := generator.randrange(len(content)))] + generator.randbytes(64) + content[at + 64 :]
    ),
    "garbage": lambda content, generator: generator.randbytes(len(content)),
    "nothing": lambda content, generator: b"",
    "a folder": lambda content, generator: None,
}


def damage(path: Path, generator: random.Random) -> str:
    """Damage a file and say how."""
    kind = generator.choice(list(KINDS))
    content = KINDS[kind](path.read_bytes() or bytes(1), generator)
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    return kind


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal bit by bit, arrays and tables of them included."""
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and one.tobytes() == other.tobytes()
    return bool(one == other)


def readers(result: ec.study.results.TrialResult) -> dict[str, Callable[[], Any]]:
    """Everything that can be asked of a finished trial."""

    def geometries() -> Any:
        fields = ("feature_gram", "counts", "classifier_gram", "class_outputs", "bias", "within")
        return [{f: getattr(g, f) for f in fields} for g in result.geometries() if g is not None]

    return {
        "record": lambda: replace(result.record, seconds=None).to_dict(),
        "geometries": lambda: dict(enumerate(geometries())),
        "history": result.history,
        "frames": result.frames,
    }


def everything(results: ec.study.Results) -> dict[str, Found]:
    """Everything that the finished trials of a study have found, by trial."""
    return {result.id: {name: read() for name, read in readers(result).items()} for result in results.done}


class Campaign:
    """What came of the cases."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []

    def attempt(self, case: str, call: Callable[[], Any]) -> Any:
        """Call; an error of the package, or that of a missing file, is a word, and any other one a fault."""
        try:
            return call()
        except (EncollapseError, FileNotFoundError):
            self.counts["errors of the package"] += 1
        except Exception:
            self.faults.append(f"{case}: raw\n{traceback.format_exc()}")
        return None

    def compare(self, case: str, found: Any, wanted: Any) -> None:
        """A value that was read without a word has to be the right one."""
        if found is not None and not same(found, wanted):
            self.faults.append(f"{case}: changed without a word")

    def study(self, case: str, folder: Path, file: Path, wanted: dict[str, Found]) -> None:
        """Read a damaged study, run it again, and read it again."""
        results = self.attempt(case, lambda: ec.study.open(folder))
        if results is not None:
            self.attempt(case, results.to_frame)
            self.counts["trials said to be lost or missing"] += len(results.failed) + len(results.missing)
            for result in results.done:
                for name, read in readers(result).items():
                    self.compare(f"{case}: {name}", self.attempt(case, read), wanted[result.id][name])
        again = self.attempt(case, lambda: ec.study.run(file, out=folder, executor="inline", progress=False))
        if again is None:
            self.counts["studies that need a hand"] += 1
        elif not same(everything(again), wanted):
            self.faults.append(f"{case}: not the same after the second run")
        else:
            self.counts["studies that are whole again"] += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="40 cases")
    options = parser.parse_args()
    cases = 40 if options.quick else options.cases
    generator, campaign, start = random.Random(options.seed), Campaign(), time.perf_counter()
    warnings.simplefilter("ignore", ec.errors.EncollapseWarning)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        file, state, kept = root / "damage.toml", root / "state.safetensors", root / "moments.safetensors"
        ec.encodings.label_smoothing(10, 0.1).save(root / "mine.json")
        file.write_text(STUDY, encoding="utf-8")
        wanted = everything(ec.study.run(file, out=root / "calm", executor="inline", progress=False))
        data = ec.data.load("digits", counts=5)

        def trained() -> Found:
            run = ec.train.fit(
                data, "one-hot", weight_decay=5e-3, feature_decay=1e-2, bias_decay=0.3, epochs=1, finish=2,
                checkpoint=state, checkpoint_seconds=0.0, keep_checkpoint=True, progress=False,
            )  # fmt: skip
            return {"history": run.history, "loss": run.loss}

        def moments() -> Found:
            tensors = ec.measure.ClassMoments.load(kept).state_dict()
            return {name: tensor.numpy() for name, tensor in tensors.items()}

        draw = np.random.default_rng(0)
        ec.measure.ClassMoments(5, 7).update(draw.standard_normal((30, 7)), np.arange(30) % 5).save(kept)
        alone = {state: (trained, trained()), kept: (moments, moments())}
        whole = {path: path.read_bytes() for path in alone}
        for number in tracked(range(cases), cases, show=True, text="cases"):
            if number % 10 > 7:  # of ten cases one checkpoint and one file of moments
                path = (state, kept)[number % 2]
                case = f"{number}: {path.name}: {damage(path, generator)}"
                read, right = alone[path]
                campaign.compare(case, campaign.attempt(case, read), right)
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
                path.write_bytes(whole[path])
            else:
                folder = root / "damaged"
                shutil.copytree(root / "calm", folder)
                files = sorted(path for path in folder.rglob("*") if path.is_file())
                path = generator.choice([*files, *[folder / "results.sqlite"] * (len(files) // 2)])
                case = f"{number}: {path.relative_to(folder)}: {damage(path, generator)}"
                campaign.study(case, folder, file, wanted)
                shutil.rmtree(folder)
            campaign.counts["cases"] += 1
    for name, count in sorted(campaign.counts.items()):
        print(f"{name:36} {count}")
    print(f"{'seconds':36} {time.perf_counter() - start:.0f}")
    for fault in campaign.faults[:20]:
        print(f"FAULT {fault}", file=sys.stderr)
    raw = sum(": raw\n" in fault for fault in campaign.faults)
    print(f"raw exceptions: {raw}; numbers changed without a word: {len(campaign.faults) - raw}")
    return 1 if campaign.faults else 0


if __name__ == "__main__":
    sys.exit(main())
