"""``encollapse encodings``: the catalog of encodings, or one of them."""

from __future__ import annotations

from typing import Annotated

import typer

from encollapse.cli.console import show
from encollapse.cli.options import EncodingOptions, Json, example_options, named, parse_encoding


def encodings(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME|FILE", help="The one to show. Without it all are listed.", autocompletion=named("encodings")
        ),
    ] = None,
    classes: Annotated[int, typer.Option(help="Number of classes of the one shown.")] = 10,
    option: EncodingOptions = None,
    as_json: Json = False,
) -> None:
    """List the encodings with an example of each, or show one: its angles, distances and Gram matrix.

    What one needs beyond the number of classes is taken from its example, unless it is given.

    [bold]Examples[/bold]

    $ encollapse encodings
    $ encollapse encodings hadamard --classes 12
    $ encollapse encodings spherical --classes 24 -O code_dim=4 --json
    """
    from encollapse.cli.render import records, tables
    from encollapse.cli.render.encoding import encoding_record, encoding_table

    if name is None:
        show(tables.encodings_table, records.encodings_record, as_json)
        return
    example = example_options(name, option, classes)
    shown = parse_encoding(name, [*(option or []), *example] or None, classes)
    show(lambda: encoding_table(shown, example), lambda: encoding_record(shown, example), as_json)
