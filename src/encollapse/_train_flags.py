"""Flags of ``encollapse train`` in their groups: data, network, training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_DATA, _NETWORK, _TRAINING = "Data", "Network", "Training"

Counts = Annotated[
    str | None, typer.Option(metavar="N,N,...", help="Samples of each class.", rich_help_panel=_DATA)
]
Imbalance = Annotated[
    str | None,
    typer.Option(
        metavar="KIND:NAME=VALUE,...",
        help="Counts by a rule: step:majority=90,minority=9 or exponential:ratio=20 or "
        "geometric:first=90,last=9.",
        rich_help_panel=_DATA,
    ),
]
LabelNoise = Annotated[
    str | None,
    typer.Option(
        metavar="SHARE",
        help="Share of wrong labels in every class: 0.2, or pairwise:fraction=0.2.",
        rich_help_panel=_DATA,
    ),
]
Holdout = Annotated[
    float | None,
    typer.Option(help="Fraction of every class kept away as test set.", rich_help_panel=_DATA),
]
DataOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="Another option of the data, such as per_class=50 or seed=3; may be repeated.",
        rich_help_panel=_DATA,
    ),
]
Model = Annotated[
    str,
    typer.Option(
        help="mlp, cnn, resnet8, resnet18, frozen, or a class of yours: package.module:Class or file.py:Class.",
        rich_help_panel=_NETWORK,
    ),
]
ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="Option of the network, such as width=64; may be repeated.",
        rich_help_panel=_NETWORK,
    ),
]
FeatureDim = Annotated[
    int | None,
    typer.Option(help="Number of features; default 64 or wide enough.", rich_help_panel=_NETWORK),
]
Features = Annotated[str, typer.Option(help="Last features: linear or relu.", rich_help_panel=_NETWORK)]
Classifier = Annotated[
    str,
    typer.Option(
        metavar="KIND|FILE",
        help="trained, fixed at a frame of the encoding, or a file with a matrix (q, d) that stays.",
        rich_help_panel=_NETWORK,
    ),
]
Decay = Annotated[
    str,
    typer.Option(
        help="ufm: last layer and features; plain: all parameters, in the loss; decoupled: as AdamW.",
        rich_help_panel=_TRAINING,
    ),
]
Loss = Annotated[str, typer.Option(help="mse or cross_entropy.", rich_help_panel=_TRAINING)]
Optimizer = Annotated[
    str | None,
    typer.Option(
        help="adam (default), adamw (default under decoupled decay), sgd, or lbfgs: no minibatches.",
        rich_help_panel=_TRAINING,
    ),
]
Schedule = Annotated[
    str | None,
    typer.Option(help="one_cycle (default), cosine, step or constant.", rich_help_panel=_TRAINING),
]
LearningRate = Annotated[float | None, typer.Option(help="Peak of the schedule.", rich_help_panel=_TRAINING)]
Momentum = Annotated[float | None, typer.Option(help="Of sgd; default 0.9.", rich_help_panel=_TRAINING)]
BatchSize = Annotated[
    int | None, typer.Option(help="Samples in a step; default 64.", rich_help_panel=_TRAINING)
]
Epochs = Annotated[int | None, typer.Option(help="Passes over minibatches.", rich_help_panel=_TRAINING)]
Finish = Annotated[
    int | None,
    typer.Option(help="Most iterations of L-BFGS on the whole set afterwards.", rich_help_panel=_TRAINING),
]
Tolerance = Annotated[
    float | None,
    typer.Option(help="Stationarity at which training ends; default 1e-3.", rich_help_panel=_TRAINING),
]
Precision = Annotated[
    str | None,
    typer.Option(
        help="Of the minibatches: 32-true (default), bf16-mixed, or 16-mixed on a GPU.",
        rich_help_panel=_TRAINING,
    ),
]
Seed = Annotated[int, typer.Option(help="Decides initial values and order.", rich_help_panel=_TRAINING)]
Device = Annotated[str, typer.Option(help="auto, cpu, gpu, cuda or mps.", rich_help_panel=_TRAINING)]
HistoryEvery = Annotated[
    str | None,
    typer.Option(
        metavar="N|log|N,N,...",
        help="Passes between two rows of the history (default 10), or which.",
        rich_help_panel=_TRAINING,
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        help="File of the state: the same command goes on from it after an interruption.",
        rich_help_panel=_TRAINING,
    ),
]
