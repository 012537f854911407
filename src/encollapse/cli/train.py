"""``encollapse train``: a network, measured and compared with its prediction."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from encollapse.cli._manners import show
from encollapse.cli._options import BiasDecay, EncodingName, EncodingOptions, Json, named
from encollapse.cli._parsing import (
    parse_counts,
    parse_data,
    parse_encoding,
    parse_every,
    parse_matrix,
    parse_noise,
    parse_options,
    parse_rule,
    parse_weights,
)
from encollapse.errors import ArgumentError

_data = partial(typer.Option, rich_help_panel="Data")
_network = partial(typer.Option, rich_help_panel="Network")
_training = partial(typer.Option, rich_help_panel="Training")


def train(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="digits, mnist5k, mnist, fashion-mnist, gaussian-mixture, openml:NAME, a file or a folder.",
            autocompletion=named("data"),
        ),
    ],
    encoding: EncodingName,
    weight_decay: Annotated[float, typer.Option(help="λ_W; under plain and decoupled decay the λ of all parameters.")],
    feature_decay: Annotated[
        float | None, typer.Option(help="λ_H, on the sum over all samples' features; for --decay ufm alone.")
    ] = None,
    bias_decay: BiasDecay = 0.0,
    option: EncodingOptions = None,
    counts: Annotated[str | None, _data(metavar="N,N,...", help="Samples of each class.")] = None,
    imbalance: Annotated[
        str | None,
        _data(
            metavar="KIND:NAME=VALUE,...",
            help="Counts by a rule: step:majority=90,minority=9 or exponential:ratio=20 or geometric:first=90,last=9.",
        ),
    ] = None,
    label_noise: Annotated[
        str | None, _data(metavar="SHARE", help="Share of wrong labels in every class: 0.2, or pairwise:fraction=0.2.")
    ] = None,
    holdout: Annotated[float | None, _data(help="Fraction of every class kept away as test set.")] = None,
    data_option: Annotated[
        list[str] | None,
        _data(
            metavar="NAME=VALUE", help="Another option of the data, such as per_class=50 or seed=3; may be repeated."
        ),
    ] = None,
    model: Annotated[
        str,
        _network(
            help="mlp, cnn, resnet8, resnet18, frozen, or a class of yours: package.module:Class or file.py:Class."
        ),
    ] = "mlp",
    model_option: Annotated[
        list[str] | None,
        _network(metavar="NAME=VALUE", help="Option of the network, such as width=64; may be repeated."),
    ] = None,
    feature_dim: Annotated[int | None, _network(help="Number of features; default 64 or wide enough.")] = None,
    features: Annotated[str, _network(help="Last features: linear or relu.")] = "linear",
    classifier: Annotated[
        str,
        _network(
            metavar="KIND|FILE",
            help="trained, fixed at a frame of the encoding, or a file with a matrix (q, d) that stays.",
        ),
    ] = "trained",
    decay: Annotated[
        str, _training(help="ufm: last layer and features; plain: all parameters, in the loss; decoupled: as AdamW.")
    ] = "ufm",
    loss: Annotated[str, _training(help="mse or cross_entropy.")] = "mse",
    class_weights: Annotated[
        str | None, _training(metavar="balanced|X,X,...", help="Factors of the classes' losses; balanced: N/(K n_k).")
    ] = None,
    logit_adjustment: Annotated[
        float | None, _training(metavar="TAU", help="Add TAU log(class frequency) to the outputs inside cross_entropy.")
    ] = None,
    optimizer: Annotated[
        str | None,
        _training(help="adam (default), adamw (default under decoupled decay), sgd, or lbfgs: no minibatches."),
    ] = None,
    schedule: Annotated[str | None, _training(help="one_cycle (default), cosine, step or constant.")] = None,
    learning_rate: Annotated[float | None, _training(help="Peak of the schedule.")] = None,
    warm_up: Annotated[
        float | None, _training(metavar="SHARE", help="Share of the passes over which the learning rate rises first.")
    ] = None,
    momentum: Annotated[float | None, _training(help="Of sgd; default 0.9.")] = None,
    nesterov: Annotated[bool, _training("--nesterov", help="Nesterov's form of sgd's momentum.")] = False,
    batch_size: Annotated[int | None, _training(help="Samples in a step; default 64.")] = None,
    epochs: Annotated[int | None, _training(help="Passes over minibatches.")] = None,
    finish: Annotated[int | None, _training(help="Most iterations of L-BFGS on the whole set afterwards.")] = None,
    tolerance: Annotated[
        float | None,
        _training(
            help="Stationarity at which training ends; default 1e-3, for relu features and fixed classifiers 1e-5."
        ),
    ] = None,
    stay_at_saddles: Annotated[
        bool, _training("--stay-at-saddles", help="Do not step off a saddle at which L-BFGS waits.")
    ] = False,
    precision: Annotated[
        str | None, _training(help="Of the minibatches: 32-true (default), bf16-mixed, or 16-mixed on a GPU.")
    ] = None,
    seed: Annotated[int, _training(help="Decides initial values and order.")] = 0,
    device: Annotated[str, _training(help="auto, cpu, gpu, cuda or mps.")] = "auto",
    devices: Annotated[int, _training(help="How many of them train one network together, a process each.")] = 1,
    history_every: Annotated[
        str | None,
        _training(metavar="N|log|N,N,...", help="Passes between two rows of the history (default 10), or which."),
    ] = None,
    checkpoint: Annotated[
        Path | None, _training(help="File of the state: the same command goes on from it after an interruption.")
    ] = None,
    checkpoint_seconds: Annotated[float | None, _training(help="Seconds between two writes of it; default 60.")] = None,
    keep_checkpoint: Annotated[bool, _training("--keep-checkpoint", help="Leave the file at the end.")] = False,
    frames: Annotated[
        bool,
        _training(
            "--frames", help="Keep class means, weight and bias of every row of the history, in a file of --out."
        ),
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the network and its record.")] = None,
    as_json: Json = False,
) -> None:
    """Train a network on real data, measure its geometry and compare it with the prediction.

    [bold]Examples[/bold]

    $ encollapse train digits -e one-hot --weight-decay 5e-3 --feature-decay 1e-3 --bias-decay 0.1
    $ encollapse train mnist5k -e simplex --model cnn --weight-decay 5e-3 --feature-decay 3e-4 --out runs/simplex
    $ encollapse train digits -e label-smoothing -O smoothing=0.1 --loss cross_entropy --weight-decay 5e-3 \
--feature-decay 1e-4
    $ encollapse train digits -e one-hot --decay decoupled --optimizer sgd --weight-decay 1e-2 --holdout 0.2
    $ encollapse train digits -e one-hot --imbalance exponential:ratio=20 --weight-decay 5e-3 --feature-decay 1e-4
    $ encollapse train fashion-mnist -e one-hot --weight-decay 5e-3 --feature-decay 3e-5 --devices 2 \
--checkpoint state.safetensors
    """
    import encollapse.train
    from encollapse import data
    from encollapse._internal import files
    from encollapse.cli.render import tables as console

    if frames and out is None:
        raise ArgumentError("--frames: needs a folder to keep them in; add --out FOLDER")
    if out is not None:
        files.folder(out)
    chosen = {
        "counts": parse_counts(counts),
        "imbalance": parse_rule(imbalance, "imbalance"),
        "label_noise": parse_noise(label_noise),
        "holdout": holdout,
    }
    loaded = data.load(dataset, **parse_data(data_option, chosen))
    given: dict[str, Any] = {
        "feature_decay": feature_decay,
        "feature_dim": feature_dim,
        "class_weights": parse_weights(class_weights),
        "logit_adjustment": logit_adjustment,
        "optimizer": optimizer,
        "schedule": schedule,
        "learning_rate": learning_rate,
        "warm_up": warm_up,
        "momentum": momentum,
        "nesterov": nesterov,
        "batch_size": batch_size,
        "epochs": epochs,
        "finish": finish,
        "tolerance": tolerance,
        "leave_saddles": not stay_at_saddles,
        "precision": precision,
        "history_every": parse_every(history_every),
        "checkpoint": checkpoint,
        "checkpoint_seconds": checkpoint_seconds,
        "keep_checkpoint": keep_checkpoint,
        "keep_frames": frames,
    }
    run = encollapse.train.fit(
        loaded,
        parse_encoding(encoding, option, loaded.num_classes),
        weight_decay=weight_decay,
        bias_decay=bias_decay,
        decay=decay,
        loss=loss,
        model=model,
        model_options=parse_options(model_option, "model-option"),
        features=features,
        classifier=parse_matrix(classifier, "classifier"),
        seed=seed,
        device=device,
        devices=devices,
        **{name: value for name, value in given.items() if value is not None},
    )
    if out is not None:
        run.save(out)
    show(lambda: console.run_table(run), run.to_dict, as_json)
