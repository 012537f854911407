"""What a study shows while it runs: plain lines in a log, a picture in a terminal."""

import io
import time

import pytest
from rich.console import Console

from encollapse.study.execution.display import ProgressDisplay
from encollapse.study.execution.trial import Outcome, lost
from encollapse.study.labels import labels_of
from encollapse.study.record import TrialRecord
from encollapse.study.trials import Trial
from reference.study_folder import study_of

TRIALS = study_of().trials[:5]


def outcome(error: float | None, *, stationarity: float | None = 1e-4, converged: bool = True) -> Outcome:
    comparison = None if error is None else {"gram_error": error}
    record = TrialRecord(comparison=comparison, stationarity=stationarity, converged=converged)
    return Outcome(record, None, [], {}, 2.5, "", "", {})


def display(console: Console) -> ProgressDisplay:
    return ProgressDisplay("demo", labels_of(TRIALS), 5, 1, shown=True, note=" (note)", console=console)


def log(width: int = 200) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, width=width, highlight=False), stream


def test_a_log_has_a_line_a_trial_with_the_time_left_and_a_summary() -> None:
    console, stream = log(40)  # a log is not broken to a width
    with display(console) as shown:
        for trial in TRIALS[1:4]:
            shown.started(trial)
        shown.add(TRIALS[1], outcome(1e-3))
        shown.add(
            TRIALS[2], Outcome(None, "Traceback\nencollapse.errors.ArgumentError: counts: no", [], {}, 0.5, "", "", {})
        )
        shown.lost(TRIALS[3])
        shown.again(TRIALS[3], lost("gone"))
        shown.add(TRIALS[3], outcome(4e-2))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "demo: 4 trials to run, 1 already stored (note)"
    assert lines[1] == "[2/5] done   one-hot · λ_b = 0 · seed 1: gram_error 1.00e-03 (2.5 s)"
    assert lines[2].startswith("[3/5] failed one-hot · λ_b = 0.1 · seed 0: counts: no (0.5 s), about ")
    assert lines[3] == "worker died in one-hot · λ_b = 0.1 · seed 1; it will be run again"
    assert lines[4] == "trying again: one-hot · λ_b = 0.1 · seed 1: gone"
    assert lines[5].startswith("[4/5] done   one-hot · λ_b = 0.1 · seed 1: gram_error 4.00e-02 (2.5 s)")
    assert lines[6].startswith("demo: 2 done, 1 failed, 1 left in 0.")
    assert lines[6].endswith("worst gram_error 4.00e-02: one-hot · λ_b = 0.1 · seed 1")
    assert len(lines) == 7


def test_a_training_that_stopped_early_is_said_to_have() -> None:
    console, stream = log()
    with display(console) as shown:
        shown.add(TRIALS[1], outcome(2e-2, stationarity=0.3, converged=False))
        shown.add(TRIALS[2], outcome(3e-2, stationarity=None, converged=False))  # no loss that could be stationary
        shown.add(TRIALS[3], outcome(1e-3))
    lines = stream.getvalue().splitlines()
    assert ["not stationary" in line for line in lines[1:4]] == [True, False, False]
    assert lines[4].startswith("demo: 3 done (1 stopped before they were stationary), 1 left in ")


def test_a_log_that_is_silent_for_long_says_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    console, stream = log()
    with display(console) as shown:
        shown.started(TRIALS[1])
        shown.moved(TRIALS[1], 3, 7, "stationarity 2.0e-02")
        assert len(stream.getvalue().splitlines()) == 1
        monkeypatch.setattr("encollapse.study.execution.display.HEARTBEAT_SECONDS", 0.0)
        time.sleep(0.01)
        shown.moved(TRIALS[1], 4, 7, "stationarity 1.0e-02")
    spoken = stream.getvalue().splitlines()[1]
    assert spoken == "[1/5] running: one-hot · λ_b = 0 · seed 1 (pass 4/7, stationarity 1.0e-02)"


@pytest.mark.parametrize("width", [60, 90, 160])
def test_a_terminal_shows_study_trials_and_the_worst_comparison(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, highlight=False)
    shown = display(console)
    shown.started(TRIALS[1])
    shown.started(TRIALS[2])
    shown.moved(TRIALS[1], 120, 720, "stationarity 2.0e-02")
    shown.add(TRIALS[2], outcome(3e-3))
    with console.capture() as captured:
        console.print(shown._picture())
    lines = captured.get().splitlines()
    assert len(lines) == 3
    assert all(len(line) <= width - 3 for line in lines)  # room for ^C
    assert lines[0].startswith("demo ")
    assert "2/5" in lines[0]
    assert "pass 120/720, stationarity 2.0e-02" in lines[1]
    assert "worst gram_error 3.00e-03" in lines[2]
    if width >= 90:
        assert lines[1].startswith("  one-hot · λ_b = 0 · seed 1 ")


def test_time_left_does_not_count_the_start_of_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("encollapse.study.execution.display.time.monotonic", lambda: clock[0])
    console, stream = log()
    with display(console) as shown:
        for trial in TRIALS[1:3]:
            shown.started(trial)
        clock[0] = 100.0  # importing
        shown.moved(TRIALS[1], 0, 10, "")
        clock[0] = 108.0
        shown.moved(TRIALS[1], 8, 10, "")
        clock[0] = 110.0
        shown.add(TRIALS[1], outcome(1e-3))
    assert "about 30 s left" in stream.getvalue()  # three more, of ten seconds each


def test_nothing_is_shown_where_nothing_is_asked_for() -> None:
    console, stream = log()
    with ProgressDisplay("demo", labels_of(TRIALS), 5, 0, shown=False, console=console) as shown:
        trial: Trial = TRIALS[0]
        shown.started(trial)
        shown.lost(trial)
        shown.add(trial, outcome(None))
    assert stream.getvalue() == ""
