"""``encollapse study``: many networks, always resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from encollapse.cli.console import complain, show
from encollapse.cli.options import Json, named, parse_options
from encollapse.errors import ArgumentError


def study(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME|FILE", help="A built-in study, or a .toml file.", autocompletion=named("study")),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the results. Default: runs/NAME.")] = None,
    workers: Annotated[int | None, typer.Option(help="Trials at a time, one thread each. Default: one a CPU.")] = None,
    executor: Annotated[str, typer.Option(help="process, inline, dask or submitit.")] = "process",
    address: Annotated[
        str | None, typer.Option(help="Dask scheduler, such as tcp://host:8786. Default: processes here.")
    ] = None,
    executor_option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Parameter of dask or submitit. May be repeated.")
    ] = None,
    retries: Annotated[int, typer.Option(help="How often a failed trial is tried again at once.")] = 0,
    rerun_failed: Annotated[
        bool, typer.Option("--rerun-failed", help="Run trials again that are stored as failed.")
    ] = False,
    max_seconds: Annotated[
        float | None, typer.Option(help="Time after which no trial is begun. The rest is for the next call.")
    ] = None,
    grace: Annotated[
        float | None, typer.Option(help="Seconds after that for trials that still run. Default: as long again.")
    ] = None,
    trial_seconds: Annotated[
        float | None, typer.Option(help="Limit of one trial. What takes longer is left for later. Default: the file's.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, what the theory predicts and how long it takes.")
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
    import encollapse.study
    from encollapse.cli.render import records, tables
    from encollapse.cli.render.plan import plan_record, plan_table

    if names:
        known = [encollapse.study.load(known) for known in encollapse.study.names()]
        show(lambda: tables.studies_table(known), lambda: records.studies_record(known), as_json)
        return
    if name is None:
        raise ArgumentError("NAME: missing; give a built-in study (see --list) or a .toml file")
    chosen = encollapse.study.load(name)
    if source:
        typer.echo(chosen.source, nl=False)
        return
    folder = Path("runs") / chosen.name if out is None else out
    if dry_run:
        planned = encollapse.study.plan(chosen, out=folder, workers=workers)
        show(lambda: plan_table(planned), lambda: plan_record(planned), as_json)
        if any(group.problem for group in planned.groups):
            raise typer.Exit(1)
        return
    results = encollapse.study.run(
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
        trial_seconds=trial_seconds,
    )
    show(lambda: tables.results_table(results), lambda: records.results_record(results), as_json)
    if max_seconds is not None and results.missing:
        complain(
            f"the time is over with {len(results.missing)} trials not run",
            "the same command goes on from there",
            kind="note",
        )
    if results.failed:
        raise typer.Exit(1)
