"""The training loop: passes over minibatches, then L-BFGS on everything, until the gradient is small."""

from __future__ import annotations

import enum
import math
import time
from dataclasses import dataclass
from typing import Any

import torch

from encollapse.errors import FileFormatError, TrainingError
from encollapse.train.distributed.process_group import ProcessGroup
from encollapse.train.loop.checkpoint import CheckpointFile, optimizer_state, restore_optimizer
from encollapse.train.loop.dead_units import wake_dead_units_
from encollapse.train.loop.history import CHECK_EVERY, Frame, Timetable, frame_of, row_of
from encollapse.train.loop.minibatches import Minibatches
from encollapse.train.loop.post_mortem import cause_of
from encollapse.train.loop.progress import Progress
from encollapse.train.loop.saddle_escape import leave_saddle
from encollapse.train.loop.snapshot import Snapshot, observe
from encollapse.train.loop.task import Task, Work
from encollapse.train.loop.whole_set import WholeSet
from encollapse.train.models import Classifier
from encollapse.train.settings import Settings

LEAST_GAIN = 1e-10
"""Relative decrease of the loss below which a round of L-BFGS counts as stalled."""

SADDLE_DESCENT, SADDLE_ESCAPE = 1e-3, 1e-2
"""A saddle has a smaller squared gradient, and more negative curvature."""

MOST_STEPS_OFF = 20
"""Steps off saddles in one training."""

NOTHING = 1e-3
"""Share of the codewords' variance below which outputs that vary so little have learned nothing."""


class TrainingStatus(enum.Enum):
    """How a training ended. The value is the message for the user.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.train.TrainingStatus["BUDGET"].message[:21]
    'Stopped by the budget'
    """

    STATIONARY = "Stationary: the gradient and the negative curvature of the objective fell below the tolerance."
    STALLED = (
        "Stalled: L-BFGS no longer lowers the loss, at the accuracy of float32, while the stationarity "
        "is still above the tolerance. Raise tolerance if the errors are small enough, or use a wider model."
    )
    COMPLETED = "Completed: every epoch was run. Decoupled decay belongs to no loss, so none says how near the end is."
    BUDGET = (
        "Stopped by the budget before the stationarity fell below the tolerance. Raise epochs or finish, or raise "
        "tolerance if the errors are small enough."
    )

    @property
    def message(self) -> str:
        """What happened, and what to try."""
        return str(self.value)


@dataclass(frozen=True, eq=False)
class Trained:
    """A network in the user's units, on the CPU, and how it came to be."""

    classifier: Classifier
    observation: Snapshot
    history: tuple[dict[str, Any], ...]
    frames: tuple[Frame, ...]
    status: TrainingStatus
    seconds: float


def train(workers: ProcessGroup, work: Work, settings: Settings) -> Trained:
    """Train a network, with the caller's random state left alone.

    Raises
    ------
    TrainingError
        If the loss stops being finite.
    """
    devices = [workers.device] if workers.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(settings.seed)
        return _Training(workers, work, settings).run()


class _Training:
    """A training and its state. Everything that decides how it goes on is in `_state`."""

    def __init__(self, workers: ProcessGroup, work: Work, settings: Settings) -> None:
        self.workers, self.work, self.settings = workers, work, settings
        self.task = Task(work, settings, workers)
        self.minibatches = Minibatches(self.task)
        self.whole_set = WholeSet(self.task)
        self.timetable = Timetable.of(settings)
        self.total = settings.epochs + settings.finish
        self.epoch = 0
        self.last_loss = math.inf
        self.last_escape = math.inf
        self.steps_off = 0
        self.seconds = 0.0
        self.history: list[dict[str, Any]] = []
        self.frames: list[Frame] = []
        self.checkpoints = CheckpointFile.of(work, settings)

    def run(self) -> Trained:
        start = time.perf_counter()
        self._resume(self.checkpoints.read(self.workers.device))
        start -= self.seconds
        shown = self.settings.progress and self.workers.leads
        with Progress(self.work.title, self.total, enabled=shown) as bar:
            while True:
                if self.epoch in self.timetable.checks:
                    self.workers.align_(self.task.classifier)
                    seen = observe(self.task)
                    self._require_finite(seen)
                    status = self.workers.agree(self._verdict(seen))
                    noted = self._note(seen, due=self.epoch in self.timetable.rows)
                    if status in (None, TrainingStatus.STALLED) and self._leave_saddle(
                        seen, stalled=status is not None
                    ):
                        status = None
                    if status is not None:
                        self._note(seen, due=not noted)
                        break
                    judged = seen.judged
                    note = f"loss {seen.loss:.4g}" if judged is None else f"stationarity {judged:.1e}"
                    bar.update(self.epoch, note)
                self._advance()
                self.seconds = time.perf_counter() - start
                kept = self.settings.checkpoint is not None
                if kept and self.workers.agree(self.checkpoints.due) and self.workers.leads:
                    self.checkpoints.write(self._state())
        if self.workers.leads and not self.settings.keep_checkpoint:
            self.checkpoints.delete()
        seconds = time.perf_counter() - start
        network = self.task.finish()
        return Trained(network, seen, tuple(self.history), tuple(self.frames), status, seconds)

    def _verdict(self, seen: Snapshot) -> TrainingStatus | None:
        """How the training ends here, or None if it goes on."""
        settings = self.settings
        if self.epoch >= settings.epochs and seen.judged is not None and seen.judged <= settings.tolerance:
            return TrainingStatus.STATIONARY
        if self.epoch == self.total:
            return TrainingStatus.COMPLETED if settings.decay == "decoupled" else TrainingStatus.BUDGET
        if self._phase() == "lbfgs" and seen.loss > self.last_loss * (1 - LEAST_GAIN):
            return TrainingStatus.STALLED
        return None

    def _leave_saddle(self, seen: Snapshot, *, stalled: bool) -> bool:
        """Step off a saddle at which L-BFGS waits: the negative curvature does not fall, and the gradient is small.

        Where passes over minibatches have ended at zero, often with all units dead, L-BFGS begins anew instead.
        """
        judged, last_escape = seen.stationarity, self.last_escape
        self.last_loss = seen.loss
        no_time = self.epoch == 0 or not self.settings.epochs <= self.epoch < self.total
        if judged is None or no_time or not self.settings.leave_saddles:
            return False
        deep = judged.escape > max(self.settings.tolerance, SADDLE_ESCAPE) and self.steps_off < MOST_STEPS_OFF
        if self._phase() != "lbfgs":
            if not self.workers.agree(deep and seen.learned(self.task.targets) < NOTHING):
                return False
            self.task.begin_anew_()
        else:
            self.last_escape = judged.escape
            waits = stalled or (judged.descent <= SADDLE_DESCENT and judged.escape > 0.9 * last_escape)
            if not self.workers.agree(deep and waits) or not leave_saddle(self.task):
                return False
        self.steps_off += 1
        # What the loss and the curvature were before says nothing of what they will be.
        self.last_loss = self.last_escape = math.inf
        self.whole_set.optimizer.state.clear()
        self.whole_set.adopt_head()
        return True

    def _note(self, seen: Snapshot, *, due: bool) -> bool:
        """A row of the history, if one is due."""
        if due:
            self.history.append(row_of(self.task, seen, self.epoch, self._phase()))
            self.frames.append(frame_of(self.task, seen, self.epoch))
        return due

    def _advance(self) -> None:
        """Train on: one pass over minibatches, or a round of L-BFGS."""
        if self.epoch < self.settings.epochs:
            self.minibatches.run(self.epoch)
            self.epoch += 1
            if self.epoch == self.settings.epochs and self.settings.finish > 0:
                wake_dead_units_(self.task)
                self.whole_set.adopt_head()
        else:
            if self.epoch == self.settings.epochs:
                self.whole_set.shrink_()
            iterations = min(self.timetable.after(self.epoch) - self.epoch, CHECK_EVERY)
            self.whole_set.run(iterations)
            self.epoch += iterations

    def _phase(self) -> str:
        if self.epoch == 0:
            return "start"
        return self.settings.optimizer if self.epoch <= self.settings.epochs else "lbfgs"

    def _require_finite(self, seen: Snapshot) -> None:
        judged = seen.judged
        if not (math.isfinite(seen.loss) and (judged is None or math.isfinite(judged))):
            raise TrainingError(cause_of(self.task, seen, self.epoch, self._phase()))

    def _state(self) -> dict[str, Any]:
        cuda = self.workers.device.type == "cuda"
        return {
            "epoch": self.epoch,
            "last_loss": self.last_loss,
            "last_escape": self.last_escape,
            "steps_off": self.steps_off,
            "seconds": self.seconds,
            "history": self.history,
            "frames": [vars(frame) for frame in self.frames],
            "network": self.task.classifier.state_dict(),
            "minibatches": optimizer_state(self.minibatches.optimizer),
            "whole_set": optimizer_state(self.whole_set.optimizer),
            "precision": self.workers.precision_state,
            "shuffle": self.minibatches.shuffle.get_state(),
            "random": torch.get_rng_state(),
            "device_random": torch.cuda.get_rng_state(self.workers.device) if cuda else None,
        }

    def _resume(self, state: dict[str, Any] | None) -> None:
        if state is None:
            return
        absent = sorted(self._state().keys() - state.keys())
        if absent:  # without a digest nothing else would say so
            raise FileFormatError(
                f"{self.settings.checkpoint}: the state of a training without {', '.join(absent)}, damaged or of an "
                "earlier release; delete it and train from the start, or name another file"
            )
        self.epoch, self.last_loss, self.seconds = state["epoch"], state["last_loss"], state["seconds"]
        self.last_escape, self.steps_off = state["last_escape"], state["steps_off"]
        self.history = state["history"]
        self.frames = [Frame(**frame) for frame in state["frames"]]
        self.task.classifier.load_state_dict(state["network"])
        restore_optimizer(self.minibatches.optimizer, state["minibatches"])
        restore_optimizer(self.whole_set.optimizer, state["whole_set"])
        self.workers.precision_state = state["precision"]
        self.minibatches.shuffle.set_state(state["shuffle"])
        torch.set_rng_state(state["random"])
        if state["device_random"] is not None:
            torch.cuda.set_rng_state(state["device_random"], self.workers.device)
