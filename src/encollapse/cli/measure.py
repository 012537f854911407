"""``encollapse measure``: the collapse of features in files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from encollapse.cli.console import show
from encollapse.cli.options import EncodingOptions, Json, parse_encoding, read_array, require_page
from encollapse.errors import ArgumentError


def measure(
    features: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE|FOLDER|RUN",
            help="Features, one row a sample: .npy, .npz, .safetensors, .parquet, or a folder of them. "
            "Without them, the geometry of --weight alone. Or a folder that `encollapse train --out` wrote.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Labels, whole numbers from 0, in one file. Default: beside or inside each file."),
    ] = None,
    weight: Annotated[Path | None, typer.Option(help="Weight (q, d) of the last layer.")] = None,
    bias: Annotated[Path | None, typer.Option(help="Bias (q,) of the last layer.")] = None,
    weight_key: Annotated[str | None, typer.Option(help="Name of the weight in a file of several arrays.")] = None,
    bias_key: Annotated[str | None, typer.Option(help="Name of the bias in such a file.")] = None,
    encoding: Annotated[
        str | None, typer.Option("--encoding", "-e", help="Encoding it was trained toward: a name or a file.")
    ] = None,
    option: EncodingOptions = None,
    loss: Annotated[
        str, typer.Option(help="What it was trained with, mse or cross_entropy: it decides between codewords.")
    ] = "mse",
    classes: Annotated[int | None, typer.Option(help="Number of classes. Default: largest label + 1.")] = None,
    convention: Annotated[str, typer.Option(help="Averaging and scaling choices, by name.")] = "default",
    key: Annotated[str | None, typer.Option(help="Name of the features in a file that holds several arrays.")] = None,
    label_key: Annotated[str | None, typer.Option(help="Name of the labels in such a file.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that read, one thread each. 0 is this one alone.")] = 0,
    covariance: Annotated[
        bool | None,
        typer.Option(
            "--covariance/--no-covariance",
            help="Gather the covariance, which vci needs. Default: within 4 GiB, unless it takes far longer than NC1.",
        ),
    ] = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="Add every class and the closest pairs.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with figures to this .html file.")] = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|PATTERN", help="States of a training, measured one after the other. Needs --model."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="FILE.py:NAME", help="With --checkpoints: what makes the network.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="With --checkpoints: the training set, as for `encollapse train`.")
    ] = None,
    head: Annotated[str | None, typer.Option(help="With --checkpoints: name of the last layer.")] = None,
    batch_size: Annotated[int, typer.Option(help="With --checkpoints: samples that run through at a time.")] = 256,
    resume: Annotated[
        Path | None,
        typer.Option(help="With --checkpoints: folder of results, from which a run that was ended goes on."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="With --checkpoints: draw them into this .svg, .png or .pdf.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the collapse of features in files, and of the linear layer on top of them.

    Files are read in blocks, so a folder may be larger than memory. The labels of part-1.npy are in
    part-1.labels.npy, or in an array or column `labels` of the file itself, or all in one file.

    [bold]Examples[/bold]

    $ encollapse measure features.npy --labels labels.npy
    $ encollapse measure h.npz --labels y.npy --weight w.npy --bias b.npy -e one-hot --json
    $ encollapse measure --weight w.npy
    $ encollapse measure runs/digits
    $ encollapse measure shards/ --workers 4 --per-class --html collapse.html
    $ encollapse measure --checkpoints 'ckpt/*.pt' --model net.py:Net --data digits --resume results -o film.svg
    """
    for name, path, key_given in (("weight", weight, weight_key), ("bias", bias, bias_key)):
        if key_given is not None and path is None:
            raise ArgumentError(f"{name}_key: is the name of an array in a file; give the file too, by --{name}")
    if option and encoding is None:
        raise ArgumentError("option: is for an encoding, and none was given; add --encoding")
    alone = {"features": features, "labels": labels, "weight": weight, "bias": bias, "html": html}
    together = {"model": model, "data": data, "head": head, "resume": resume, "output": output}
    for name, value in (together if checkpoints is None else alone).items():
        if value is not None and checkpoints is None:
            raise ArgumentError(f"{name}: is for --checkpoints, and there are none; add --checkpoints FOLDER")
        if value is not None:
            raise ArgumentError(f"{name}: is not for --checkpoints, which measure a network; leave it out")
    if checkpoints is not None:
        if model is None or data is None:
            raise ArgumentError("checkpoints: need a network and data; add --model FILE.py:NAME and --data NAME")
        more = {"head": head, "loss": loss, "num_classes": classes, "convention": convention, "covariance": covariance}
        _film(checkpoints, model, data, batch_size, more, encoding, option, resume, output, as_json)
        return
    from contextlib import nullcontext

    import encollapse.measure
    from encollapse._internal import files
    from encollapse.cli.render.measurement import collapse_record, collapse_table, weight_table
    from encollapse.metrics import evaluate_weight

    if features is None:
        if weight is None:
            raise ArgumentError("features: give a file or a folder of features, or --weight alone for its own geometry")
        values, missing = evaluate_weight(read_array(weight, "weight", weight_key, "--weight-key"), convention)
        show(lambda: weight_table(values, missing), lambda: {**values, "missing": missing}, as_json)
        return
    if files.is_file(features / "run.json"):
        _of_run(features, {**alone, "encoding": encoding}, as_json)
        return
    require_page(html, "html")
    count = classes
    if encoding is not None and count is None:
        count = encollapse.measure.count_classes(features, labels, key=key, label_key=label_key)
    with encollapse.measure.process_pool(workers) if workers else nullcontext() as executor:
        result = encollapse.measure.measure_shards(
            features,
            labels,
            weight=None if weight is None else read_array(weight, "weight", weight_key, "--weight-key"),
            bias=None if bias is None else read_array(bias, "bias", bias_key, "--bias-key"),
            encoding=None if encoding is None else parse_encoding(encoding, option, count),
            loss=loss,
            num_classes=classes,
            convention=convention,
            covariance=covariance,
            executor=executor,
            key=key,
            label_key=label_key,
        )
    if html is not None:
        from encollapse.report import measurement_page

        measurement_page(result, html, title=f"Collapse of {features.name}")
        if not as_json:
            typer.echo(f"page: {html}", err=True)
    show(
        lambda: collapse_table(result, per_class=per_class),
        lambda: collapse_record(result, per_class=per_class),
        as_json,
    )


def _of_run(folder: Path, given: dict[str, Any], as_json: bool) -> None:
    """Show what a saved training was measured as. Its samples themselves are not stored."""
    import encollapse.train
    from encollapse.cli.render.measurement import collapse_record, collapse_table

    for name, value in given.items():
        if value is not None and name != "features":
            raise ArgumentError(f"{name}: is not for a saved training, whose measurement is stored; leave it out")
    result = encollapse.train.load(folder).collapse
    show(lambda: collapse_table(result), lambda: collapse_record(result, per_class=False), as_json)


def _film(
    checkpoints: str,
    model: str,
    data: str,
    batch_size: int,
    more: dict[str, Any],
    encoding: str | None,
    option: list[str] | None,
    resume: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    import encollapse.measure
    from encollapse._internal import files
    from encollapse.cli.networks import network_and_loader
    from encollapse.cli.render.measurement import film_table

    if output is not None:
        files.folder(files.with_suffix(output, "output", (".svg", ".png", ".pdf")).parent)
    network, loader, num_classes = network_and_loader(model, data, batch_size)
    codewords = None if encoding is None else parse_encoding(encoding, option, num_classes)
    film = encollapse.measure.measure_checkpoints(
        checkpoints, network, loader, resume=resume, encoding=codewords, **more
    )
    if output is not None:
        typer.echo(f"figure: {film.drawing().save_as(output)}", err=True)
    show(lambda: film_table(film), film.to_dict, as_json)
