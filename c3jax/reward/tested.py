"""Whether the tests of a program can tell a right one from a wrong one.

Looked at when questions are loaded; nothing is run.
"""

import ast
import builtins

from c3jax.reward.sandbox import assertions


def untested(tests: str, entry_point: str = "") -> str:
    """Why no program would pass tests, or none can fail them; "" if neither is so.

    Args:
        tests: executable text; see `c3jax.reward.sandbox.assertions`.
        entry_point: a name that is the program's in any case; "" for none.
    """
    try:
        tree = ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"is no Python that can test a program ({error})"
    # A builtin's name is the program's only if the row says so.
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    used = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    is_open = used - _bound(tree) - {*dir(builtins)}
    if not _makes_checks(tree):
        return (
            "makes no check: it must have an assert, in the module, in a function that "
            "is called there, or in test_..()"
        )
    if is_open or entry_point:
        return ""
    return (
        "uses no name but its own and builtins; name the field of the function that it "
        "tests in data.fields.entry_point"
    )


def _bound(tree: ast.Module) -> set[str]:
    """Names that tests define somewhere, or import."""
    bound = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                bound.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.alias(name=name, asname=other):
                bound.add(other or name.partition(".")[0])
    return bound


def _makes_checks(tree: ast.Module) -> bool:
    """Whether the grader would record the outcome of any check; `tree` is changed."""
    recorded = assertions.instrumented(tree)
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == "checked"
        and isinstance(node.value, ast.Name)
        and node.value.id == assertions.HOOK
        for node in ast.walk(recorded)
    )
