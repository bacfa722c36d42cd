"""Finds the checks in the text of tests, and has each of them recorded.

A *check* is an `assert`; a call of something named `assert..` or `fail`; an `if` or a
`try` that may raise; a `with` that waits for an exception; a call of a function of the
tests that makes one; a method of a class of tests. Checks are looked for in *blocks*:
the module, functions the module calls as statements (`check(program)`, `test_it()`),
functions named `test..` that nobody calls, and the loops and branches in them. A check,
or a step to one, that raises is recorded and the next is made all the same, so a
program that stops answering fails every check that is left. Elsewhere an `assert`
raises, as it does in Python.
"""

import ast

from . import names

# The name of the recorder: `checked(claim)`, `failed(error)` and more.
HOOK = "__tests__"
NOTHING_USED = (
    "uses nothing of the program; name the field of the function that it calls in "
    "data.fields.entry_point, or test a function that it does not define"
)
NO_CHECK = (
    "makes no check: nothing asserts or raises where it would be run; write "
    "`assert f(1) == 2`, or functions or classes of such lines"
)
_STEPS = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete, ast.Expr, ast.Raise)
_NESTED = (ast.If, ast.For, ast.While, ast.With)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_OF_RECORDS = ("__init__", "__post_init__", "__repr__", "__str__", "__eq__", "__lt__")
_ENDS = ("exit", "quit", "_exit")


def read(source: str, entry_point: str = "") -> names.Found:
    """The tests with the names that they leave open; see `names.find`.

    Raises:
        SyntaxError: they are not Python.
    """
    return names.find(source, entry_point)


def problem(source: str, entry_point: str = "") -> str | None:
    """Why tests can pay no program, or every one; None if they check something.

    Args:
        source: text of the tests.
        entry_point: as `names.find` has it.
    """
    try:
        with names.long_numbers():
            found = read(source, entry_point)
            tree = instrumented(found.tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"is no Python that can be run as tests: {error}"
    if not any(_is_check(node) for node in ast.walk(tree)):
        if names.is_pairs(source):
            return (
                "holds inputs and outputs: give the function that takes them as "
                "entry_point, or say reward.tests='stdio' for programs that print"
            )
        return NO_CHECK
    if missing := names.missing(found.tree):
        return f"imports {missing}, which programs and tests do not have"
    return None if found.names else NOTHING_USED


def _is_check(node) -> bool:
    return _hook_of(node) in ("checked", "case")


def _hook_of(node) -> str | None:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="__tests__"), attr=attr)):
            return attr
    return None


def instrumented(tree: ast.Module) -> ast.Module:
    """Tests with every check recorded; see the module. `tree` is changed."""
    # Functions that check, also by calling others that do.
    functions = {n.name: n for n in tree.body if isinstance(n, _FUNCTIONS)}
    checking = _checking(functions)
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef)]
    called = {
        _called(node.value)
        for statement in tree.body
        if not isinstance(statement, (*_FUNCTIONS, ast.ClassDef))
        for node in ast.walk(statement)
        if isinstance(node, ast.Expr)
    }

    # Tests that nobody calls are called at the end.
    mentioned = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    uncalled = [
        name
        for name, node in functions.items()
        if name.startswith("test") and name not in mentioned and _is_bare(node.args)
    ]

    # Checks are recorded in blocks; helpers raise to the block that calls them.
    later = {n for n in uncalled if isinstance(functions[n], ast.AsyncFunctionDef)}
    blocks = {n for n in (called | {*uncalled}) & checking if n not in later}
    blocks -= {n for n, f in functions.items() if isinstance(f, ast.AsyncFunctionDef)}
    helpers = checking - blocks
    for name in blocks:
        functions[name].body = _block(functions[name].body, helpers)
    calls = [
        ast.parse(f"__import__('asyncio').run({n}())" if n in later else f"{n}()")
        for n in uncalled
    ]
    body = [*tree.body, *(call.body[0] for call in calls)]
    tree.body = [_recorded(statement, helpers) for statement in body]

    # Classes of tests come last; those of records are the program's to use, too.
    for node in classes:
        methods = _test_methods(node, classes, checking)
        if methods:
            tree.body += [_hook("case", ast.Name(node.name, ast.Load()), methods)]
        elif _is_record(node):
            offer = _hook("offer", ast.Constant(node.name))
            tree.body.insert(tree.body.index(node) + 1, _guarded([offer]))
    return ast.fix_missing_locations(tree)


def _is_record(node: ast.ClassDef) -> bool:
    """Whether a class only holds what it is made with: a program may make some, too.

    Others may know answers, and are the program's only where tests hand them over.
    """
    return all(
        isinstance(part, ast.Pass)
        or (isinstance(part, ast.AnnAssign) and _is_plain(part.value))
        or (isinstance(part, ast.Expr) and _is_plain(part.value))
        or (isinstance(part, ast.FunctionDef) and part.name in _OF_RECORDS)
        for part in node.body
    )


def _is_plain(value) -> bool:
    return value is None or isinstance(value, ast.Constant)


def _is_bare(arguments: ast.arguments) -> bool:
    wanted = len(arguments.posonlyargs) + len(arguments.args)
    needs_keyword = any(default is None for default in arguments.kw_defaults)
    return wanted <= len(arguments.defaults) and not needs_keyword


def _checking(functions: dict) -> set[str]:
    found: set[str] = set()
    while True:
        more = {n for n, node in functions.items() if _checks(node, found)}
        if more <= found:
            return found
        found |= more


def _test_methods(node, classes, checking) -> ast.List | None:
    """The names of the methods of a class that are tests and make a check."""
    own = {c.name: c for c in classes}
    bases = [getattr(base, "attr", getattr(base, "id", "")) for base in node.bases]
    parents = [own[name] for name in bases if name in own]
    is_case = any("TestCase" in name for name in bases)
    if not (is_case or parents or node.name.lower().startswith("test")):
        return None
    methods = {n.name: n for c in (*parents, node) for n in c.body if _is_method(n)}
    helpers = checking | {n for n in _checking(methods) if not n.startswith("test")}
    names_ = [
        ast.Constant(name)
        for name, method in methods.items()
        if name.startswith("test") and _checks(method, helpers)
    ]
    return ast.List(names_, ast.Load()) if names_ else None


def _is_method(node) -> bool:
    return isinstance(node, _FUNCTIONS)


def _called(node) -> str | None:
    """The name of the function that an expression calls, if it is a call of one."""
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return name
    return None


def _last_name(node) -> str:
    """The last part of the name of what a call calls."""
    match node:
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            return name
    return ""


def _asserts(node) -> bool:
    """Whether a call is of something that asserts by its name."""
    name = _last_name(node)
    return name.startswith("assert") or name == "fail" or _is_hook(node)


def _is_hook(node) -> bool:
    return _hook_of(node) == "checked"


def _raises(node) -> bool:
    """Whether a part raises, or ends the tests with a status."""
    if isinstance(node, ast.Raise):
        return True
    return _last_name(node) in _ENDS and bool(node.args)


def _checks(node, helpers=frozenset()) -> bool:
    """Whether a part makes a check, or calls one of the helpers that do."""
    return any(
        isinstance(part, ast.Assert)
        or _asserts(part)
        or _raises(part)
        or _last_name(part) in helpers
        for part in ast.walk(node)
    )


def _block(body: list, helpers: set[str]) -> list:
    # Functions in a function may be helpers, too.
    inner = {n.name: n for n in body if isinstance(n, _FUNCTIONS)}
    known = helpers | {n for n in _checking(inner) if n in inner}
    known -= {n for n in inner if n not in helpers and not _checks(inner[n], helpers)}
    return [_recorded(statement, known if inner else helpers) for statement in body]


def _recorded(statement, helpers):
    """A statement of a block, recorded if it is a check, guarded if it may raise."""
    whole = [statement, _hook("checked", ast.Constant(True))]
    match statement:
        case ast.Assert(test=claim):
            return _guarded([_hook("checked", claim)])
        case ast.Expr(value=value) if _is_runner(value):
            return ast.Pass()
        case ast.Try() if _checks(statement, helpers):
            return _guarded(whole)
        case ast.With() | ast.AsyncWith() if any(map(_waits, statement.items)):
            return _guarded(whole)
        case ast.If() if _decides(statement):
            return _guarded(whole)
    if isinstance(statement, _NESTED):
        statement.body = _block(statement.body, helpers)
        if getattr(statement, "orelse", None):
            statement.orelse = _block(statement.orelse, helpers)
        return _guarded([statement])
    if isinstance(statement, _STEPS):
        steps = [n for n in ast.walk(statement) if isinstance(n, ast.Call)]
        if any(_asserts(n) or _last_name(n) in helpers for n in steps):
            return _guarded(whole)
        return _guarded([statement])
    return statement


def _waits(item: ast.withitem) -> bool:
    name = _last_name(item.context_expr)
    return name.startswith("assert") or name == "raises"


def _decides(statement: ast.If) -> bool:
    """Whether an `if` is a check itself: it raises, and no `assert` is in it."""
    parts = [*ast.walk(statement)]
    asserts = any(isinstance(p, ast.Assert) or _asserts(p) for p in parts)
    return not asserts and any(map(_raises, parts)) and not _is_guard(statement)


def _is_guard(statement: ast.If) -> bool:
    match statement.test:
        case ast.Compare(left=ast.Name(id="__name__")):
            return True
    return False


def _is_runner(node) -> bool:
    """Whether a call runs all tests of the module, as is done here anyway."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="main")):
            return name in ("unittest", "pytest")
        case ast.Call(func=ast.Attribute(value=ast.Name(id="sys"), attr="exit")):
            return not node.args or _is_runner(node.args[0])
    return False


def _guarded(body: list) -> ast.Try:
    """Statements of which any exception is recorded."""
    handler = ast.ExceptHandler(
        type=ast.Attribute(ast.Name(HOOK, ast.Load()), "everything", ast.Load()),
        name="__error__",
        body=[_hook("failed", ast.Name("__error__", ast.Load()))],
    )
    return ast.Try(body=body, handlers=[handler], orelse=[], finalbody=[])


def _hook(name, *arguments) -> ast.Expr:
    method = ast.Attribute(ast.Name(HOOK, ast.Load()), name, ast.Load())
    return ast.Expr(ast.Call(method, [*arguments], []))
