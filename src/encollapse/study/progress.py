"""Progress of a study: a live line in a terminal, one plain line a trial in a log."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from encollapse.study.execute import Outcome
from encollapse.study.trials import Trial


class ProgressDisplay:
    """Counts finished trials, estimates the time left, and keeps the worst comparison in sight."""

    def __init__(
        self, name: str, total: int, stored: int, *, shown: bool, console: Console | None = None
    ) -> None:
        self.name, self.total, self.stored = name, total, stored
        self.finished = self.failed = 0
        self.worst: tuple[float, str] | None = None
        self._shown = shown
        self._console = console or Console(stderr=True, highlight=False)
        self._start = time.monotonic()
        self._live = self._live_display() if shown and self._console.is_terminal else None

    def _live_display(self) -> Progress:
        live = Progress(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("[bold]{task.description}[/bold]"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            console=self._console,
        )
        live.add_task(self.name, total=self.total, completed=self.stored, status="starting")
        return live

    def __enter__(self) -> ProgressDisplay:
        if self._live is not None:
            self._live.start()
        elif self._shown:
            waiting = self.total - self.stored
            kept = f", {self.stored} already stored" if self.stored else ""
            self._print(f"{self.name}: {waiting} trials to run{kept}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def add(self, trial: Trial, outcome: Outcome) -> None:
        """Count a finished trial."""
        self.finished += 1
        value = None
        if outcome.record is None:
            self.failed += 1
        else:
            value = (outcome.record["comparison"] or {}).get("gram_error")
            if value is not None and (self.worst is None or value > self.worst[0]):
                self.worst = (value, trial.label)
        if self._live is not None:
            if outcome.error is not None:
                self._live.console.print(f"[red]failed[/red] {trial.label}: {_last_line(outcome.error)}")
            self._live.update(self._live.task_ids[0], advance=1, status=self._status())
        elif self._shown:
            result = _last_line(outcome.error or "") if value is None else f"gram_error {value:.2e}"
            count = f"[{self.stored + self.finished:>{len(str(self.total))}}/{self.total}]"
            verdict = "done  " if outcome.record is not None else "failed"
            self._print(f"{count} {verdict} {trial.label}: {result} ({outcome.seconds:.1f} s){self._left()}")

    def _status(self) -> str:
        parts = [self._left().removeprefix(", ")]
        if self.worst is not None:
            parts.append(f"worst gram_error {self.worst[0]:.1e}")
        if self.failed:
            parts.append(f"[red]{self.failed} failed[/red]")
        return " · ".join(part for part in parts if part)

    def _left(self) -> str:
        remaining = self.total - self.stored - self.finished
        if remaining == 0:
            return ""
        seconds = (time.monotonic() - self._start) / self.finished * remaining
        return f", {duration(seconds)} left"

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Time as people say it: ``8 s``, ``2 min 05 s``, ``3 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _last_line(error: str) -> str:
    lines = error.strip().splitlines()
    return lines[-1] if lines else "no comparison"
