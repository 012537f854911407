"""Two processes train one network: the same steps as one process takes, and no process is left behind.

Both do the same arithmetic in float32, summed in another order: sums of 64-odd gradients differ by about 1e-7. Passes
over minibatches keep that size; L-BFGS, whose line searches feed it back, lets it grow tenfold every few iterations,
so it is followed for a few, and to the end only for its result.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import distributed, nn
from torch.distributed import FileStore  # type: ignore[attr-defined]

import encollapse as ec
from encollapse import cli
from encollapse.errors import ArgumentError, ArgumentTypeError, TrainingError
from encollapse.train import Run, fit
from encollapse.train.distributed.launcher import network_of_this_machine
from encollapse.train.loop.progress import listening
from reference import joined_training

pytestmark = pytest.mark.processes

# 283 samples in batches of 31: both are odd, and the last batch has four.
COUNTS = [29, 31, 23, 37, 19, 41, 17, 43, 13, 30]
DATA = ec.data.load("digits", counts=COUNTS, seed=7)
DECAYS: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 0.09 / (10 * 283 * 5e-3)}
SHORT: dict[str, Any] = {"batch_size": 31, "epochs": 4, "finish": 4, "history_every": 2}


def trained(devices: int, bias_decay: float, **options: Any) -> Run:
    given = DECAYS | {"bias_decay": bias_decay, "device": "cpu", "devices": devices} | SHORT | options
    return fit(DATA, "one-hot", **given)


def partners() -> list[int]:
    """Processes that this one has started to train with it."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [pid for pid in map(int, listed) if b"distributed.launcher" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def at_pass(epoch: int, act: Callable[[], None]) -> Callable[[int, int, str], None]:
    def listener(done: int, _total: int, _note: str) -> None:
        if done == epoch:
            act()

    return listener


def interrupt() -> None:
    raise KeyboardInterrupt


def assert_same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], tolerance: float) -> None:
    assert [row["phase"] for row in ours] == [row["phase"] for row in theirs]
    for name in ("loss", "loss_fit", "loss_features", "mean_cosine", "accuracy"):
        least = tolerance if name == "mean_cosine" else 1e-9  # a cosine near zero has its size of one
        np.testing.assert_allclose(
            [row[name] for row in ours], [row[name] for row in theirs], rtol=tolerance, atol=least, err_msg=name
        )


@pytest.mark.parametrize(
    ("bias_decay", "weights", "before", "after"), [(0.0, "none", 2, 1), (np.inf, "balanced", 1, 2)]
)
def test_interrupted_on_some_devices_a_training_goes_on_with_others_as_if_on_one(
    bias_decay: float, weights: str, before: int, after: int, tmp_path: Path
) -> None:
    options = {"class_weights": weights}
    state: dict[str, Any] = options | {"checkpoint": tmp_path / "state.safetensors", "checkpoint_seconds": 0.0}
    with pytest.raises(KeyboardInterrupt), listening(at_pass(2, interrupt)):
        trained(before, bias_decay, **state)
    resumed = trained(after, bias_decay, **state)
    # Sums over two processes round otherwise than over one, by eps of float32 a step; L-BFGS magnifies that.
    assert_same(list(resumed.history), list(trained(1, bias_decay, **options).history), 5e-4)
    assert resumed.settings.devices == after


def test_the_command_line_reaches_the_minimum_with_two_processes(capsys: pytest.CaptureFixture[str]) -> None:
    counts = ",".join(map(str, COUNTS))
    decays = ["--weight-decay", "5e-3", "--feature-decay", str(DECAYS["feature_decay"]), "--bias-decay", "1"]
    data = ["train", "digits", "-e", "one-hot", "--counts", counts, "--data-option", "seed=7"]
    assert cli.run([*data, *decays, "--batch-size", "31", "--device", "cpu", "--devices", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    alone = trained(1, 1.0, epochs=None, finish=None, history_every=10)
    assert said["status"] == "STATIONARY"
    assert said["comparison"]["gram_error"] < 0.01
    # The loss is flat at the minimum: both stop at most the tolerance above it.
    assert said["loss"] == pytest.approx(alone.loss, rel=1e-3)
    passes = [row for row in said["history"] if row["phase"] != "lbfgs"]
    assert_same(passes, list(alone.history[: len(passes)]), 1e-4)


def test_batch_normalization_sees_the_batch_of_both_processes() -> None:
    # Plain steps: Adam makes steps of full size out of gradients that are zero but for rounding.
    normalized: dict[str, Any] = {"model_options": {"normalization": "batch", "width": 23}, "optimizer": "sgd"}
    # 283 = 6 · 47 + 1: the last batch leaves the second process none.
    ours, theirs = (trained(devices, 0.3, **normalized, batch_size=47) for devices in (2, 1))
    assert_same(list(ours.history), list(theirs.history), 1e-4)
    for mine, yours in zip(ours.model.buffers(), theirs.model.buffers(), strict=True):
        np.testing.assert_allclose(mine, yours, rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_the_death_of_another_process_is_told_at_once() -> None:
    begun: list[float] = []

    def kill() -> None:
        (second,) = partners()
        os.kill(second, signal.SIGKILL)
        begun.append(time.monotonic())

    with pytest.raises(TrainingError, match=r"devices: process 1 of 0 to 1 .* SIGKILL"), listening(at_pass(2, kill)):
        trained(2, 1.0)
    assert time.monotonic() - begun[0] < 10
    assert not partners()


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_killed_the_first_process_takes_the_other_with_it(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(joined_training.__file__)), "endless", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        second = int(first.stdout.readline())
        assert alive(second)
        first.kill()
        deadline = time.monotonic() + 10
        while alive(second) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert not alive(second)


def test_processes_that_are_there_already_train_together(tmp_path: Path) -> None:
    # As under torchrun: this process is the first, and the second is joined to it from outside.
    store = FileStore(str(tmp_path / "store"), 2)
    with subprocess.Popen([sys.executable, str(Path(joined_training.__file__)), "joined", str(tmp_path)]) as other:
        with network_of_this_machine():
            distributed.init_process_group("gloo", store=store, rank=0, world_size=2)
        try:
            with pytest.raises(ArgumentError, match=r"devices: 2 processes .* got devices=3"):
                trained(3, 1.0)
            first = trained(2, 1.0)
        finally:
            distributed.destroy_process_group()
        assert other.wait(timeout=60) == 0
    second = json.loads((tmp_path / "history.json").read_text())
    assert json.loads(json.dumps(first.history)) == second
    assert_same(second, list(trained(1, 1.0).history), 1e-5)


class Net(nn.Linear):
    """Claims to be of a script that is run."""

    __module__ = "__main__"


def test_what_several_devices_cannot_do_is_refused_in_words() -> None:
    with pytest.raises(ArgumentError, match=r"devices: 284 .* 283 samples"):
        trained(284, 1.0)
    with pytest.raises(ArgumentTypeError, match=r"model: Net is defined in the main script"):
        trained(2, 1.0, model=Net(64, 7))

    class Local(nn.Linear):
        pass

    with pytest.raises(ArgumentTypeError, match=r"model: Local cannot be given to the other processes"):
        trained(2, 1.0, model=Local(64, 7))
