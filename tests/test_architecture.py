"""The shape of the package: which module may import which, and what importing it costs."""

from __future__ import annotations

import ast
import graphlib
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import autottt

PACKAGE = Path(autottt.__file__).parent
TESTS = Path(__file__).parent
HEAVY = ("torch", "transformers", "peft", "langgraph", "sklearn")

BASE = {"types", "errors"}
# part of the package -> the parts that it may import, besides itself
ALLOWED = {
    "errors": set[str](),
    "types": {"errors"},
    "serialise": BASE,
    "adapters": BASE,
    "strategies": BASE | {"adapters"},
    "controller": BASE | {"serialise", "adapters", "strategies"},
    "solver": BASE | {"serialise", "adapters", "strategies", "controller"},
    "server": BASE | {"serialise", "adapters", "strategies", "controller", "solver"},
    "plugins": BASE | {"serialise", "adapters", "strategies", "controller", "solver", "server"},
    "evaluation": BASE
    | {"adapters", "strategies", "controller", "solver", "pretraining", "server"}
    | {"record", "runner"},
    "pretraining": BASE | {"adapters"},
    "record": BASE,
    "runner": BASE | {"serialise", "adapters", "strategies", "controller", "solver", "record"},
    "cli": BASE
    | {"serialise", "adapters", "strategies", "controller", "solver", "evaluation", "pretraining"}
    | {"record", "runner", "server"},
    "__main__": {"cli"},
}


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _part(module: str) -> str:
    """The layer of a module: `autottt.adapters.tasks.grid` -> `adapters`; the root is ''."""
    return [*module.split("."), ""][1]


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _import_nodes(node: ast.AST, *, at_import: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements below `node`: all, or only those that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if not (at_import and (deferred or _is_type_checking(child))):
            yield from _import_nodes(child, at_import=at_import)


def _source(module: str, node: ast.ImportFrom) -> str:
    """The full name of what `node` imports from, relative or not."""
    if not node.level:
        return str(node.module)
    drop = node.level - (MODULES[module].name == "__init__.py")
    parts = module.split(".")
    return ".".join([*parts[: len(parts) - drop], *filter(None, [node.module])])


def _imported(module: str, *, at_import: bool = False) -> set[str]:
    """The modules of the package that `module` imports, by their full names."""
    found = set()
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for node in _import_nodes(tree, at_import=at_import):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            source = _source(module, node)
            full = {f"{source}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else source for name in full}
    return {name for name in found if name.split(".")[0] == "autottt"}


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"autottt"}))
def test_imports_point_one_way(module: str) -> None:
    """A module imports from the layers below it, from its own, and never from the package root."""
    part = _part(module)
    assert part in ALLOWED, f"{part!r} has no place among the layers"
    for target in _imported(module):
        assert target != "autottt", f"{module} imports from the package root"
        assert _part(target) in ALLOWED[part] | {part}, f"{module} imports {target}"


def test_no_import_cycle() -> None:
    """No module needs itself, directly or by others, in order to be imported."""
    graph = {module: _imported(module, at_import=True) for module in MODULES}
    tuple(graphlib.TopologicalSorter(graph).static_order())


def test_importing_the_package_is_light() -> None:
    """`import autottt` and its task types load none of the heavy libraries."""
    code = (
        "import sys, autottt; autottt.Task; autottt.load_tasks; "
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_sorted() -> None:
    """`__all__` is sorted, without repetition, and what `dir` shows."""
    assert autottt.__all__ == sorted(set(autottt.__all__))
    assert dir(autottt) == autottt.__all__


@pytest.mark.parametrize("name", autottt.__all__)
def test_a_public_name_comes_from_the_module_that_defines_it(name: str) -> None:
    """Every public name resolves to the object of its defining module."""
    value = getattr(autottt, name)
    assert value.__name__ == name
    assert getattr(importlib.import_module(value.__module__), name) is value


@pytest.mark.parametrize("path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: path.stem)
def test_every_test_says_what_it_proves(path: Path) -> None:
    """Every test has a docstring."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            assert ast.get_docstring(node), f"{node.name} in {path.name} has no docstring"


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    """A name that is not public raises `AttributeError` with the name."""
    with pytest.raises(AttributeError, match="nonsense"):
        autottt.nonsense  # noqa: B018
