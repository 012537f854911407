"""`Settings`: everything that decides a training besides its data and its encoding. Loads without PyTorch.

An option of the training stands here once: its default, its check, its help and its unit. The keywords of
:func:`encollapse.train.fit`, the options of ``encollapse train`` and the keys of study files follow from the fields.
"""

# ruff: noqa: RUF009 - fields that carry their option are made by a function

from __future__ import annotations

import inspect
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Required, TypedDict, TypeVar, Unpack

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike
from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.train import options, usual
from encollapse.train.models import catalog
from encollapse.train.options import (
    CLASS_WEIGHTS,
    CLASSIFIERS,
    DECAYS,
    DEVICES,
    FEATURES,
    LOSSES,
    OPTIMIZERS,
    PRECISIONS,
    SCHEDULES,
    Option,
    option,
)

SYNONYMS = {"lbfgs_iterations": "finish"}
"""Other names of options."""

F = TypeVar("F", bound=Callable[..., Any])


class Options(TypedDict, total=False):
    """Keywords of :func:`encollapse.train.fit` and :class:`Settings`, for editors and type checkers."""

    weight_decay: Required[float]
    feature_decay: float | None
    bias_decay: float
    decay: str
    loss: str
    class_weights: str | Sequence[float]
    logit_adjustment: float
    model: Any
    model_options: Mapping[str, Any] | None
    feature_dim: int | None
    features: str
    classifier: str | ArrayLike
    recipe: str | None
    optimizer: str | None
    learning_rate: float | None
    momentum: float
    nesterov: bool
    schedule: str
    warm_up: float
    epochs: int | None
    finish: int | None
    lbfgs_iterations: int | None
    batch_size: int
    tolerance: float | None
    leave_saddles: bool
    seed: int
    device: str
    devices: int
    precision: str
    history_every: int | str | Sequence[int]
    keep_frames: bool
    checkpoint: str | Path | None
    checkpoint_seconds: float
    keep_checkpoint: bool
    progress: bool


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Settings:
    """Checked options of a training, the keywords of :func:`encollapse.train.fit`.

    An option that is None takes the default that follows from the others, from the model and from the data.
    :meth:`completed` puts these in, so that the settings of a :class:`Run` have none left.

    Parameters
    ----------
    {options}

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If an option is unknown, cannot have its value, or excludes another. The text names it.

    Examples
    --------
    >>> settings = Settings(weight_decay=5e-3, recipe="sgd-cosine", momentum=0.8)
    >>> settings.optimizer, settings.momentum, settings.bias_decay
    ('sgd', 0.8, 0.005)
    """

    weight_decay: float = option(
        MISSING,
        options.positive,
        "λ_W, above 0. Under plain and decoupled decay the λ of all parameters but the head's bias.",
        group="",
    )
    feature_decay: float | None = option(
        None,
        options.positive,
        "λ_H, above 0, on the sum over all samples' features. For the decay ufm alone.",
        group="",
        usual="none, which the decay ufm refuses",
    )
    bias_decay: float = option(
        0.0,
        options.within(partial(checks.nonnegative, allow_infinity=True)),
        "λ_b, always a term of the loss. inf means that the head has no bias.",
        group="",
    )
    decay: str = option(
        "ufm",
        DECAYS,
        "What is priced: last layer and features (ufm), all parameters in the loss (plain), or as AdamW (decoupled).",
        more="""``"ufm"`` regularizes as the theory does. ``"plain"`` adds ``λ/2`` times the square of every parameter
        to the loss. ``"decoupled"`` shrinks every parameter by the factor ``1 - learning_rate · λ`` in every step,
        apart from the loss :cite:p:`loshchilov2019`. What the last two lead to depends on the layers before
        the head: see ``Run.prediction_kind``.""",
    )
    loss: str = option(
        "mse",
        LOSSES,
        "Loss between outputs and codewords.",
        more="Cross-entropy asks for codewords that are distributions.",
    )
    class_weights: Any = option(
        "none",
        options.class_weights,
        "Factors of the classes' losses: balanced, which is N/(K n_k), or one for each class.",
        more="Predicted under the decay ufm and with a last batch normalization.",
        choices=CLASS_WEIGHTS,
        metavar="RULE|X,X,...",
    )
    logit_adjustment: float = option(
        0.0,
        checks.nonnegative,
        "Add TAU log(class frequency) to the outputs inside cross_entropy, in training alone.",
        more="""The frequencies are those of the outputs, ``ē``, and 1 is usual :cite:p:`menon2021`. There is no
        prediction.""",
        metavar="TAU",
    )
    model: Any = option(
        "mlp",
        lambda value, name: value,
        "mlp, cnn, vgg, resnet8, resnet18, frozen, or a class of yours: package.module:Class or file.py:Class.",
        more="See :func:`encollapse.train.names`. A ``torch.nn.Module`` may be given itself. A copy is trained.",
        group="Network",
    )
    model_options: dict[str, Any] = option(
        None,
        checks.mapping,
        "Option of the network, such as width=64. May be repeated.",
        more="See :doc:`/models`.",
        usual="none",
        group="Network",
        flag="--model-option",
        metavar="NAME=VALUE",
    )
    feature_dim: int = option(
        None,
        options.count,
        "Number d of features.",
        usual="64, or the largest rank min(q, K) of a minimizer if above",
        group="Network",
    )
    features: str = option(
        "linear",
        FEATURES,
        "Features as they leave the last layer (or its tail), or their positive part.",
        group="Network",
    )
    classifier: Any = option(
        "trained",
        options.classifier,
        "trained, fixed at a frame of the encoding, or a file with a matrix (q, d) that stays.",
        more="""In Python the matrix itself. The bias is trained all the same. The frame has the left singular vectors
        and the singular values of the centered codewords, the largest scaled to 1: a simplex ETF for one-hot
        :cite:p:`zhu2021`.""",
        choices=CLASSIFIERS,
        group="Network",
        metavar="KIND|FILE",
    )
    recipe: str | None = option(
        None,
        tuple(usual.RECIPES),
        "A usual training, from which the other options depart where they are given.",
        more="""All have 200 epochs in batches of 128 and no second phase. But for adamw-cosine one decay is on every
        parameter, the head's bias included.""",
        usual="none",
    )
    optimizer: str = option(
        None,
        OPTIMIZERS,
        "Optimizer of the passes over minibatches. lbfgs makes no such passes.",
        usual="adam, and adamw under decoupled decay",
    )
    learning_rate: float = option(
        None,
        options.rate,
        "Peak of the schedule.",
        more="""For the decay ufm in units in which codewords have size one and both decays are equal, so that it
        need not be tuned to them.""",
        usual="""1e-2 for adam, times 64 over the features to the power of 1.25, or 128 over the width of an mlp where
        that is less, and 2e-1 for sgd. Under plain and decoupled decay 3e-3 and 3e-2""",
    )
    momentum: float = option(0.9, checks.share, "Momentum of sgd.", more="See :cite:p:`sutskever2013`.")
    nesterov: bool = option(False, checks.flag, "Nesterov's form of sgd's momentum.")
    schedule: str = option("one_cycle", SCHEDULES, "Learning rate along the epochs.", more="See :doc:`/training`.")
    warm_up: float = option(
        0.0, checks.share, "Share of the epochs over which the learning rate rises first.", metavar="SHARE"
    )
    epochs: int = option(
        None,
        options.passes,
        "Passes over minibatches, 0 for none.",
        unit="passes",
        usual="""20 for the mlp, and above 256 classes 64, or as many as make 16 steps for each class. 30 for other
        networks, and on a small set as many as make 50,000 samples, up to 100. 200 under decoupled decay""",
    )
    finish: int = option(
        None,
        options.passes,
        "Most iterations of L-BFGS on the whole set afterwards, 0 for none.",
        more="Also read as ``lbfgs_iterations``. An iteration costs about one pass.",
        unit="iterations",
        usual="""700 for the mlp, of which a few hundred are usually needed. 10 for other networks, whose passes are
        expensive, and on a small set as many as make 50,000 samples, up to 300. 0 under decoupled decay. With the
        optimizer lbfgs the default epochs are added""",
    )
    batch_size: int = option(64, options.count, "Samples in a step, over all devices. It may exceed what there is.")
    tolerance: float = option(
        None,
        checks.nonnegative,
        "Stationarity at which training ends.",
        more="""Both parts of :class:`Stationarity` are at or below it then. Relative errors of the class means' Gram
        matrix are about as large as the negative curvature, or as the root of the squared gradient.""",
        usual="""1e-3, and 1e-4 above 256 classes. 1e-5 for ReLU features, fixed classifiers and a last batch
        normalization under plain decay, where the squared gradient alone judges""",
    )
    leave_saddles: bool = option(
        True,
        checks.flag,
        "Leave a saddle point at which L-BFGS would stop.",
        more="""The step goes along its own negative curvature, which needs no prediction. Rare classes that have
        merged are such a saddle just below the threshold of minority collapse.""",
        flag="--stay-at-saddles",
    )
    seed: int = option(
        0,
        partial(checks.integer, minimum=0, maximum=2**63 - 1),  # PyTorch's generators take seeds below 2⁶⁴
        "Decides initial values and order.",
        more="""The same seed gives the same network on the same machine with one thread. The caller's random state is
        left alone.""",
    )
    device: str = option("auto", DEVICES, "Where to train.")
    devices: int = option(
        1,
        options.count,
        "How many of them train one network together, a process each.",
        more="""GPUs, or processes of a CPU. They share out the samples of every step, and the result is the same up
        to rounding. See :doc:`/training`.""",
    )
    precision: str = option(
        "32-true",
        PRECISIONS,
        "Precision of the minibatches. 16-mixed needs a GPU.",
        more="L-BFGS and every measurement run in float32 and, after the features, float64.",
    )
    history_every: Any = option(
        10,
        options.history_every,
        "Passes between two rows of the history, log for powers of √2, or after which passes to add one.",
        more="""The start and the end always have a row. With a number, training can end at these rows alone,
        otherwise every 10 passes.""",
        unit="passes",
        metavar="N|log|N,N,...",
    )
    keep_frames: bool = option(
        False,
        checks.flag,
        "Keep class means, weight, bias and a few samples of every row of the history, in a file of --out.",
        more="In Python they are ``Run.frames``.",
        flag="--frames",
    )
    checkpoint: Path | None = option(
        None,
        checks.path,
        "File of the state: the same command goes on from it after an interruption.",
        more="It goes on exactly as if it had not been interrupted. Deleted at the end, unless `keep_checkpoint`.",
        usual="none",
    )
    checkpoint_seconds: float = option(
        60.0, checks.nonnegative, "Seconds between two writes of it, which come after whole passes.", unit="seconds"
    )
    keep_checkpoint: bool = option(False, checks.flag, "Leave the file at the end, as of the last write.")
    progress: bool = option(
        True,
        checks.flag,
        "Show a bar if the training lasts over two seconds and standard error is a terminal.",
        flag="-",
    )

    def __init__(self, **given: Unpack[Options]) -> None:
        values = DEFAULTS | _with_recipe(_without_synonyms(given))
        for name, about in OPTIONS.items():
            if values[name] is MISSING:
                raise ArgumentError(f"{name}: missing; {about.help}")
            left_open = values[name] is None and DEFAULTS[name] is None
            object.__setattr__(self, name, None if left_open else about.check(values[name], name))
        self._check_decay()
        self._check_network()
        self._check_optimizer()

    def _check_decay(self) -> None:
        if self.decay == "ufm":
            if self.feature_decay is None:
                raise ArgumentError("feature_decay: missing; decay='ufm' regularizes the features explicitly")
        elif self.feature_decay is not None:
            raise ArgumentError(
                f"feature_decay: decay={self.decay!r} regularizes parameters and no features, "
                f"got {self.feature_decay!r}; leave it out, or use decay='ufm'"
            )
        if self.logit_adjustment > 0 and self.loss != "cross_entropy":
            raise ArgumentError(
                f"logit_adjustment: adds to logits, and loss={self.loss!r} has none, got {self.logit_adjustment}; "
                "use loss='cross_entropy', or 0"
            )

    def _check_network(self) -> None:
        if isinstance(self.classifier, str) or self.feature_dim is None:
            return
        if self.classifier.shape[1] != self.feature_dim:
            raise ArgumentError(
                f"classifier: has {self.classifier.shape[1]} columns for feature_dim={self.feature_dim}; "
                "give a matrix (q, d), or one of " + ", ".join(map(repr, CLASSIFIERS))
            )

    def _check_optimizer(self) -> None:
        if self.nesterov and not (self.optimizer == "sgd" and self.momentum > 0):
            raise ArgumentError("nesterov: needs optimizer='sgd' and a momentum above 0; leave it out")
        if self.optimizer == "lbfgs" and self.epochs:
            raise ArgumentError(
                f"epochs: optimizer='lbfgs' makes no passes over minibatches, got {self.epochs}; give finish instead"
            )
        if self.decay != "decoupled" and self.optimizer == "adamw":
            raise ArgumentError(
                f"optimizer: 'adamw' is Adam with decoupled decay, and decay={self.decay!r} is in the loss; "
                "use decay='decoupled' or optimizer='adam'"
            )
        if self.decay == "decoupled" and self.optimizer in ("adam", "lbfgs"):
            raise ArgumentError(
                f"optimizer: decay='decoupled' is a step of its own, which {self.optimizer!r} does not take; "
                "use 'adamw' or 'sgd', or decay='plain'"
            )
        if self.decay == "decoupled" and self.finish:
            raise ArgumentError(
                f"finish: L-BFGS minimizes a loss, and decoupled decay belongs to none, got {self.finish}; "
                "give finish=0, or decay='plain'"
            )

    def completed(self, *, num_samples: int, code_dim: int, num_classes: int) -> Settings:
        """The same with the defaults that depend on the model, on the data and on the encoding.

        Parameters
        ----------
        num_samples, code_dim, num_classes : int
            Numbers of training samples, of entries of a codeword, and of classes.

        Raises
        ------
        ArgumentError, ArgumentTypeError
            If the model is unknown or an option of it cannot be used.

        Examples
        --------
        >>> Settings(weight_decay=5e-3, decay="plain").completed(num_samples=290, code_dim=10, num_classes=10).epochs
        20
        """
        rank = min(code_dim, num_classes)
        epochs, finish = catalog.lengths(self.model, num_samples, rank=rank, batch_size=self.batch_size)
        decoupled = self.decay == "decoupled"
        optimizer = self.optimizer or ("adamw" if decoupled else "adam")
        if decoupled:
            epochs, finish = usual.DECOUPLED_EPOCHS, 0
        if optimizer == "lbfgs":  # it has the whole time
            epochs, finish = 0, finish + epochs
        model_options = catalog.check_options(self.model, self.model_options, rank=rank)
        feature_dim = self.feature_dim or max(usual.FEATURES, rank)
        features = "relu" if model_options.get("tail") == "batch-norm-relu" else self.features
        normalized = self.decay == "plain" and model_options.get("tail") == "batch-norm"
        squared = features == "relu" or self.fixed_classifier or normalized
        width = model_options["width"] if self.model in catalog.DENSE else catalog.WIDTH
        defaults = {
            "feature_dim": feature_dim,
            "epochs": epochs,
            "finish": finish,
            "learning_rate": usual.learning_rate(optimizer, self.decay, feature_dim=feature_dim, width=width),
            "optimizer": optimizer,
            "tolerance": usual.tolerance(rank, squared=squared),
        }
        chosen: dict[str, Any] = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return replace(self, **chosen, model_options=model_options, features=features)

    @property
    def has_bias(self) -> bool:
        """Whether the head has a bias: not where the bias decay is infinite."""
        return not math.isinf(self.bias_decay)

    @property
    def fixed_classifier(self) -> bool:
        """Whether the head's weight is given and not trained."""
        return not (isinstance(self.classifier, str) and self.classifier == "trained")

    @property
    def reweighted(self) -> bool:
        """Whether the loss treats classes differently, which no theory here is about."""
        return self.class_weights != "none" or self.logit_adjustment > 0

    def __repr__(self) -> str:
        told = {name: getattr(self, name) for name in OPTIONS}
        given = (f"{name}={value!r}" for name, value in told.items() if not _same(value, DEFAULTS[name]))
        return f"Settings({', '.join(given)})"

    @property
    def model_name(self) -> str:
        """The network by its name, or by that of its class."""
        return self.model if isinstance(self.model, str) else type(self.model).__name__

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON, where an infinite bias decay is the string ``"inf"``."""
        values = {name: getattr(self, name) for name in OPTIONS}
        values |= {"bias_decay": self.bias_decay if self.has_bias else "inf"}
        values |= {"model": self.model_name}
        values |= {"classifier": self.classifier if isinstance(self.classifier, str) else "given"}
        values |= {"checkpoint": None if self.checkpoint is None else str(self.checkpoint)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


OPTIONS: dict[str, Option] = {field.name: field.metadata["option"] for field in fields(Settings)}
"""Every option by name."""

DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Settings)}
"""The default of every option, or None where it depends on others."""

TYPES: dict[str, str] = {
    name: reference.__forward_arg__.removeprefix("Required[").removesuffix("]" if "Required" in repr(reference) else "")
    for name, reference in inspect.get_annotations(Options).items()
}
"""What may be given for each keyword, as text."""


def decay_of(given: Mapping[str, Any]) -> str:
    """What some options of a training regularize: one of :data:`DECAYS`, the recipe's if they do not say."""
    return str(given.get("decay", usual.RECIPES.get(given.get("recipe") or "", DEFAULTS)["decay"]))


def _same(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, float | int | str | bool) and value == default)


def _without_synonyms(given: Mapping[str, Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for name, value in given.items():
        meant = SYNONYMS.get(name, name)
        if meant not in OPTIONS:
            hint = checks.did_you_mean(name, [*OPTIONS, *SYNONYMS]) or "see encollapse.train.Settings"
            raise ArgumentTypeError(f"{name}: the training has no such option; {hint}")
        if meant in named:
            raise ArgumentError(f"{name}: is another name of {meant}, which is given too; leave one out")
        named[meant] = value
    return named


def _with_recipe(given: dict[str, Any]) -> dict[str, Any]:
    recipe = given.get("recipe")
    if recipe is None:
        return given
    values = usual.RECIPES[checks.choice(recipe, "recipe", tuple(usual.RECIPES))]
    return {name: given.get(value, value) if value in OPTIONS else value for name, value in values.items()} | given


def _description() -> str:
    """The options as a section of a docstring, indented as that of a function or a class."""
    lines: list[str] = []
    for name, about in OPTIONS.items():
        kind = "{" + ", ".join(map(repr, about.choices)) + "}" if about.choices else TYPES[name]
        default = DEFAULTS[name]
        told = about.usual or ("" if default is MISSING else repr(default))
        text = " ".join(f"{about.help} {about.more}".split())
        text += f" In {about.unit}." if about.unit else ""
        text += f" Default: {' '.join(told.split())}." if told else ""
        lines += [f"{name} : {kind}", *textwrap.wrap(text, 110, initial_indent="    ", subsequent_indent="    ")]
    return textwrap.indent("\n".join(lines), "    ").lstrip()


def described(function: F) -> F:
    """Put the options into the docstring of a function or class, and, for a function, into its signature."""
    if function.__doc__:
        function.__doc__ = function.__doc__.replace("{options}", _description())
    if not isinstance(function, type):
        known = inspect.signature(function)
        parameters = [p for p in known.parameters.values() if p.kind is not p.VAR_KEYWORD]
        for name, default in DEFAULTS.items():
            default = inspect.Parameter.empty if default is MISSING else default
            parameters.append(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=TYPES[name])
            )
        signature = known.replace(parameters=parameters)
        function.__signature__ = signature  # type: ignore[attr-defined]
    return function


described(Settings)
