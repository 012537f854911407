"""``encollapse design``: an encoding for a geometry of one's choice."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from encollapse.cli.console import show
from encollapse.cli.options import BiasDecay, FeatureDecay, Json, WeightDecay, parse_counts, parse_matrix


def design(
    target: Annotated[
        str,
        typer.Option(
            metavar="FILE|NAME", help="Gram matrix (K, K) as .npy, .npz or .safetensors, or simplex or orthogonal."
        ),
    ],
    counts: Annotated[str, typer.Option(metavar="N,N,...", help="Samples of each class.")],
    weight_decay: WeightDecay,
    feature_decay: FeatureDecay,
    out: Annotated[Path, typer.Option("--out", "-o", help="File of the encoding: .json or .npz.")],
    bias_decay: BiasDecay = math.inf,
    code_dim: Annotated[int | None, typer.Option(help="Number of outputs. Default: one a class.")] = None,
    like: Annotated[
        str | None,
        typer.Option(help="Give the target a size: one_hot (default for frames), unit_codewords or unit_outputs."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the encoding whose last layer collapses to a geometry of your choice, whatever the class counts.

    [bold]Examples[/bold]

    $ encollapse design --target simplex --counts 100,100,4 --weight-decay 5e-3 --feature-decay 1e-4 -o code.json
    $ encollapse design --target gram.npy --counts 100,50,4 --weight-decay 5e-3 --feature-decay 1e-4 -o code.json
    """
    from encollapse import geometry, ufm
    from encollapse.cli.render import records, tables

    sizes, wanted = parse_counts(counts), parse_matrix(target, "target")
    decays: dict[str, Any] = {"weight_decay": weight_decay, "feature_decay": feature_decay}
    if like is not None or isinstance(wanted, str):
        wanted = ufm.scale_target(wanted, sizes, like=like or "one_hot", **decays)
    encoding = ufm.design(wanted, sizes, bias_decay=bias_decay, code_dim=code_dim, **decays)
    solution = ufm.solve(ufm.Problem(encoding, sizes, bias_decay=bias_decay, **decays), throw=False)
    saved = str(encoding.save(out))
    aim = geometry.ClassGeometry(wanted, sizes)
    show(
        lambda: tables.design_table(solution, aim, saved), lambda: records.design_record(solution, aim, saved), as_json
    )
    if not solution.status.success:
        raise typer.Exit(1)
