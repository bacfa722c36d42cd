"""Finds the checks in the text of tests, and has each of them recorded.

A check is an `assert`, or a statement that calls a function of the tests that asserts.
Checks are looked for in *blocks*: the module, functions the module calls as statements
(`check(program)`, `test_it()`), functions named `test..` that nobody calls, and the
loops and branches in them. A check, or a step to one, that raises is recorded and the
next is made all the same, so a program that stops answering fails every check that is
left. Elsewhere an `assert` raises, as it does in Python.
"""

import ast
import builtins
import symtable

# The name of the recorder: `checked(claim)` and `failed(error)`.
HOOK = "__tests__"
_KNOWN = {*dir(builtins), "__name__", "__file__", "__doc__"}
_STEPS = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete, ast.Expr, ast.Raise)
_NESTED = (ast.If, ast.For, ast.While, ast.With)


def free_names(source: str, entry_point: str = "") -> list[str]:
    """Names that tests use and neither define nor find among builtins: the program's.

    Where there is none, it is the builtin that the first assertion calls, as of a
    program that defines `sum`.

    Args:
        source: text of the tests.
        entry_point: a name that is the program's in any case; "" for none.

    Raises:
        SyntaxError: they are not Python.
    """
    # Names that are read as globals, in the order of their scopes.
    module = symtable.symtable(source, "<tests>", "exec")
    tables, used = [module], {}
    for table in tables:
        tables += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (table is module or symbol.is_global()):
                used[symbol.get_name()] = None

    # All of them but those that the tests bind, and builtins.
    bound = {s.get_name() for s in module.get_symbols() if s.is_assigned()}
    bound |= {s.get_name() for s in module.get_symbols() if s.is_imported()}
    unbound = [name for name in used if name not in bound]
    free = [name for name in unbound if name not in _KNOWN or name == entry_point]
    return free or _called_first(ast.parse(source))


def _called_first(tree) -> list[str]:
    claims = (node.test for node in ast.walk(tree) if isinstance(node, ast.Assert))
    names = (_called(node) for claim in claims for node in ast.walk(claim))
    return next(([name] for name in names if name), [])


def instrumented(tree: ast.Module) -> ast.Module:
    """Tests with every check recorded; see the module. `tree` is changed."""
    # Functions that assert, and those of them that the module calls.
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    asserting = {name for name, node in functions.items() if _asserts(node)}
    called = {
        _called(node.value)
        for statement in tree.body
        if not isinstance(statement, ast.FunctionDef)
        for node in ast.walk(statement)
        if isinstance(node, ast.Expr)
    }

    # Tests that nobody calls are called at the end.
    mentioned = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    uncalled = [
        name
        for name, node in functions.items()
        if name.startswith("test") and name not in mentioned and not node.args.args
    ]

    # Checks are recorded in blocks; helpers raise to the block that calls them.
    blocks = (called | {*uncalled}) & asserting
    helpers = asserting - blocks
    for name in blocks:
        functions[name].body = _block(functions[name].body, helpers)
    calls = [ast.parse(f"{name}()").body[0] for name in uncalled]
    tree.body = _block([*tree.body, *calls], helpers)
    return ast.fix_missing_locations(tree)


def _called(node) -> str | None:
    """The name of the function that an expression calls, if it is a call of one."""
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return name
    return None


def _asserts(node) -> bool:
    return any(isinstance(part, ast.Assert) for part in ast.walk(node))


def _block(body: list, helpers: set[str]) -> list:
    return [_recorded(statement, helpers) for statement in body]


def _recorded(statement, helpers):
    """A statement of a block, recorded if it is a check, guarded if it may raise."""
    match statement:
        case ast.Assert(test=claim):
            return _guarded([_hook("checked", claim)])
        case ast.Expr(value=value) if _called(value) in helpers:
            return _guarded([statement, _hook("checked", ast.Constant(True))])
        case ast.Try() if _asserts(statement):
            return _guarded([statement, _hook("checked", ast.Constant(True))])
    if isinstance(statement, _NESTED):
        statement.body = _block(statement.body, helpers)
        if getattr(statement, "orelse", None):
            statement.orelse = _block(statement.orelse, helpers)
        return _guarded([statement])
    if isinstance(statement, _STEPS):
        return _guarded([statement])
    return statement


def _guarded(body: list) -> ast.Try:
    """Statements of which any exception is recorded."""
    handler = ast.ExceptHandler(
        type=ast.Attribute(ast.Name(HOOK, ast.Load()), "everything", ast.Load()),
        name="__error__",
        body=[_hook("failed", ast.Name("__error__", ast.Load()))],
    )
    return ast.Try(body=body, handlers=[handler], orelse=[], finalbody=[])


def _hook(name, argument) -> ast.Expr:
    method = ast.Attribute(ast.Name(HOOK, ast.Load()), name, ast.Load())
    return ast.Expr(ast.Call(method, [argument], []))
