"""``encollapse report``: the page of a study, or its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from encollapse.cli.console import show
from encollapse.cli.options import Json, parse_pair


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a study's results.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write to. Default: DIR/report, or DIR/export.")
    ] = None,
    export: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="Write tables of all trials and histories instead: csv or parquet."),
    ] = None,
    error_map: Annotated[
        str | None,
        typer.Option(
            "--map",
            metavar="ROWS,COLUMNS",
            help="Axes of the error map, such as encoding,bias_decay. Default: those with most values.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the report of a study: one self-contained page, figures as PNG, SVG, PDF and interactive, data as CSV.

    [bold]Examples[/bold]

    $ encollapse report runs/digits-transition
    $ encollapse report runs/digits-transition --export parquet
    $ encollapse report runs/digits-transition --map encoding,bias_decay --out for-the-paper
    """
    if export is not None:
        import encollapse.study

        written = encollapse.study.open(folder).export(out or folder / "export", format=export)
        lines = [str(path) for path in written]
        show(lambda: "\n".join(lines), lambda: {"files": lines}, as_json)
        return
    import encollapse.report

    page = encollapse.report.report(folder, out=out, grid=parse_pair(error_map, "--map"))
    show(lambda: str(page), lambda: {"page": str(page)}, as_json)
