"""The commands together, and how a call of them ends."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from inspect import cleandoc
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import encollapse
from encollapse.cli.console import complain, explain, narrow_list, narrow_text, plain_warnings
from encollapse.cli.design import design
from encollapse.cli.diagnose import diagnose
from encollapse.cli.encodings import encodings
from encollapse.cli.explore import explore
from encollapse.cli.measure import measure
from encollapse.cli.predict import predict
from encollapse.cli.report import report
from encollapse.cli.study import study
from encollapse.cli.train import train
from encollapse.cli.words import listen_to

_COLUMNS = shutil.get_terminal_size().columns
_BOXED = _COLUMNS >= 80
"""Whether the help has boxes: in a narrower terminal they would cut the names of options short."""

if not _BOXED:
    # Typer's own lists of options keep two columns at any width and cut words to fit.
    formatter: Any = TyperCommand.context_class.formatter_class
    formatter.write_dl = narrow_list
    formatter.write_text = narrow_text


class _FlagsAlone:
    """A command whose help shows a flag by its name alone, as a flag takes no value."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
        return params


class _Command(_FlagsAlone, TyperCommand):
    def invoke(self, ctx: Any) -> Any:
        """Run the command. What it prints from here on names its options."""
        listen_to(self)
        return super().invoke(ctx)

    def get_short_help_str(self, limit: int = 45) -> str:
        """The first sentence, whole: a list in a narrow terminal has room for it below the name."""
        del limit
        return " ".join((self.help or "").partition("\n\n")[0].split())


class _CommandGroup(_FlagsAlone, TyperGroup):
    pass


app = typer.Typer(
    name="encollapse",
    cls=_CommandGroup,
    help="The geometry that classifiers collapse to, and the class encoding that decides it.",
    epilog="Every command has --help with examples. --debug, anywhere, shows tracebacks.",
    rich_markup_mode="rich" if _BOXED else None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]} | ({} if _BOXED else {"terminal_width": _COLUMNS}),
)

_INTERRUPTED = 130  # 128 + SIGINT, as shells count

_GOES_ON = {
    "study": "finished trials are stored; the same command goes on from there",
    "train": "with --checkpoint FILE the state is kept, and the same command goes on from there",
}
"""What is left of a command that was interrupted, where anything is."""


@app.callback()
def _common(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    pass


def _plain(text: str) -> str:
    """The text of a help without markup, each example a paragraph."""
    return cleandoc(text).replace("[bold]", "").replace("[/bold]", ":").replace("\n$ ", "\n\n$ ")


def _flowing(text: str) -> str:
    """The text of a help with markup, whose sentences fill the lines of the terminal and not those of the source."""
    paragraphs = cleandoc(text).split("\n\n")
    return "\n\n".join(part if part.startswith("$ ") else part.replace("\n", " ") for part in paragraphs)


for _command in (encodings, predict, design, train, measure, diagnose, study, report, explore):
    app.command(cls=_Command, help=(_flowing if _BOXED else _plain)(_command.__doc__ or ""))(_command)


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    listen_to(None)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    if arguments[:1] == ["--version"]:
        typer.echo(f"encollapse {encollapse.__version__}")
        return 0
    try:
        with plain_warnings():
            code = app(arguments or ["--help"], prog_name="encollapse", standalone_mode=False)
            code = code if arguments else 2
    except typer.Exit as leave:
        code = leave.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = _INTERRUPTED
    except Exception as error:
        if debug:
            raise
        return explain(error)
    if code == _INTERRUPTED:
        complain("interrupted", _GOES_ON.get(next(iter(arguments), ""), ""))
    return int(code or 0)
