"""The program in a message: which block, what else it needs, where prose begins."""

import ast
import builtins
import re
import symtable
import textwrap
from collections.abc import Sequence

# A block between fences; the last may have no end.
_FENCED = re.compile(
    r"(?:```|~~~)[ \t]*([\w+-]*)[^\n]*\n"
    r"(.*?)(?:^[ \t]*(?:```|~~~)|(?:```|~~~)[ \t]*$|\Z)",
    re.DOTALL | re.MULTILINE,
)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[ \t]*([\w+-]*)[^\n]*$", re.MULTILINE)
# The marks of tokenizers where a message begins or ends: <|im_end|>, </s>, <end>.
_SPECIAL = re.compile(r"<\|[^<>|\n]{1,40}\|>|</?s>|<end>|<eos>|<pad>")
_LANGUAGES = ("", "python", "py", "python3")
_DEFINES = re.compile(r"^\s*(?:def|class|async def)\b|\blambda\b", re.MULTILINE)
_BEGINS = re.compile(
    r"^(?:(?:async )?def \w+\s*\(|class \w+\s*[:(]|import [\w.]+|from [\w.]+ import"
    r"|@\w|[A-Za-z_]\w*\s*=[^=])",
    re.MULTILINE,
)
# The begin of a line that is code, though it may be wrong.
_CODE = re.compile(
    r"\s|[@)\]}#]|(?:async|def|class|import|from|for|while|if|elif|else|return|try"
    r"|except|finally|with|raise|assert|print|pass)\b(?=.*[:(=]|\s*\w+\s*$)"
    r"|[\w.\[\]'\"]+\s*(?:[-+*/%|&^]|//|\*\*)?=|[\w.]+\(.*\)\s*$"
)
_MOST_CUTS = 30
_EMPTY = (ast.Name, ast.Attribute, ast.Tuple, ast.BinOp, ast.Compare, ast.UnaryOp)


def extract(text: str, wanted: Sequence[str] = ()) -> str | None:
    """The program in a message.

    It is the last fenced block that defines what the tests use, else the last that
    defines something but tests and `main`, with the other blocks that define what it
    needs. Without a fence it is the text from its first definition, assignment or
    import on, to where prose begins. Special tokens are dropped.

    Args:
        wanted: names that the tests use, where they are known.

    Returns:
        None where there is nothing.
    """
    # Fenced blocks first; the first fence may have been opened by the prompt.
    text = _SPECIAL.sub("", text)
    fences = _FENCE.findall(text)
    if len(fences) % 2 and not fences[0]:
        before = text[: _FENCE.search(text).start()]
        if (first := _BEGINS.search(before)) and _parsed(before[first.start() :]):
            text = f"{before[: first.start()]}```\n{text[first.start() :]}"
    blocks = [
        textwrap.dedent(body)
        for language, body in _FENCED.findall(text)
        if language.lower() in _LANGUAGES and body.strip()
    ]
    if len(blocks) > 1:
        return _joined(blocks, {*wanted})
    if blocks:
        return blocks[0]

    # Then what looks like a program.
    text = _FENCED.sub("", text)
    for first in _BEGINS.finditer(text):
        if program := _without_prose(text[first.start() :]):
            return program
    first = _BEGINS.search(text)
    program = text[first.start() :] if first else text
    return program if program.strip() else None


def _parsed(program: str) -> ast.Module | None:
    try:
        return ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _joined(blocks: list[str], wanted: set[str]) -> str:
    """The block that is the program, and those that define what it needs."""
    read = [_Block(block) for block in blocks]
    places = range(len(blocks))
    main = _last(
        [i for i in places if read[i].defines & wanted],
        [i for i in places if read[i].is_program],
        [i for i in places if _DEFINES.search(blocks[i])],
        places,
    )
    taken, needs = {main}, read[main].needs
    nearest = sorted(places, key=lambda i: (i > main, abs(i - main)))
    for _ in places:
        found = [i for i in nearest if i not in taken and read[i].defines & needs]
        if not found:
            break
        needs = (needs - read[found[0]].defines) | read[found[0]].needs
        taken.add(found[0])
    return "\n".join(blocks[i] for i in sorted(taken))


def _last(*choices) -> int:
    return next(some[-1] for some in choices if some)


class _Block:
    """What a block defines and needs.

    Attributes:
        defines: names that it binds at its top.
        needs: names that it uses and neither binds nor finds among builtins.
        is_program: whether it defines functions or classes beside tests and `main`.
    """

    def __init__(self, source: str):
        self.defines, self.needs, self.is_program = set(), set(), False
        if (tree := _parsed(source)) is None:
            return
        module = symtable.symtable(source, "<block>", "exec")
        tables, used = [module], set()
        for table in tables:
            tables += table.get_children()
            used |= {
                s.get_name()
                for s in table.get_symbols()
                if s.is_referenced() and (table is module or s.is_global())
            }
        symbols = module.get_symbols()
        self.defines = {
            s.get_name() for s in symbols if s.is_assigned() or s.is_imported()
        }
        self.needs = used - self.defines - {*dir(builtins)}
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        names = [n.name for n in tree.body if isinstance(n, kinds)]
        self.is_program = any(
            name != "main" and not name.lower().startswith("test") for name in names
        )


def _without_prose(text: str) -> str | None:
    """The part of a text before the first line that is no code; None if it is none."""
    lines = text.split("\n")
    if all(map(_CODE.match, filter(None, lines))):
        return text  # as it nearly always is, and cheaper than to read it
    for _ in range(_MOST_CUTS):
        try:
            tree = ast.parse("\n".join(lines))
        except SyntaxError as error:
            at = min(error.lineno or 1, len(lines)) - 1
            if at == 0 or _CODE.match(lines[at]):
                return None
            lines = lines[:at]
            continue
        except (ValueError, RecursionError, MemoryError):
            return None
        # Words that happen to be an expression, at the end.
        while tree.body and _is_empty(tree.body[-1]):
            lines = lines[: tree.body.pop().lineno - 1]
        return "\n".join(lines) if tree.body else None
    return None


def _is_empty(statement) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, _EMPTY)
