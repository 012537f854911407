"""The command line: each command parses, calls one function and renders what comes back."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import encollapse
from encollapse import _train_flags as flags
from encollapse._terminal import (
    complain,
    explain,
    parse_counts,
    parse_data,
    parse_encoding,
    parse_every,
    parse_matrix,
    parse_noise,
    parse_options,
    parse_pair,
    parse_rule,
    plain_warnings,
    show,
)
from encollapse.errors import ArgumentError

app = typer.Typer(
    name="encollapse",
    help="The geometry that classifiers collapse to, and the class encoding that decides it.",
    epilog="Every command has --help with examples. --debug, anywhere, shows tracebacks.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_INTERRUPTED = 130

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


@app.callback()
def _common(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    pass


@app.command()
def encodings(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME|FILE", help="Show this one; default: list them all.")
    ] = None,
    classes: Annotated[int, typer.Option(help="Number of classes of the one shown.")] = 10,
    option: EncodingOptions = None,
    as_json: Json = False,
) -> None:
    """List the encodings with an example of each, or show one: its angles, distances and Gram matrix.

    [bold]Examples[/bold]

    $ encollapse encodings
    $ encollapse encodings hadamard --classes 12
    $ encollapse encodings spherical --classes 24 -O code_dim=4 --json
    """
    from encollapse.present import console, encoding_card, records

    if name is None:
        show(console.encodings_table, records.encodings_record, as_json)
        return
    shown = parse_encoding(name, option, classes)
    show(lambda: encoding_card.encoding_table(shown), lambda: encoding_card.encoding_record(shown), as_json)


@app.command()
def predict(
    encoding: EncodingName,
    weight_decay: WeightDecay,
    feature_decay: FeatureDecay,
    bias_decay: BiasDecay = 0.0,
    classes: Annotated[int | None, typer.Option(help="Number of classes.")] = None,
    samples_per_class: Annotated[int | None, typer.Option(help="Samples of every class (balanced).")] = None,
    counts: Counts = None,
    option: EncodingOptions = None,
    feature_dim: Annotated[
        int | None, typer.Option(help="Dimension of the features; default wide enough.")
    ] = None,
    loss: Annotated[str, typer.Option(help="mse or cross_entropy.")] = "mse",
    depth: Annotated[int, typer.Option(help="Weight layers on top of the features.")] = 1,
    features: Annotated[str, typer.Option(help="linear, or relu: no entry below 0.")] = "linear",
    path: Annotated[
        bool, typer.Option("--path", help="Print the transition over λ_b from 0 to ∞ instead.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="With --path: draw it into this .svg, .png or .pdf, its data beside."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Predict the geometry that a last layer collapses to, exactly, with a certificate.

    [bold]Examples[/bold]

    $ encollapse predict -e one-hot --classes 10 --samples-per-class 100 --weight-decay 5e-3 --feature-decay 1e-5
    $ encollapse predict -e label-smoothing -O smoothing=0.2 --counts 100,50,20 --weight-decay 5e-3 --feature-decay 1e-5
    $ encollapse predict -e one-hot --classes 4 --samples-per-class 5 --weight-decay 5e-3 --feature-decay 2e-3 --path
    $ encollapse predict -e ordinal --counts 90,60,30 --weight-decay 5e-3 --feature-decay 2e-4 --path -o turn.svg
    $ encollapse predict -e one-hot --counts 500,500,20 --weight-decay 5e-4 --feature-decay 1e-5 --loss cross_entropy
    """
    from encollapse import ufm
    from encollapse.present import console, records

    sizes = parse_counts(counts)
    if (sizes is None) == (samples_per_class is None):
        raise ArgumentError("counts: give either --counts or --samples-per-class, and not both")
    if out is not None and not path:
        raise ArgumentError("out: a figure is drawn of the transition; add --path")
    problem = ufm.Problem(
        parse_encoding(encoding, option, classes if classes is not None or sizes is None else len(sizes)),
        samples_per_class if sizes is None else sizes,
        weight_decay=weight_decay,
        feature_decay=feature_decay,
        bias_decay=bias_decay,
        feature_dim=feature_dim,
        loss=loss,
        depth=depth,
        features=features,
    )
    if path:
        if out is not None:
            from encollapse.present import figures

            figures.path_figure(problem).save_as(out)
        line = ufm.bias_path(problem, console.transition_grid(problem.critical_bias_decay()))
        show(lambda: console.path_table(line), lambda: records.path_record(line), as_json)
        return
    solution = ufm.solve(problem, throw=False)
    show(lambda: console.solution_table(solution), lambda: records.solution_record(solution), as_json)
    if not solution.status.success:
        raise typer.Exit(1)


@app.command()
def design(
    target: Annotated[
        str,
        typer.Option(
            metavar="FILE|NAME",
            help="Gram matrix (K, K) as .npy, .npz or .safetensors, or simplex or orthogonal.",
        ),
    ],
    counts: Annotated[str, typer.Option(metavar="N,N,...", help="Samples of each class.")],
    weight_decay: WeightDecay,
    feature_decay: FeatureDecay,
    out: Annotated[Path, typer.Option("--out", "-o", help="File of the encoding: .json or .npz.")],
    bias_decay: BiasDecay = math.inf,
    code_dim: Annotated[int | None, typer.Option(help="Number of outputs; default one a class.")] = None,
    like: Annotated[
        str | None,
        typer.Option(
            help="Give the target a size: one_hot (default for frames), unit_codewords or unit_outputs."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the encoding whose last layer collapses to a geometry of your choice, whatever the class counts.

    [bold]Examples[/bold]

    $ encollapse design --target simplex --counts 100,100,4 --weight-decay 5e-3 --feature-decay 1e-4 -o code.json
    $ encollapse design --target gram.npy --counts 100,50,4 --weight-decay 5e-3 --feature-decay 1e-4 -o code.json
    """
    from encollapse import geometry, ufm
    from encollapse.present import console, records

    sizes, wanted = parse_counts(counts), parse_matrix(target)
    decays: dict[str, Any] = {"weight_decay": weight_decay, "feature_decay": feature_decay}
    if like is not None or isinstance(wanted, str):
        wanted = ufm.scale_target(wanted, sizes, like=like or "one_hot", **decays)
    encoding = ufm.design(wanted, sizes, bias_decay=bias_decay, code_dim=code_dim, **decays)
    solution = ufm.solve(ufm.Problem(encoding, sizes, bias_decay=bias_decay, **decays), throw=False)
    saved = str(encoding.save(out))
    aim = geometry.ClassGeometry(wanted, sizes)
    show(
        lambda: console.design_table(solution, aim, saved),
        lambda: records.design_record(solution, aim, saved),
        as_json,
    )
    if not solution.status.success:
        raise typer.Exit(1)


@app.command()
def train(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="digits, mnist5k, mnist, fashion-mnist, gaussian-mixture, openml:NAME, a file or a folder.",
        ),
    ],
    encoding: EncodingName,
    weight_decay: Annotated[
        float, typer.Option(help="λ_W; under plain and decoupled decay the λ of all parameters.")
    ],
    feature_decay: Annotated[
        float | None, typer.Option(help="λ_H, on the sum over all samples' features; for --decay ufm alone.")
    ] = None,
    bias_decay: BiasDecay = 0.0,
    option: EncodingOptions = None,
    counts: flags.Counts = None,
    imbalance: flags.Imbalance = None,
    label_noise: flags.LabelNoise = None,
    holdout: flags.Holdout = None,
    data_option: flags.DataOption = None,
    model: flags.Model = "mlp",
    model_option: flags.ModelOption = None,
    feature_dim: flags.FeatureDim = None,
    features: flags.Features = "linear",
    classifier: flags.Classifier = "trained",
    decay: flags.Decay = "ufm",
    loss: flags.Loss = "mse",
    optimizer: flags.Optimizer = None,
    schedule: flags.Schedule = None,
    learning_rate: flags.LearningRate = None,
    momentum: flags.Momentum = None,
    batch_size: flags.BatchSize = None,
    epochs: flags.Epochs = None,
    finish: flags.Finish = None,
    tolerance: flags.Tolerance = None,
    precision: flags.Precision = None,
    seed: flags.Seed = 0,
    device: flags.Device = "auto",
    history_every: flags.HistoryEvery = None,
    checkpoint: flags.Checkpoint = None,
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
    """
    import encollapse.train
    from encollapse import data
    from encollapse.present import console

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
        "optimizer": optimizer,
        "schedule": schedule,
        "learning_rate": learning_rate,
        "momentum": momentum,
        "batch_size": batch_size,
        "epochs": epochs,
        "finish": finish,
        "tolerance": tolerance,
        "precision": precision,
        "history_every": parse_every(history_every),
        "checkpoint": checkpoint,
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
        classifier=parse_matrix(classifier),
        seed=seed,
        device=device,
        **{name: value for name, value in given.items() if value is not None},
    )
    if out is not None:
        run.save(out)
    show(lambda: console.run_table(run), run.to_dict, as_json)


@app.command()
def measure(
    features: Annotated[
        Path,
        typer.Argument(
            help="Features, one row a sample: .npy, .npz, .safetensors, .parquet, or a folder of them."
        ),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(help="Labels, whole numbers from 0, in one file; default: beside or inside each file."),
    ] = None,
    weight: Annotated[Path | None, typer.Option(help="Weight (q, d) of the last layer.")] = None,
    bias: Annotated[Path | None, typer.Option(help="Bias (q,) of the last layer.")] = None,
    encoding: Annotated[
        str | None,
        typer.Option("--encoding", "-e", help="Encoding it was trained towards: a name or a file."),
    ] = None,
    option: EncodingOptions = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes; default largest label + 1.")] = None,
    convention: Annotated[str, typer.Option(help="Averaging and scaling choices, by name.")] = "default",
    key: Annotated[
        str | None, typer.Option(help="Name of the features in a file that holds several arrays.")
    ] = None,
    label_key: Annotated[str | None, typer.Option(help="Name of the labels in such a file.")] = None,
    workers: Annotated[
        int, typer.Option(help="Processes that read, one thread each; 0 is this one alone.")
    ] = 0,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Add every class and the closest pairs.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with figures to this .html file.")] = None,
    as_json: Json = False,
) -> None:
    """Measure the collapse of features in files, and of the linear layer on top of them.

    Files are read in blocks, so a folder may be larger than memory. The labels of part-1.npy are in
    part-1.labels.npy, or in an array or column `labels` of the file itself, or all in one file.

    [bold]Examples[/bold]

    $ encollapse measure features.npy --labels labels.npy
    $ encollapse measure h.npz --labels y.npy --weight w.npy --bias b.npy -e one-hot --json
    $ encollapse measure shards/ --workers 4 --per-class --html collapse.html
    """
    from contextlib import nullcontext

    import encollapse.measure as measuring
    from encollapse import present
    from encollapse.present import measured

    count = classes
    if encoding is not None and count is None:
        count = measuring.count_classes(features, labels, key=key, label_key=label_key)
    with measuring.process_pool(workers) if workers else nullcontext() as executor:
        result = measuring.measure_shards(
            features,
            labels,
            weight=None if weight is None else measuring.load_array(weight),
            bias=None if bias is None else measuring.load_array(bias),
            encoding=None if encoding is None else parse_encoding(encoding, option, count),
            num_classes=classes,
            convention=convention,
            executor=executor,
            key=key,
            label_key=label_key,
        )
    if html is not None:
        present.measurement_page(result, html, title=f"Collapse of {features.name}")
        if not as_json:
            typer.echo(f"page: {html}", err=True)
    show(
        lambda: measured.collapse_table(result, per_class=per_class),
        lambda: measured.collapse_record(result, per_class=per_class),
        as_json,
    )


@app.command()
def study(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME|FILE", help="A built-in study, or a .toml file.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the results; default runs/NAME.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Trials at a time, one thread each; default one a CPU.")
    ] = None,
    executor: Annotated[str, typer.Option(help="process, inline, dask or submitit.")] = "process",
    address: Annotated[
        str | None, typer.Option(help="Dask scheduler, such as tcp://host:8786; default: processes here.")
    ] = None,
    executor_option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Parameter of dask or submitit; may be repeated."),
    ] = None,
    retries: Annotated[int, typer.Option(help="How often a failed trial is tried again at once.")] = 0,
    rerun_failed: Annotated[
        bool, typer.Option("--rerun-failed", help="Run trials again that are stored as failed.")
    ] = False,
    max_seconds: Annotated[
        float | None, typer.Option(help="Time after which no trial is begun; the rest is for the next call.")
    ] = None,
    grace: Annotated[
        float | None,
        typer.Option(help="Seconds after that for trials that still run; default: till they end."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would run, what the theory predicts and how long it takes."),
    ] = False,
    source: Annotated[bool, typer.Option("--show", help="Print the study file and leave.")] = False,
    names: Annotated[bool, typer.Option("--list", help="List the built-in studies and leave.")] = False,
    as_json: Json = False,
) -> None:
    """Run a study: many networks, each compared with its prediction. Always resumes.

    What has finished is stored at once: after Ctrl-C, a crash or kill -9 the same command runs what is missing.

    [bold]Examples[/bold]

    $ encollapse study --list
    $ encollapse study digits-transition --out runs/digits-transition
    $ encollapse study --show digits-transition > mine.toml
    $ encollapse study mine.toml --dry-run
    $ encollapse study mine.toml --workers 8 --max-seconds 3600
    $ encollapse study mine.toml --executor dask --address tcp://node1:8786
    $ encollapse study mine.toml --executor submitit --executor-option slurm_partition=cpu
    """
    from encollapse import study as studies
    from encollapse.present import console, plans, records

    if names:
        known = [studies.load(known) for known in studies.names()]
        show(lambda: console.studies_table(known), lambda: records.studies_record(known), as_json)
        return
    if name is None:
        raise ArgumentError("NAME: missing; give a built-in study (see --list) or a .toml file")
    chosen = studies.load(name)
    if source:
        typer.echo(chosen.source, nl=False)
        return
    folder = Path("runs") / chosen.name if out is None else out
    if dry_run:
        planned = studies.plan(chosen, out=folder, workers=workers)
        show(lambda: plans.plan_table(planned), lambda: plans.plan_record(planned), as_json)
        if any(group.problem for group in planned.groups):
            raise typer.Exit(1)
        return
    results = studies.run(
        chosen,
        out=folder,
        workers=workers,
        executor=executor,
        executor_options=parse_options(executor_option, "executor-option")
        | ({} if address is None else {"address": address}),
        retries=retries,
        rerun_failed=rerun_failed,
        max_seconds=max_seconds,
        grace=grace,
    )
    show(lambda: console.results_table(results), lambda: records.results_record(results), as_json)
    if max_seconds is not None and results.missing:
        complain(
            f"the time is over with {len(results.missing)} trials not run",
            "the same command goes on from there",
            kind="note",
        )
    if results.failed:
        raise typer.Exit(1)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a study's results.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write to; default DIR/report, or DIR/export.")
    ] = None,
    export: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT", help="Write tables of all trials and histories instead: csv or parquet."
        ),
    ] = None,
    error_map: Annotated[
        str | None,
        typer.Option(
            "--map",
            metavar="ROWS,COLUMNS",
            help="Axes of the error map, such as encoding,bias_decay; default: those with most values.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the report of a study: one self-contained page, figures as PNG, SVG and interactive, their data as CSV.

    [bold]Examples[/bold]

    $ encollapse report runs/digits-transition
    $ encollapse report runs/digits-transition --export parquet
    $ encollapse report runs/digits-transition --map encoding,bias_decay --out for-the-paper
    """
    if export is not None:
        from encollapse import study as studies

        written = studies.open(folder).export(out or folder / "export", format=export)
        lines = [str(path) for path in written]
        show(lambda: "\n".join(lines), lambda: {"files": lines}, as_json)
        return
    from encollapse import present

    page = present.report(folder, out=out, grid=parse_pair(error_map, "--map"))
    show(lambda: str(page), lambda: {"page": str(page)}, as_json)


@app.command()
def explore(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Folder of a study's results, finished or running."),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; default a free one.")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    still: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Write a picture of the page and leave.")
    ] = None,
) -> None:
    """Open the explorer in a browser: turn the controls and see the frame turn. Ctrl-C stops it.

    It answers on the loopback address only, and nothing leaves the machine.

    [bold]Examples[/bold]

    $ encollapse explore
    $ encollapse explore runs/digits-transition --port 8080 --no-browser
    $ encollapse explore --still explorer.png
    """
    from encollapse.present import explorer

    if still is not None:
        typer.echo(str(explorer.still(still, folder)))
        return
    explorer.explore(folder, port=port, open_browser=not no_browser)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0 done, 1 failed, 2 bad usage, 130 interrupted."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    if arguments[:1] == ["--version"]:
        typer.echo(f"encollapse {encollapse.__version__}")
        return 0
    try:
        with plain_warnings():
            code = app(arguments, prog_name="encollapse", standalone_mode=False)
    except typer.Exit as leave:
        code = leave.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = _INTERRUPTED
    except Exception as error:
        if debug:
            raise
        return explain(error)
    if code == _INTERRUPTED:
        complain("interrupted", "finished trials of a study are stored; the same command goes on from there")
    return int(code or 0)


if __name__ == "__main__":
    main()
