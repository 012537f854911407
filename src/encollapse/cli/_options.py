"""Options that several commands share."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Annotated

import typer


def named(module: str) -> Callable[[str], list[str]]:
    """What the Tab key offers: the names that a module of the library lists."""

    def names(incomplete: str) -> list[str]:
        known = importlib.import_module(f"encollapse.{module}").names()
        return [name for name in known if name.startswith(incomplete)]

    return names


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
EncodingName = Annotated[
    str,
    typer.Option(
        "--encoding",
        "-e",
        help="A name of `encollapse encodings`, or a .json or .npz file.",
        autocompletion=named("encodings"),
    ),
]
EncodingOptions = Annotated[
    list[str] | None,
    typer.Option("--option", "-O", metavar="NAME=VALUE", help="Option of the encoding; may be repeated."),
]
WeightDecay = Annotated[float, typer.Option(help="λ_W, regularization of the last layer's weight.")]
LayerDecays = Annotated[
    str,
    typer.Option(
        metavar="FLOAT[,FLOAT...]",
        help="λ_W, regularization of the last layer's weight; with --depth, one number for all layers or one for each.",
    ),
]
FeatureDecay = Annotated[float, typer.Option(help="λ_H, regularization of the sum over all samples' features.")]
BiasDecay = Annotated[float, typer.Option(help="λ_b, regularization of the bias; inf means no bias.")]
Counts = Annotated[str | None, typer.Option(metavar="N,N,...", help="Samples of each class.")]
