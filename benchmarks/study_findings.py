"""Tables of docs/findings.md, from a study's exported trials and histories.

encollapse report runs/transition --export csv
python benchmarks/study_findings.py runs/transition --by dataset,model --show max:gram_error,sum:seconds
python benchmarks/study_findings.py runs/recipes --by model,train.loss --show "sum:distance > guarantee"
python benchmarks/study_findings.py runs/dynamics --by model --since "gram_error<0.05,nc4_agreement>0.999"
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import pandas as pd


def ends(trials: pd.DataFrame, shown: list[str]) -> list[str]:
    """One cell for each ``FUNCTION:COLUMN``: what pandas' function makes of the column, or of a formula of columns."""
    pairs = [entry.split(":", 1) for entry in shown]
    found: list[tuple[str, Any]] = [
        (how, trials[column] if column in trials else trials.eval(column)) for how, column in pairs
    ]
    return [f"{values.agg(how):.3g}" for how, values in found]


def since(history: pd.DataFrame, conditions: list[str]) -> list[str]:
    """One cell for each ``COLUMN<LEVEL``: the passes after which it holds for good; fewest and most over trials."""
    cells = []
    for condition in conditions:
        column = re.split("[<>]", condition)[0]
        held = history[history[column].notna()]
        firsts = [_first(rows, condition) for _, rows in held.groupby("trial")]
        met = sorted(first for first in firsts if first is not None)
        missed = f" ({len(firsts) - len(met)} never)" if len(met) < len(firsts) else ""
        cells.append((f"{met[0]}–{met[-1]}" if met and met[0] != met[-1] else str(*met[:1]) or "–") + missed)
    return cells


def _first(rows: pd.DataFrame, condition: str) -> int | None:
    epochs, misses = rows["epoch"], rows.query(f"not ({condition})")["epoch"]
    later = epochs if misses.empty else epochs[epochs > misses.max()]
    return None if later.empty else int(later.min())


def main() -> None:
    """Print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the study")
    parser.add_argument("--by", required=True, help="columns that make the rows")
    parser.add_argument("--show", default="", help="FUNCTION:COLUMN or FUNCTION:FORMULA of pandas")
    parser.add_argument("--since", default="", help="COLUMN<LEVEL or COLUMN>LEVEL of the histories")
    parser.add_argument("--where", help="condition on the trials, such as: features == 'relu'")
    given = parser.parse_args()
    if not (given.folder / "export" / "trials.csv").is_file():
        parser.error(f"{given.folder} has no exported tables; make them: encollapse report {given.folder} --export csv")
    trials = pd.read_csv(given.folder / "export" / "trials.csv")
    if given.where:
        trials = trials.query(given.where)
    rows = given.by.split(",")
    shown, conditions = ([e for e in text.split(",") if e] for text in (given.show, given.since))
    history = pd.read_csv(given.folder / "export" / "history.csv") if conditions else pd.DataFrame()
    heads = [*rows, "trials", *(entry.removeprefix("mean:").replace(":", " ") for entry in shown), *conditions]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    keys = (
        trials[rows]
        .astype(object)
        .fillna("default")
        .map(lambda value: f"{value:.4g}" if isinstance(value, float) else value)
    )
    for key, group in trials.groupby(keys.astype(str).apply(tuple, axis=1), sort=False):
        cells = ends(group, shown)
        if conditions:
            cells += since(history[history["trial"].isin(group["trial"])], conditions)
        print("| " + " | ".join([*key, str(len(group)), *cells]) + " |")


if __name__ == "__main__":
    main()
