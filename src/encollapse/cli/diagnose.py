"""``encollapse diagnose``: which law holds for the training of a network, and how far the network is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from encollapse.cli.console import show
from encollapse.cli.options import EncodingOptions, Json, parse_encoding, require_page
from encollapse.errors import ArgumentError

if TYPE_CHECKING:
    from encollapse.diagnosis import Diagnosis

_OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "adagrad": "Adagrad"}


def diagnose(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="A folder that `encollapse train --out` wrote. It needs nothing else."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="FILE.py:NAME", help="What makes the network: a class or a function.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="The training set: a name or path, as for `encollapse train`.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="State dict of the network (.pt or .safetensors).")] = None,
    optimizer: Annotated[str, typer.Option(help=f"What trained it: {', '.join(_OPTIMIZERS)}.")] = "sgd",
    learning_rate: Annotated[float, typer.Option(help="Mean learning rate, for the decay time.")] = 0.1,
    momentum: Annotated[float, typer.Option(help="Momentum of sgd.")] = 0.9,
    weight_decay: Annotated[float, typer.Option(help="Weight decay on every parameter.")] = 5e-4,
    loss: Annotated[
        str,
        typer.Option(
            help="cross-entropy or mse, as torch's modules have them: means over the samples, mse over the outputs too."
        ),
    ] = "cross-entropy",
    label_smoothing: Annotated[float, typer.Option(help="Smoothing of the cross-entropy.")] = 0.0,
    steps: Annotated[int | None, typer.Option(help="Steps that the optimizer has taken.")] = None,
    head: Annotated[str | None, typer.Option(help="Name of the last layer in the network.")] = None,
    encoding: Annotated[
        str | None, typer.Option("--encoding", "-e", help="Codewords of the classes: a name or a file.")
    ] = None,
    option: EncodingOptions = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Batch size of the training, for the premise about batches. Default: equal ones near 256."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write a page to this .html file.")] = None,
    as_json: Json = False,
) -> None:
    """Say which law the training of a network follows, what it predicts, and how far the network is.

    The network runs over the training set. The state dict is loaded with weights_only, so no code in it runs.

    [bold]Examples[/bold]

    $ encollapse diagnose runs/digits
    $ encollapse diagnose --model net.py:Net --weights ckpt.pt --data digits --weight-decay 5e-4
    $ encollapse diagnose --model net.py:Net --weights ckpt.pt --data images/ --optimizer adam --json
    $ encollapse diagnose --model net.py:Net --weights ckpt.pt --data digits --steps 1500 -o page.html
    """
    if run is not None:
        if model is not None or data is not None:
            raise ArgumentError("run: a saved training has its network and data; leave --model and --data out")
        _show(diagnosis_of(run), output, as_json)
        return
    if model is None or data is None:
        raise ArgumentError("model: give the network and its data, --model FILE.py:NAME --data NAME, or the folder RUN")
    import torch

    import encollapse
    from encollapse._internal import checks
    from encollapse.cli.networks import network_and_loader
    from encollapse.measure.checkpoint_files import load_state

    if option and encoding is None:
        raise ArgumentError("option: is for an encoding, and none was given; add --encoding")
    if optimizer not in _OPTIMIZERS:
        raise ArgumentError(f"optimizer: expected one of {', '.join(_OPTIMIZERS)}, got {optimizer!r}")
    kind = loss.replace("_", "-")
    if kind not in ("cross-entropy", "mse"):
        raise ArgumentError(f"loss: expected cross-entropy or mse, got {loss!r}")
    if kind == "mse" and label_smoothing:
        raise ArgumentError("label_smoothing: is for cross-entropy; for mse give --encoding label-smoothing")
    settings: dict[str, Any] = {
        "lr": checks.positive(learning_rate, "learning_rate"),
        "weight_decay": checks.nonnegative(weight_decay, "weight_decay"),
    }
    if optimizer == "sgd":
        settings["momentum"] = checks.share(momentum, "momentum")
    require_page(output, "output")
    network, loader, num_classes = network_and_loader(model, data, batch_size)
    if weights is not None:
        load_state(network, weights, "weights")
    module: Any = torch.nn.MSELoss() if kind == "mse" else torch.nn.CrossEntropyLoss(label_smoothing=label_smoothing)
    found = encollapse.diagnose(
        network,
        loader,
        getattr(torch.optim, _OPTIMIZERS[optimizer])(network.parameters(), **settings),
        loss=module,
        head=head,
        encoding=None if encoding is None else parse_encoding(encoding, option, num_classes),
        steps=steps,
    )
    _show(found, output, as_json)


_LAWS = {"batch-norm": "batch_norm", "batch-norm-relu": "batch_norm", "linear": "linear_tail"}
_LAWS |= {"layer-norm": "sample_norm", "rms-norm": "sample_norm"}
"""Laws by the tail of a network of ours."""


def diagnosis_of(folder: Path) -> Diagnosis:
    """The diagnosis of a saved training: its law is that which its own record was compared by."""
    import encollapse.train
    from encollapse.diagnosis import Diagnosis
    from encollapse.report.facts import DECAYS

    run = encollapse.train.load(folder)
    settings, law = run.settings, "none"
    if run.prediction_kind in ("minimum", "given activations"):
        tail = (settings.model_options or {}).get("tail", "none")
        law = "explicit_feature_decay" if settings.decay == "ufm" else _LAWS.get(tail, "none")
    return Diagnosis(
        law=law,
        reason=run.prediction_note,
        conditions=(),
        problem=run.theory.problem,
        prediction=run.prediction,
        collapse=run.collapse,
        comparison=run.comparison,
        excess=run.excess,
        decay_time=None,
        head=f"head of {settings.model_name}",
        loss=settings.loss,
        decays=DECAYS[settings.decay],
        missing=dict(run.missing),
    )


def _show(found: Diagnosis, output: Path | None, as_json: bool) -> None:
    require_page(output, "output")
    if output is not None:
        found.to_html(output)
        typer.echo(f"page: {output}", err=True)
    show(lambda: _text(found.text(max(40, shutil.get_terminal_size().columns))), found.to_dict, as_json)


def _text(words: str) -> Any:
    from rich.text import Text

    return Text(words)
