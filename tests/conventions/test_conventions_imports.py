"""Fresh interpreters: what importing encollapse must not bring along."""

import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "lightning_fabric",
    "sklearn",
    "matplotlib",
    "pandas",
    "rich",
    "typer",
    "pydantic",
    "jinja2",
)


@pytest.mark.parametrize(
    "statement",
    [
        "import encollapse",
        "import encollapse.ufm",
        "import encollapse as ec; ec.ufm.solve; ec.encodings.one_hot(3); ec.ClassGeometry; ec.compare",
    ],
)
def test_theory_imports_no_optional_dependency(statement: str) -> None:
    probe = f"{statement}; import sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_measurement_loads_no_framework_until_it_is_asked_for() -> None:
    frameworks = ("torchmetrics", "lightning", "pytorch_lightning", "transformers", "pyarrow", "distributed")
    probe = f"import encollapse.measure, sys; print([m for m in {frameworks!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_framework_that_is_not_there_is_named() -> None:
    probe = (
        "import sys; sys.modules['torchmetrics'] = sys.modules['transformers'] = None\n"
        "import encollapse.measure as measure\n"
        "for name in ('NeuralCollapse', 'CollapseTrainerCallback'):\n"
        "    try:\n        getattr(measure, name)\n    except ImportError as error:\n        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert "pip install torchmetrics" in first
    assert "pip install transformers" in second


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["predict", "--help"], ["train", "--help"]])
def test_command_line_help_does_not_load_torch(arguments: list[str]) -> None:
    probe = (
        "import sys; from encollapse.cli import main; sys.argv = ['encollapse', *" + repr(arguments) + "]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('loaded:', [m for m in ('torch', 'matplotlib', 'pandas', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "loaded: []" in done.stdout


def test_every_public_name_exists() -> None:
    import encollapse as ec

    for name in ec.__all__:
        assert getattr(ec, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ec.nonsense
