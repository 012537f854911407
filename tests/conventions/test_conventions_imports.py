"""Fresh interpreters: what importing encollapse must not bring along."""

import pytest

import encollapse as ec
from reference.fresh_interpreter import fresh, loaded

DRAWING = ("matplotlib", "plotly", "jinja2")
LEARNING = ("torch", "lightning_fabric", "sklearn", "pandas", "pyarrow", "distributed")
COMMANDS = ("encodings", "predict", "design", "train", "measure", "study", "report", "explore")
PREDICT = "'predict', '-e', 'one-hot', '--counts', '5,3', '--weight-decay', '0.01', '--feature-decay', '0.01'"


def test_the_probe_sees_what_is_loaded() -> None:
    assert loaded("import json", "json", "torch") == ["json"]


@pytest.mark.parametrize(
    "code",
    [
        "import encollapse",
        "import encollapse.ufm",
        "import encollapse.metrics",
        "import encollapse as ec; ec.ufm.solve; ec.encodings.one_hot(3); ec.ClassGeometry; ec.compare",
        "import encollapse.report",
    ],
)
def test_theory_imports_no_optional_dependency(code: str) -> None:
    assert loaded(code, *LEARNING, *DRAWING, "rich", "typer", "pydantic") == []


def test_tables_of_the_terminal_load_nothing_that_draws() -> None:
    tables = ("tables", "encoding", "plan", "records")
    code = "import encollapse.cli.render." + ", encollapse.cli.render.".join(tables)
    assert loaded(code, *LEARNING, *DRAWING) == []


def test_measurement_loads_no_framework_until_it_is_asked_for() -> None:
    frameworks = ("torchmetrics", "lightning", "pytorch_lightning", "transformers", "pyarrow", "distributed")
    assert loaded("import encollapse.measure", *frameworks) == []


def test_measuring_loads_no_networks_of_a_framework_that_is_only_there() -> None:
    code = (
        "import torch, transformers, encollapse as ec\n"
        "batches = [(torch.eye(6, 4), torch.arange(6) % 3)]\n"
        "ec.measure.measure_model(torch.nn.Linear(4, 3), batches)"
    )
    assert loaded(code, "transformers", "transformers.modeling_utils") == ["transformers"]


def test_a_framework_that_is_not_there_is_named() -> None:
    first, second = fresh(
        "import sys; sys.modules['torchmetrics'] = sys.modules['transformers'] = None\n"
        "import encollapse.measure as measure\n"
        "for name in ('NeuralCollapse', 'CollapseTrainerCallback'):\n"
        "    try:\n        getattr(measure, name)\n    except ImportError as error:\n        print(error)\n"
    ).splitlines()
    assert "pip install torchmetrics" in first
    assert "pip install transformers" in second


@pytest.mark.parametrize(
    ("name", "missing"),
    [("train.fit", "torch"), ("study.load", "pydantic"), ("study.run", "safetensors"), ("report.report", "jinja2")],
)
def test_a_part_that_is_not_installed_names_what_brings_it(name: str, missing: str) -> None:
    (said,) = fresh(
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import encollapse as ec\n"
        f"try:\n    ec.{name}\nexcept ec.errors.MissingDependencyError as error:\n    print(error)\n"
    ).splitlines()
    assert said.startswith(f"encollapse.{name.partition('.')[0]} needs {missing}")
    assert "pip install 'encollapse[study]'" in said


@pytest.mark.parametrize(
    "arguments",
    ["'--help'", "'--version'", "'encodings'", PREDICT, f"{PREDICT}, '--path'"],
    ids=["help", "version", "encodings", "predict", "path"],
)
def test_a_command_loads_neither_torch_nor_what_draws(arguments: str) -> None:
    code = f"from encollapse import cli\nassert cli.run([{arguments}]) == 0"
    assert loaded(code, *LEARNING, *DRAWING) == []


def test_no_help_loads_torch_or_what_draws() -> None:
    code = f"from encollapse import cli\nfor c in {COMMANDS!r}:\n    assert cli.run([c, '--help']) == 0"
    assert loaded(code, *LEARNING, *DRAWING, "starlette", "uvicorn") == []


@pytest.mark.parametrize("module", ["encollapse", "encollapse.report"])
def test_every_public_name_exists(module: str) -> None:
    probe = f"import {module} as m\nfor name in m.__all__:\n    assert getattr(m, name) is not None\nprint('all')"
    assert fresh(probe).strip() == "all"


def test_parts_of_the_presentation_load_when_they_are_named() -> None:
    code = "import encollapse as ec\nec.report.style.house_style, ec.explorer.serving"
    assert loaded(code, "matplotlib", "torch") == ["matplotlib"]


def test_no_other_name_exists() -> None:
    for module in (ec, ec.report):
        with pytest.raises(AttributeError, match="nonsense"):
            module.nonsense  # noqa: B018


def test_a_function_is_not_hidden_by_a_module_of_its_name() -> None:
    probe = (
        "import encollapse as ec\n"
        "import encollapse.report.measurement_report, encollapse.report.study_report\n"
        "print(callable(ec.report.report), callable(ec.report.measurement_page))"
    )
    assert fresh(probe).split() == ["True", "True"]
