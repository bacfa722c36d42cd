"""What tests leave open: the names that must be the program's."""

import ast
import builtins
import contextlib
import json
import symtable
import sys
from typing import NamedTuple

_KNOWN = {*dir(builtins), "__name__", "__file__", "__doc__"}
# Packages beside the standard library that tests may import.
_PACKAGES = ("numpy",)
# Packages that are themselves in a test, never the program under another name.
_TOOLS = ("pytest", "hypothesis", "scipy", "pandas", "sympy", "torch", "sklearn")


class Found(NamedTuple):
    """Tests that were read.

    Attributes:
        tree: their syntax tree.
        names: the program's, in the order of their scopes.
        modules: of the standard library, which they use without an import.
    """

    tree: ast.Module
    names: list[str]
    modules: list[str]


def find(source: str, entry_point: str = "") -> Found:
    """Names that tests use and neither define nor find among builtins.

    They are the program's, but for modules that are used as modules: `math.pi`, and not
    `calendar(2024, 2)`. Where there is none, it is the builtin that the first assertion
    calls, or that is handed to a function of the tests, as of a program that defines
    `sum`. What is imported from a module that nobody has is the program's.

    Args:
        source: text of the tests, or JSON of `fn_name`, `inputs` and `outputs`.
        entry_point: a name that is the program's in any case; "" for none.

    Raises:
        SyntaxError: they are not Python.
    """
    source = _from_pairs(source, entry_point) or source
    tree = _without_imports(ast.parse(source), "import" in source)
    source = ast.unparse(tree) if tree.body and tree.changed else source

    # Names that are read as globals, in the order of their scopes.
    module = symtable.symtable(source, "<tests>", "exec")
    tables, used = [module], {}
    for table in tables:
        tables += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (table is module or symbol.is_global()):
                used[symbol.get_name()] = None

    # All of them but those that the tests bind, and builtins.
    symbols = module.get_symbols()
    bound = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}
    unbound = [name for name in used if name not in bound]
    free = [name for name in unbound if name not in _KNOWN or name == entry_point]
    library = [name for name in free if name in sys.stdlib_module_names]
    modules = [n for n in library if n != entry_point and _is_module(tree, n)]
    free = [name for name in free if name not in modules]
    return Found(tree, free or _called_first(tree), modules)


def _is_module(tree, name) -> bool:
    """Whether a name is used as a module is: for what it holds."""
    held = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    ]
    uses = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == name]
    return all(any(use is each for each in held) for use in uses)


def _called_first(tree) -> list[str]:
    """The builtin that tests mean a program by, if they name nothing else."""
    bound = {a.arg for a in ast.walk(tree) if isinstance(a, ast.arg)}
    functions = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    for node in ast.walk(tree):
        claims = [node.test] if isinstance(node, ast.Assert) else []
        if isinstance(node, ast.Expr) and _name(node.value) in functions:
            handed = [a.id for a in node.value.args if isinstance(a, ast.Name)]
            handed += [
                k.value.id for k in node.value.keywords if isinstance(k.value, ast.Name)
            ]
            found = [name for name in handed if name in dir(builtins)]
            if found:
                return found[:1]
        for claim in claims:
            called = [_name(part) for part in ast.walk(claim)]
            found = [n for n in called if n and n in _KNOWN and n not in bound]
            if found:
                return found[:1]
    return []


def _name(node) -> str:
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return name
    return ""


# --- imports ------------------------------------------------------------------------


def _is_there(module: str) -> bool:
    root = module.partition(".")[0]
    return root in sys.stdlib_module_names or root in _PACKAGES


def _without_imports(tree: ast.Module, has_imports: bool) -> ast.Module:
    """Tests that do not import the program, under whatever name they know it."""
    tree.changed = False
    if not has_imports:
        return tree
    for node in [*ast.walk(tree)]:
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        kept = [s for s in body if not _is_of_program(s)]
        if len(kept) < len(body):
            node.body, tree.changed = kept or [ast.Pass()], True
    return ast.fix_missing_locations(tree) if tree.changed else tree


def _is_of_program(statement) -> bool:
    match statement:
        case ast.ImportFrom(module=module, level=0) if module:
            plain = all(each.asname in (None, each.name) for each in statement.names)
            is_tool = module.partition(".")[0] in _TOOLS
            return plain and not _is_there(module) and not is_tool
        case ast.ImportFrom(level=level):
            return level > 0
    return False


def missing(tree: ast.Module) -> list[str]:
    """Modules that tests import and that the sandbox does not have."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return sorted({name for name in found if not _is_there(name)})


# --- inputs and outputs -------------------------------------------------------------

_PAIRS = """
def _plain(value):
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
"""


def _pairs(source: str) -> dict | None:
    if not source.lstrip().startswith("{"):
        return None
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(source)
        ends = [found.get("inputs"), found.get("outputs")]
        if all(type(end) is list for end in ends) and len(ends[0]) == len(ends[1]):
            return found
    return None


def is_pairs(source: str) -> bool:
    """Whether tests are JSON of inputs and outputs."""
    return _pairs(source) is not None


def _from_pairs(source: str, entry_point: str) -> str | None:
    """Assertions for JSON of a function's arguments and values."""
    found = _pairs(source)
    name = found and (found.get("fn_name") or entry_point)
    if not name or not isinstance(name, str) or not name.isidentifier():
        return None
    lines = [
        f"assert _plain({name}(*{args!r})) == _plain({value!r})"
        for args, value in zip(found["inputs"], found["outputs"], strict=True)
        if isinstance(args, list)
    ]
    return "\n".join([_PAIRS, *lines])


@contextlib.contextmanager
def long_numbers():
    """Lets numbers of any length be read meanwhile."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(before)
