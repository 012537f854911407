"""What a text names in the way of Python, in the words of the command that prints it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

_COMMAND: ContextVar[Any] = ContextVar("command", default=None)

_PHRASES = {
    "per_class() and nearest_pairs() list every class and pair": "--per-class lists every class and the closest pairs",
    "in per_class()": "with --per-class",
    "in nearest_pairs()": "with --per-class",
    "scale_target(like='unit_outputs')": "--like unit_outputs",
    "own setting, encoding.designed_for, does": "own setting does",
    "compare with ufm.solve": "compare with `encollapse predict`",
    "by ufm.solve and compare, or with diagnose": "by `encollapse predict`, or with `encollapse diagnose`",
}
"""What a text names for Python, and what does the same in the terminal."""

_ARGUMENT = re.compile(r"(?<![\w'\"=/.(-])([a-z]\w*)=('[^']*'|\.{3}|[^\s;()']*?)(?=[.,;:)]*(?:\s|$))")
"""A keyword with its value, or with none. One in quotes, in a path or in a call is no advice."""

_SHORTER = {"num_classes": "classes"}
"""Arguments that have another name in the terminal."""

_VALUES = {"math.inf": "inf", "np.inf": "inf"}


def listen_to(command: Any) -> None:
    """Remember the command at hand, whose options the texts that it prints name, or ``None``."""
    _COMMAND.set(command)


def in_words_of_the_command(text: str) -> str:
    """A sentence of the package with the options of the command at hand, as in ``-O code_dim=6``."""
    for python, words in _PHRASES.items():
        text = text.replace(python, words)
    options = _options()
    return _ARGUMENT.sub(lambda found: _as_option(found, options), text) if options else text


def advice(hint: str) -> str:
    """The same for a hint, in which the bare name of an argument is one to type, too."""
    names = "|".join(name for name in _options() if "_" in name)
    text = in_words_of_the_command(hint)
    if not names:
        return text
    return re.sub(rf"(?<![\w'\"=/.(-])({names})(?![\w=(])", lambda found: _options()[found[1]].opts[0], text)


def _options() -> Mapping[str, Any]:
    command = _COMMAND.get()
    options = {} if command is None else {p.name: p for p in command.params if p.param_type_name == "option"}
    return options | {python: options[name] for python, name in _SHORTER.items() if name in options}


def _as_option(found: re.Match[str], options: Mapping[str, Any]) -> str:
    name, value = found[1], found[2].strip("'")
    value = _VALUES.get(value, value)
    if name in options:
        flag: str = options[name].opts[0]
        others: list[str] = options[name].secondary_opts
        if getattr(options[name], "is_flag", False):
            return {"True": flag, "False": others[0] if others else f"no {flag}"}.get(value, found[0])
        return f"no {flag}" if value == "None" else f"{flag} {shlex.quote(value)}" if value else flag
    for through, names in (("option", _of_encodings), ("data_option", _of_data)):
        if through in options and name in names():
            return f"{options[through].opts[-1]} {shlex.quote(f'{name}={value}')}"
    return found[0]


def _of_encodings() -> set[str]:
    from encollapse.encodings.registry import ENCODINGS

    return {option for entry in ENCODINGS.values() for option in entry.options}


def _of_data() -> set[str]:
    from encollapse import data

    return {option for name in (*data.names(), "openml:NAME", "FILE.npz") for option in data.options_of(name)}
