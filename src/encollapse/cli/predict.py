"""``encollapse predict``: the geometry a last layer collapses to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from encollapse._internal.warn import warn
from encollapse.cli.console import show
from encollapse.cli.options import (
    BiasDecay,
    Counts,
    EncodingName,
    EncodingOptions,
    FeatureDecay,
    Json,
    LayerDecays,
    parse_counts,
    parse_decays,
    parse_encoding,
)
from encollapse.errors import ArgumentError


def predict(
    encoding: EncodingName,
    weight_decay: LayerDecays,
    feature_decay: FeatureDecay,
    bias_decay: BiasDecay = 0.0,
    classes: Annotated[int | None, typer.Option(help="Number of classes.")] = None,
    samples_per_class: Annotated[int | None, typer.Option(help="Samples of every class (balanced).")] = None,
    counts: Counts = None,
    option: EncodingOptions = None,
    feature_dim: Annotated[int | None, typer.Option(help="Dimension of the features. Default: wide enough.")] = None,
    loss: Annotated[str, typer.Option(help="mse or cross_entropy.")] = "mse",
    depth: Annotated[int, typer.Option(help="Weight layers on top of the features.")] = 1,
    features: Annotated[str, typer.Option(help="linear, or relu: no entry below 0.")] = "linear",
    path: Annotated[bool, typer.Option("--path", help="Print the transition over λ_b from 0 to ∞ instead.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="With --path: draw it into this .svg, .png or .pdf, its data beside."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Predict the geometry that a last layer collapses to, exactly, with a certificate.

    [bold]Examples[/bold]

    $ encollapse predict -e one-hot --classes 10 --samples-per-class 100 --weight-decay 5e-3 --feature-decay 1e-5
    $ encollapse predict -e label-smoothing -O smoothing=0.2 --counts 100,50,20 --weight-decay 5e-3 --feature-decay 1e-5
    $ encollapse predict -e one-hot --classes 4 --samples-per-class 5 --weight-decay 5e-3 --feature-decay 2e-3 --path
    $ encollapse predict -e ordinal --counts 90,60,30 --weight-decay 5e-3 --feature-decay 2e-4 --path -o turn.svg
    $ encollapse predict -e one-hot --counts 90,60,30 --weight-decay 1e-3,5e-3 --depth 2 --feature-decay 1e-4
    $ encollapse predict -e one-hot --counts 500,500,20 --weight-decay 5e-4 --feature-decay 1e-5 --loss cross_entropy
    """
    from encollapse import ufm
    from encollapse.cli.render import records, tables
    from encollapse.ufm.inverse.design import design_mismatch
    from encollapse.ufm.path import transition_grid

    sizes = parse_counts(counts)
    if (sizes is None) == (samples_per_class is None):
        raise ArgumentError("counts: give either --counts or --samples-per-class, and not both")
    if out is not None and not path:
        raise ArgumentError("out: a figure is drawn of the transition; add --path")
    problem = ufm.Problem(
        parse_encoding(encoding, option, classes if classes is not None or sizes is None else len(sizes)),
        samples_per_class if sizes is None else sizes,
        weight_decay=parse_decays(weight_decay),
        feature_decay=feature_decay,
        bias_decay=bias_decay,
        feature_dim=feature_dim,
        loss=loss,
        depth=depth,
        features=features,
    )
    mismatch = design_mismatch(
        problem.encoding,
        problem.counts,
        weight_decay=problem.weight_decay,
        feature_decay=feature_decay,
        bias_decay=None if path else bias_decay,
    )
    if mismatch:
        warn(mismatch)
    if path:
        if out is not None:
            from encollapse.report import figures

            figures.path_figure(problem).save_as(out)
        line = ufm.bias_path(problem, transition_grid(problem.turning_point()[0]))
        show(lambda: tables.path_table(line), lambda: records.path_record(line), as_json)
        return
    solution = ufm.solve(problem, throw=False)
    show(lambda: tables.solution_table(solution), lambda: records.solution_record(solution), as_json)
    if not solution.status.success:
        raise typer.Exit(1)
