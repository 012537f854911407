"""What a study would do, for the terminal and for ``--json``."""

from __future__ import annotations

from typing import Any

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from encollapse._internal.format import count, number_label, signed
from encollapse._internal.json_values import plain_dict
from encollapse.cli.render.cells import fact_table
from encollapse.study.execution.display import duration
from encollapse.study.plan import Plan, TrialGroup

_SOURCES = {
    "stored trials": "from stored trials of the same kind",
    "rough count": "a rough count of multiplications, ten thousand million a second; it may be some times off",
    "unknown": "for some trials there is no estimate",
}


def plan_table(plan: Plan) -> RenderableType:
    """A plan: each group of trials with what sets it apart from the one before, then the time."""
    parts: list[RenderableType] = [Text(plan.study.title, style="bold"), ""]
    before: list[str] = []
    for number, group in enumerate(plan.groups, start=1):
        table = Table.grid(padding=(0, 1))
        table.add_column(justify="right", width=len(str(len(plan.groups))) + 1, style="bold")
        table.add_column(overflow="fold")
        table.add_row(f"{number}.", Text.assemble((group.label, "bold"), f"  {_size(group)}"))
        facts = _facts(group)
        for fact in facts:
            if fact not in before:
                table.add_row("", fact)
        before = facts
        if group.problem is not None:
            table.add_row("", Text(f"cannot run: {group.problem}", style="bold red"))
        else:
            table.add_row("", _sides(group))
        parts.append(table)
    return Stack(*parts, "", fact_table(_total(plan)))


def plan_record(plan: Plan) -> dict[str, Any]:
    """A plan as plain values: groups with their thresholds, and every trial with its side."""
    return plain_dict(
        {
            "study": plan.study.name,
            "title": plan.study.title,
            "trials": len(plan.study.trials),
            "stored": plan.stored,
            "workers": plan.workers,
            "seconds": plan.seconds,
            "sources": plan.sources,
            "groups": [_group_record(group) for group in plan.groups],
        }
    )


def _group_record(group: TrialGroup) -> dict[str, Any]:
    return {
        "label": group.label,
        "num_samples": group.num_samples,
        "num_classes": group.num_classes,
        "threshold_c": group.threshold_c,
        "threshold_t": group.threshold_t,
        "critical_bias_decay": group.critical,
        "explanation": group.explanation,
        "seconds_per_trial": group.seconds,
        "source": group.source,
        "problem": group.problem,
        "trials": [
            {
                "id": trial.id,
                "bias_decay": trial.settings["bias_decay"],
                "seed": trial.settings["seed"],
                "side": group.side(trial.settings["bias_decay"]) or None,
            }
            for trial in group.trials
        ],
    }


def _size(group: TrialGroup) -> str:
    seeds = f"seeds {', '.join(map(str, group.seeds))}" if len(group.seeds) > 1 else f"seed {group.seeds[0]}"
    return f"{count(len(group.trials), 'trial')}, {seeds}"


def _facts(group: TrialGroup) -> list[str]:
    """Lines that hold for a whole group and, often, for the next one too."""
    facts = []
    if group.num_samples is not None:
        facts.append(f"{group.num_samples} samples in {group.num_classes} classes")
    if group.threshold_t is not None and group.threshold_c is not None:
        facts.append(f"t = c√K = {signed(group.threshold_t, 4)}, c = {signed(group.threshold_c, 4)}")
    if group.seconds is not None:
        facts.append(f"about {duration(group.seconds)} a trial")
    return facts


def _sides(group: TrialGroup) -> str:
    """The critical bias decay and which bias decays lie on which side of it."""
    parts = []
    for side in ("below", "at", "above", ""):
        decays = [number_label(decay) for decay in group.bias_decays if group.side(decay) == side]
        if decays:
            parts.append(f"{f'{side} it' if side else 'λ_b ='} {', '.join(decays)}")
    if group.critical is None:
        return f"{'; '.join(parts)}: {group.explanation}"
    return f"{group.symbol} = {number_label(group.critical)}: {'; '.join(parts)}"


def _total(plan: Plan) -> list[tuple[str, Any]]:
    left = len(plan.study.trials) - plan.stored
    stored = f", {plan.stored} of them stored already" if plan.stored else ""
    facts: list[tuple[str, Any]] = [("in all", f"{count(len(plan.study.trials), 'trial')}{stored}")]
    if not left:
        return facts
    together = f"{count(plan.workers, 'trial')} at a time"
    time = "not known" if plan.seconds is None else f"about {duration(plan.seconds)}, {together}"
    facts.append(("time", f"{time} ({'; '.join(_SOURCES[source] for source in plan.sources)})"))
    return facts
