"""Tables of docs/findings.md: means or extremes of a study's exported trials.

    encollapse report runs/transition --export csv
    python benchmarks/study_findings.py runs/transition --by dataset,model --show max:gram_error,max:bias_error,sum:seconds
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd


def main() -> None:
    """Print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the study")
    parser.add_argument("--by", required=True, help="columns that make the rows, in the order of the trials")
    parser.add_argument("--show", required=True, help="FUNCTION:COLUMN of pandas, such as max:gram_error")
    parser.add_argument("--where", help="condition on the trials, such as: train.decay == 'ufm'")
    given = parser.parse_args()
    trials = pd.read_csv(given.folder / "export" / "trials.csv")
    if given.where:
        trials = trials.query(given.where)
    rows = given.by.split(",")
    shown = [entry.split(":", 1) for entry in given.show.split(",")]
    table = trials.groupby(trials[rows].astype(str).apply(tuple, axis=1), sort=False)
    heads = [*rows, "trials", *(column if how == "mean" else f"{how} {column}" for how, column in shown)]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for key, group in table:
        values = [f"{group[column].agg(how):.3g}" for how, column in shown]
        print("| " + " | ".join([*key, str(len(group)), *values]) + " |")


if __name__ == "__main__":
    main()
