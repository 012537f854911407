"""``encollapse train``: a network, measured and compared with its prediction.

The options of the training are the fields of :class:`encollapse.train.Settings`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from encollapse.cli.console import show
from encollapse.cli.options import (
    EncodingName,
    EncodingOptions,
    Json,
    named,
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
from encollapse.train.settings import DEFAULTS, OPTIONS, SYNONYMS, TYPES

_data = partial(typer.Option, rich_help_panel="Data")

_READ: dict[str, Callable[[Any], Any]] = {
    "class_weights": parse_weights,
    "classifier": partial(parse_matrix, what="classifier"),
    "history_every": parse_every,
    "model_options": partial(parse_options, what="model-option"),
}
"""Readers of options that are texts here and more in Python."""

_PLAIN: dict[str, Any] = {"float": float, "int": int, "str": str, "bool": bool, "str | Path": Path, "Any": str}


def _option(name: str) -> inspect.Parameter:
    """An option of the training as an option of the command, which is None where it is not given."""
    about, default = OPTIONS[name], DEFAULTS[name]
    text, usual = about.help, " ".join(about.usual.split())
    if not about.metavar and not all(word in text for word in about.choices):
        text += f" One of {', '.join(about.choices)}."
    flags = [about.flag or "--" + name.replace("_", "-")]
    flags += ["--" + other.replace("_", "-") for other, meant in SYNONYMS.items() if meant == name]
    kind = _PLAIN.get(TYPES[name].removesuffix(" | None"), str)
    if name == "model_options":
        kind = list[str]
    elif default is True:
        text = f"Do not {text[0].lower()}{text[1:]}"
    elif default is not MISSING and default is not False:
        text += f" Default: {usual or default}."
    shown: dict[str, Any] = {"help": text, "rich_help_panel": about.group or None}
    if about.metavar:
        shown["metavar"] = about.metavar
    optional = kind if default is MISSING else kind | None
    annotation: Any = Annotated[optional, typer.Option(*flags, **shown)]
    given = inspect.Parameter.empty if default is MISSING else None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=given, annotation=annotation)


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Put the options of the training in the place of the command's ``**settings``."""
    signature = inspect.signature(command, eval_str=True)
    own = [p.replace(kind=p.KEYWORD_ONLY) for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    training = [_option(name) for name, about in OPTIONS.items() if about.flag != "-"]
    parameters = [*own[:2], *training[:3], *own[2:-2], *training[3:], *own[-2:]]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


@_with_options
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
            metavar="NAME=VALUE", help="Another option of the data, such as per_class=50 or seed=3. May be repeated."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the network and its record.")] = None,
    as_json: Json = False,
    **settings: Any,
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
    from encollapse.cli.render.tables import run_table

    given = {name: value for name, value in settings.items() if value is not None}
    for name in given.keys() & _READ.keys():
        given[name] = _READ[name](given[name])
    if "leave_saddles" in given:
        given["leave_saddles"] = not given["leave_saddles"]
    if given.get("keep_frames") and out is None:
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
    run = encollapse.train.fit(loaded, parse_encoding(encoding, option, loaded.num_classes), **given)
    if out is not None:
        run.save(out)
    show(lambda: run_table(run, out), run.to_dict, as_json)
