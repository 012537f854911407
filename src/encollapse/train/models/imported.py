"""Anybody's module, by the import path of its class."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from encollapse._internal import files
from encollapse.errors import ArgumentError, MissingDependencyError, TrainingError


def imported(path: str, arguments: Mapping[str, Any], argument: str = "model") -> nn.Module:
    """Make a module: import ``package.module:Class`` or ``file.py:Class`` and call it with `arguments`.

    Modules of the current directory are found too. What is called may be a function that returns a module.

    Parameters
    ----------
    path : str
        Import path.
    arguments : mapping
        Keyword arguments of the class.
    argument : str
        Name of the argument that the path came in, for errors.

    Raises
    ------
    ArgumentError
        If nothing can be imported from there, the call fails, or it makes something else.
    """
    where, _, name = path.partition(":")
    found: Any = _module(where, path, argument)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ArgumentError(f"{argument}: {where!r} has no {name!r}; check the import path {path!r}") from None
    if not callable(found):
        raise ArgumentError(f"{argument}: {path!r} is {found!r}; name a class or a function that makes a module")
    try:
        made = found(**arguments)
    except TypeError as error:
        given = ", ".join(arguments) or "no argument"
        raise ArgumentError(
            f"{argument}: {path!r} cannot be called with {given} ({error}); see model_options"
        ) from error
    if not isinstance(made, nn.Module):
        raise ArgumentError(f"{argument}: {path!r} made a {type(made).__name__}; expected a torch.nn.Module")
    return made


class Trunk(nn.Module):
    """A foreign module as a trunk: its activations are what a method returns, or its output.

    Parameters
    ----------
    module : nn.Module
        Any module.
    method : str, optional
        The method that returns the activations (N, width). Default: ``features`` where the module has a method of that
        name, otherwise the call itself.

    Raises
    ------
    ArgumentError
        If the module has no such method.
    """

    def __init__(self, module: nn.Module, method: str | None = None) -> None:
        super().__init__()
        self.module = module
        if method is None:
            method = "features" if _is_method(getattr(module, "features", None)) else "__call__"
        elif not _is_method(getattr(module, method, None)):
            raise ArgumentError(
                f"model_options.features_method: {type(module).__name__} has no method {method!r}; "
                "leave it out where the output of the module is meant"
            )
        self._method = method
        self.by_method = method != "__call__"

    def forward(self, inputs: Tensor) -> Tensor:
        """Activations (N, width).

        Raises
        ------
        TrainingError
            If the module gives another number of rows than it is given.
        """
        activations = self._call(inputs)
        if isinstance(activations, Tensor) and activations.ndim == 2 and len(activations) != len(inputs):
            raise TrainingError(
                f"model: {type(self.module).__name__} gave {len(activations)} rows for {len(inputs)} inputs; it must "
                "give one row of features for each input, however many there are"
            )
        return activations

    def _call(self, inputs: Tensor) -> Tensor:
        call: Callable[[Tensor], Tensor] = getattr(self.module, self._method)
        return call(inputs)

    @torch.no_grad()
    def width(self, inputs: Tensor) -> int:
        """Width of the activations of a few `inputs`.

        Raises
        ------
        ArgumentError
            If the module cannot take them, or gives anything but one row of float32 for each of them.
        """
        name = type(self.module).__name__
        training = self.training
        self.eval()
        try:
            activations = self._call(inputs)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ArgumentError(
                f"model: {name} cannot take inputs of shape {(None, *inputs.shape[1:])} ({reason}); "
                "reshape the data or adapt the module"
            ) from error
        finally:
            self.train(training)
        if not isinstance(activations, Tensor) or activations.ndim != 2 or len(activations) != len(inputs):
            got = tuple(activations.shape) if isinstance(activations, Tensor) else type(activations).__name__
            raise ArgumentError(
                f"model: {name} gave {got} for {len(inputs)} inputs, where features of shape (N, width) are needed; "
                "flatten or pool them in the module, or name the method that gives features in "
                "model_options.features_method"
            )
        if activations.dtype != torch.float32:
            kind = str(activations.dtype).removeprefix("torch.")
            raise ArgumentError(f"model: {name} gave features of type {kind}; make it one of float32, as with .float()")
        return activations.shape[1]


def _is_method(value: Any) -> bool:
    return callable(value) and not isinstance(value, nn.Module)


def _module(where: str, path: str, argument: str) -> ModuleType:
    try:
        if where.endswith(".py"):
            return _from_file(Path(where), path, argument)
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is not None and where != error.name and not where.startswith(f"{error.name}."):
            raise MissingDependencyError(
                f"{argument}: {path!r} needs {error.name}, which is not installed; install it"
            ) from error
        raise ArgumentError(
            f"{argument}: there is no module {where!r}; install its package, run from the folder it is in, or give "
            "the file itself as FILE.py:CLASS"
        ) from error


def _from_file(path: Path, given: str, argument: str) -> ModuleType:
    if not files.is_file(path):
        raise ArgumentError(f"{argument}: {given!r} names the file {path}, which is not there; check the path")
    name = f"_encollapse_imported_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ArgumentError(f"{argument}: {str(path)!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
