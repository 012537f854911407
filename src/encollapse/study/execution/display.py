"""Progress of a study: what executors tell of it, as a live picture in a terminal or as plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from encollapse.study.execution.trial import Outcome, reason_of
from encollapse.study.trials import Trial

HEARTBEAT_SECONDS = 60.0
"""Silence after which a log says what is running."""

_SHOWN = 8
"""Running trials that a terminal shows."""

_LEAST_DONE = 0.2
"""Trials after which the pace says something."""

_STATE_WIDTH = len("pass 1000/1000, stationarity 1.0e-03")

_ERROR = "gram_error"


class Observer:
    """Somebody who is told what runs. This one shows nothing."""

    def started(self, trial: Trial) -> None:
        """A trial has begun."""

    def moved(self, trial: Trial, done: int, total: int, note: str) -> None:
        """A training has come so far."""

    def lost(self, trial: Trial) -> None:
        """The worker of a trial died. The trial will be run again."""


@dataclass
class _Running:
    """A trial that runs, and how far it is known to be."""

    label: str
    start: float = field(default_factory=time.monotonic)
    done: int = 0
    total: int = 0
    note: str = ""

    @property
    def share(self) -> float:
        return self.done / self.total if self.total else 0.0

    @property
    def state(self) -> str:
        passes = f"pass {self.done}/{self.total}" if self.total else "starting"
        return ", ".join(part for part in (passes, self.note) if part)


class ProgressDisplay(Observer):
    """Counts finished trials, follows the running ones, estimates the time left, keeps the worst comparison in sight.

    Parameters
    ----------
    name : str
        Of the study.
    labels : mapping
        What to call each trial, by id.
    total, stored : int
        Trials of the study, and those of them that need not run.
    shown : bool
        Whether anything is printed at all.
    note : str
        Added to the first line of a log.
    """

    def __init__(
        self,
        name: str,
        labels: Mapping[str, str],
        total: int,
        stored: int,
        *,
        shown: bool,
        note: str = "",
        console: Console | None = None,
    ) -> None:
        self.name, self.labels, self.total, self.stored, self.note = name, labels, total, stored, note
        self.finished = self.failed = self.restless = self.unfinished = 0
        self.worst: tuple[float, str] | None = None
        self.running: dict[str, _Running] = {}
        self._shown = shown
        self._console = console or Console(stderr=True, highlight=False)
        self._start = self._spoken = time.monotonic()
        self._pace: tuple[float, float] | None = None
        self._live: Live | None = None

    def __enter__(self) -> ProgressDisplay:
        if self._shown and self._console.is_terminal:
            self._live = Live(console=self._console, get_renderable=self._picture, refresh_per_second=5, transient=True)
            self._live.start()
        elif self._shown:
            kept = f", {self.stored} already stored" if self.stored else ""
            self._print(f"{self.name}: {self.total - self.stored} trials to run{kept}{self.note}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._print(self._summary())
        elif self._shown and self.finished:
            self._print(self._summary())

    def started(self, trial: Trial) -> None:
        """A trial has begun."""
        self.running[trial.id] = _Running(self.labels[trial.id])

    def moved(self, trial: Trial, done: int, total: int, note: str) -> None:
        """A training has come so far."""
        known = self.running.get(trial.id)
        if known is None:
            return
        known.done, known.total, known.note = done, total, note
        self._set_pace()
        if self._live is None and time.monotonic() - self._spoken > HEARTBEAT_SECONDS:
            running = "; ".join(f"{r.label} ({r.state})" for r in self.running.values() if r.total)
            self._print(f"{self._count()} running: {running}{self._left()}")

    def lost(self, trial: Trial) -> None:
        """The worker of a trial died. The trial will be run again."""
        self.running.pop(trial.id, None)
        self._print(f"worker died in {self.labels[trial.id]}; it will be run again", style="yellow")

    def again(self, trial: Trial, outcome: Outcome) -> None:
        """A trial failed and will be run again."""
        self.running.pop(trial.id, None)
        self._print(f"trying again: {self.labels[trial.id]}: {reason_of(outcome.error)}", style="yellow")

    def add(self, trial: Trial, outcome: Outcome) -> None:
        """Count a finished trial."""
        self.running.pop(trial.id, None)
        self.finished += 1
        self._set_pace()
        label, value, early = self.labels[trial.id], None, ""
        if outcome.record is None:
            self.failed += 1
            self.unfinished += outcome.lost
        else:
            if outcome.record.stopped_early:
                self.restless += 1
                early = ", not stationary"
            value = outcome.record.value(_ERROR)
            if value is not None and (self.worst is None or value > self.worst[0]):
                self.worst = (value, label)
        if self._live is not None:
            if outcome.error is not None:
                self._print(f"failed: {label}: {reason_of(outcome.error)}", style="red")
            return
        result = (reason_of(outcome.error) or "no comparison") if value is None else f"{_ERROR} {value:.2e}"
        verdict = "done  " if outcome.record is not None else "failed"
        took = f"({duration(outcome.seconds)})"
        self._print(f"{self._count()} {verdict} {label}: {result}{early} {took}{self._left()}")

    def _picture(self) -> RenderableType:
        """What a terminal shows: the study on top, a line for each running trial, the worst comparison."""
        done = self.stored + self.finished
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text(self.name, style="bold", no_wrap=True),
            ProgressBar(self.total, done, width=24),
            Text(f"{done}/{self.total}"),
            Text(self._left().removeprefix(", ") or "starting", style="cyan"),
            Text(f"{self.restless} not stationary" if self.restless else "", style="yellow"),
            Text(f"{self.failed} failed" if self.failed else "", style="red"),
        )
        lines = Table.grid(padding=(0, 1), expand=True)
        lines.add_column(width=1)
        lines.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        lines.add_column(no_wrap=True, overflow="ellipsis", min_width=_STATE_WIDTH)
        lines.add_column(justify="right", no_wrap=True)
        for known in list(self.running.values())[:_SHOWN]:
            clock = f"{duration(time.monotonic() - known.start):>8}"
            lines.add_row("", Text(known.label), Text(known.state, style="dim"), Text(clock, style="dim"))
        parts: list[RenderableType] = [head, lines]
        if len(self.running) > _SHOWN:
            parts.append(Text(f"  and {len(self.running) - _SHOWN} more", style="dim"))
        if self.worst is not None:
            worst = f"  worst {_ERROR} {self.worst[0]:.2e}  {self.worst[1]}"
            parts.append(Text(worst, no_wrap=True, overflow="ellipsis"))
        # Room for the ^C that a terminal writes: a line that it made longer than the screen would not be taken back.
        return Constrain(Group(*parts), self._console.width - 3)

    def _summary(self) -> str:
        parts = [f"{self.finished - self.failed} done"]
        if self.restless:
            parts[0] += f" ({self.restless} stopped before they were stationary)"
        if self.failed:
            parts.append(f"{self.failed} failed")
        left = self.total - self.stored - self.finished
        if left:
            parts.append(f"{left} left")
        text = f"{self.name}: {', '.join(parts)} in {duration(time.monotonic() - self._start)}"
        return text if self.worst is None else f"{text}; worst {_ERROR} {self.worst[0]:.2e}: {self.worst[1]}"

    def _count(self) -> str:
        return f"[{self.stored + self.finished:>{len(str(self.total))}}/{self.total}]"

    def _left(self) -> str:
        """Time left in words, from the pace so far, running trials counted by their share."""
        remaining = self.total - self.stored - self.finished
        if self._pace is None or remaining == 0:
            return ""
        since, before = self._pace
        done = self._done() - before
        if done < _LEAST_DONE:
            return ""
        left = self.total - self.stored - self._done()
        return f", about {duration((time.monotonic() - since) / done * max(left, 0.0))} left"

    def _set_pace(self) -> None:
        """Begin to measure the pace at the first news: workers take a while to get ready."""
        if self._pace is None:
            self._pace = time.monotonic(), self._done()

    def _done(self) -> float:
        """Trials that have finished here, running ones counted by their share."""
        return self.finished + sum(known.share for known in self.running.values())

    def _print(self, text: str, style: str = "") -> None:
        self._spoken = time.monotonic()
        if self._shown:
            # A log keeps a line in one piece; a terminal breaks it between words.
            self._console.print(Text(text, style=style), soft_wrap=not self._console.is_terminal)


def duration(seconds: float) -> str:
    """Time as people say it: ``0.4 s``, ``8 s``, ``2 min 05 s``, ``3 h 10 min``."""
    whole = round(seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
