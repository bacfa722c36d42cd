"""The shape of the house: who may import whom, and docstrings that do not lie."""

import ast
import importlib
import inspect
import pathlib
import pkgutil
import subprocess
import sys

import pytest

import c3jax
from tests import support

LAYERS = {
    name: layer
    for layer, names in enumerate(
        (
            "core",
            "data protocol policy reward credit",
            "rollout",
            "setup",
            "collect",
            "learn",
            "train",
            "configs",
            "audit",
            "report",
            "compare",
            "modes",
            "main",
        )
    )
    for name in names.split()
}
PACKAGE = support.ROOT / "c3jax"
MODULES = [
    module.name for module in pkgutil.walk_packages(c3jax.__path__, prefix="c3jax.")
]


def imports(path: pathlib.Path) -> set[str]:
    """Packages of c3jax that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("c3jax.")}
    return found


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.glob("*/*.py")), ids=lambda p: f"{p.parent.name}/{p.stem}"
)
def test_a_module_imports_its_own_package_or_a_lower_layer(path):
    own = path.parent.name
    for other in imports(path) - {own}:
        assert LAYERS[other] < LAYERS[own], f"{own} must not import {other}"


def test_flags_are_read_and_defined_by_the_command_alone():
    for path in PACKAGE.rglob("*.py"):
        if path != PACKAGE / "main.py":
            text = path.read_text()
            assert "import flags" not in text and "config_flags" not in text, path
            assert "main" not in imports(path), path


def test_documented_arguments_are_those_of_the_signature():
    for name in MODULES:
        module = importlib.import_module(name)
        for _, thing in inspect.getmembers(module, inspect.isfunction):
            if thing.__module__ != name or "Args:" not in (thing.__doc__ or ""):
                continue
            section = inspect.getdoc(thing).split("Args:")[1].split("\n\n")[0]
            documented = {
                part.strip()
                for line in section.splitlines()
                if line.startswith("    ") and not line.startswith("     ")
                for part in line.split(":")[0].split(",")
                if ":" in line
            }
            parameters = set(inspect.signature(thing).parameters)
            assert documented <= parameters, (name, thing.__name__, documented)


def test_every_public_function_has_a_docstring():
    for name in MODULES:
        module = importlib.import_module(name)
        assert module.__doc__, name
        for label, thing in inspect.getmembers(module, inspect.isfunction):
            if thing.__module__ == name and not label.startswith("_"):
                assert thing.__doc__, f"{name}.{label}"


def test_importing_c3jax_is_quick_and_hands_out_credit():
    code = (
        "import time; t = time.perf_counter(); import c3jax\n"
        "print(c3jax.credit.loo_advantage([0.63, 0.80, 0.73]).round(3).tolist())\n"
        "import sys; assert 'transformers' not in sys.modules\n"
        "assert 'orbax.checkpoint' not in sys.modules\n"
        "assert 'ml_collections.config_flags' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=support.ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[-0.135, 0.12, 0.015]", done.stderr


@pytest.mark.parametrize("name", ["code", "compare", "math"])
def test_every_config_loads_with_every_argument_it_names_and_is_locked(name):
    page = importlib.import_module(f"c3jax.configs.{name}")
    # A comparison names teams where an experiment names policies.
    known = page.GRIDS if name == "compare" else page.POLICIES
    for arg in (None, *known):
        assert page.get_config(arg).is_locked
    with pytest.raises(ValueError, match="pick one of"):
        page.get_config("no such policy")


def test_no_module_uses_a_private_name_of_another_and_no_name_stands_twice():
    names = [path.name for path in PACKAGE.rglob("*.py") if path.stem != "__init__"]
    assert len({*names}) == len(names), sorted(names)
    for path in [*PACKAGE.rglob("*.py"), *(support.ROOT / "tests").rglob("*.py")]:
        tree, ours = ast.parse(path.read_text()), set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "")[:5] == "c3jax":
                ours |= {alias.asname or alias.name for alias in node.names}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                private = node.attr[0] == "_" and node.attr[:2] != "__"
                assert not (private and node.value.id in ours), (path, node.attr)
