"""``encollapse explore``: the live explorer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def explore(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Folder of a study's results, finished or running.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. Default: a free one.")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    still: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Write a picture of the page and leave.")
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write one page that needs no server, its path computed, and leave."),
    ] = None,
    address: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Of --export: the address of the page, or what is behind its ?.")
    ] = "",
) -> None:
    """Open the explorer in a browser: turn the controls and see the frame turn. Ctrl-C stops it.

    It answers on the loopback address only, and nothing leaves the machine.

    [bold]Examples[/bold]

    $ encollapse explore
    $ encollapse explore runs/digits-transition --port 8080 --no-browser
    $ encollapse explore --still explorer.png
    $ encollapse explore --export frame.html --address 'classes=5&counts=longtail&imbalance=10'
    """
    from encollapse import explorer

    if address and export is None:
        raise typer.BadParameter("belongs to --export, which is not given", param_hint="--address")
    if export is not None and folder is not None:
        words = "not read by --export, whose page holds no study; settings of the page go to --address"
        raise typer.BadParameter(words, param_hint="DIR")
    if export is not None and still is not None:
        raise typer.BadParameter("give one of --still and --export", param_hint="--still")
    if export is not None:
        typer.echo(str(explorer.export(export, address)))
        return
    if still is not None:
        typer.echo(str(explorer.still(still, folder)))
        return
    explorer.explore(folder, port=port, open_browser=not no_browser)
