"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
EncodingName = Annotated[
    str, typer.Option("--encoding", "-e", help="A name of `encollapse encodings`, or a .json or .npz file.")
]
EncodingOptions = Annotated[
    list[str] | None,
    typer.Option("--option", "-O", metavar="NAME=VALUE", help="Option of the encoding; may be repeated."),
]
WeightDecay = Annotated[float, typer.Option(help="λ_W, regularisation of the last layer's weight.")]
FeatureDecay = Annotated[
    float, typer.Option(help="λ_H, regularisation of the sum over all samples' features.")
]
BiasDecay = Annotated[float, typer.Option(help="λ_b, regularisation of the bias; inf means no bias.")]
Counts = Annotated[str | None, typer.Option(metavar="N,N,...", help="Samples of each class.")]
