"""Reads formulas of LaTeX, or of a keyboard, into trees; see `formulas`.

Either the whole text is read or nothing is: no sign, letter or index is passed over.
"""

import functools
from fractions import Fraction

from c3jax.reward import formulas, lexicon

_MAX_DEPTH = 40
_MAX_LENGTH = 4000  # below the digits that Python reads as an integer


@functools.lru_cache(2048)
def read(text: str) -> tuple:
    """The tree of a formula.

    Raises:
        Unreadable: it is none, or one with more than is known here.
    """
    if len(text) > _MAX_LENGTH:
        raise formulas.Unreadable("a formula of more than 4,000 letters")
    reader = _Reader(lexicon.tokens(text))
    try:
        tree = reader.sum_over()
    except RecursionError as error:
        raise formulas.Unreadable("commands that are nested too deep") from error
    if reader.at < len(reader.tokens):
        raise formulas.Unreadable(f"{reader.peek()!r} in {text!r}")
    if formulas.holds_infinity(tree):
        raise formulas.Unreadable(text)
    return tree


class _Reader:
    """Reads tokens from left to right, a method for each kind of part."""

    def __init__(self, found: list[lexicon.Token]):
        self.tokens, self.at, self.depth, self.bars = found, 0, 0, 0

    def peek(self) -> str:
        return self.tokens[self.at].text if self.at < len(self.tokens) else ""

    def kind(self) -> str:
        return self.tokens[self.at].kind if self.at < len(self.tokens) else ""

    def take(self, wanted: str | None = None) -> str:
        text = self.peek()
        if not text or (wanted is not None and text != wanted):
            raise formulas.Unreadable(f"{text!r} where {wanted or 'more'} should stand")
        self.at += 1
        return text

    def sum_over(self) -> tuple:
        """A sum, or two with `\\over` or `\\choose` between them."""
        top = self.sum()
        if self.peek() in ("\\over", "\\choose"):
            sign = self.take()
            bottom = self.sum()
            if sign == "\\choose":
                return ("binom", top, bottom)
            return formulas.quotient(top, bottom)
        return top

    def sum(self) -> tuple:
        """Terms with signs before and between them."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise formulas.Unreadable("brackets that are nested too deep")
        terms = [self.signed(self.product)]
        while self.peek() in ("+", "-"):
            sign = self.take()
            term = self.signed(self.product)
            terms.append(formulas.negative(term) if sign == "-" else term)
        self.depth -= 1
        return terms[0] if len(terms) == 1 else ("+", *terms)

    def signed(self, part) -> tuple:
        """A part with a sign before it, or without."""
        sign = self.take() if self.peek() in ("+", "-") else "+"
        if self.peek() in ("+", "-"):
            raise formulas.Unreadable("two signs side by side")
        tree = part()
        return formulas.negative(tree) if sign == "-" else tree

    def product(self) -> tuple:
        """Factors: side by side they bind closer than a slash, 1/ab is 1/(ab).

        A fraction of two numbers is one number: 3/4x is three quarters of x.
        """
        tree = self.juxtaposed()
        while self.peek() in lexicon.TIMES or self.peek() in lexicon.OVER:
            sign = self.take()
            if sign in lexicon.TIMES:
                right = self.signed(self.juxtaposed)
                tree = (*(tree if tree[0] == "*" else ("*", tree)), right)
                continue
            if tree[0] == "n" and self.kind() == "number":
                tree = formulas.quotient(tree, self.power())
                if self.begins_factor():
                    tree = ("*", tree, self.juxtaposed())
                continue
            if tree[0] in lexicon.TRIGONOMETRIC and not self.is_closed(self.at - 1):
                raise formulas.Unreadable("an angle that may end at the slash or not")
            tree = formulas.quotient(tree, self.signed(self.juxtaposed))
        return tree

    def is_closed(self, at: int) -> bool:
        """Whether a bracket ends before a token."""
        return self.tokens[at - 1].text in (")", "]", "}")

    def juxtaposed(self) -> tuple:
        """Factors side by side."""
        mixed = self.kind() == "number" and "." not in self.peek()
        factors = [self.power()]
        mixed = mixed and factors[0][0] == "n" and self.peek() == "\\frac"
        while self.begins_factor():
            before = self.tokens[self.at - 1].text
            if self.kind() == "number" and (factors[-1][0] == "n" or before == ")"):
                raise formulas.Unreadable("a number behind a number or a bracket")
            factors.append(self.power())
            if mixed and len(factors) == 2 and factors[1][0] == "n":
                if not 0 < factors[1][1] < 1:
                    raise formulas.Unreadable("a number before a fraction above one")
                factors = [("n", factors[0][1] + factors[1][1])]
        return factors[0] if len(factors) == 1 else ("*", *factors)

    def begins_factor(self) -> bool:
        text, kind = self.peek(), self.kind()
        if text in lexicon.BARS:
            return not self.bars and text != "\\rvert"
        if kind in ("number", "letter") or text in ("(", "[", "{", "\\lbrack"):
            return True
        return kind == "word" and (
            text in lexicon.SYMBOLS
            or text in lexicon.ACCENTS
            or text in lexicon.TEXTS
            or text in lexicon.STEPS
            or text[1:] in lexicon.NAMED
            or text in ("\\pi", "\\infty", "\\sqrt", "\\frac", "\\dfrac", "\\tfrac")
            or text in ("\\cfrac", "\\binom", "\\dbinom", "\\tbinom")
        )

    def power(self) -> tuple:
        """A base with its exponent, factorial, degree or percent sign."""
        tree, raised = self.in_degrees(self.base()), False
        while self.peek() in ("^", "**", "!", "%", "\\%"):
            sign = self.take()
            if sign in ("^", "**"):
                if raised:
                    raise formulas.Unreadable("two exponents side by side")
                tree, raised = ("^", tree, self.exponent()), True
                if tree[2] == ("x", "T") and tree[1][0] == "x" and tree[1][1].isupper():
                    raise formulas.Unreadable("a transpose, in a product in order")
            elif sign == "!":
                if self.tokens[self.at - 2].text == "!":
                    raise formulas.Unreadable("a double factorial")
                tree = ("!", tree)
            else:
                tree = ("*", tree, ("n", Fraction(1, 100)))
        return tree

    def in_degrees(self, tree: tuple) -> tuple:
        """A tree with the degree sign that follows, if one does."""
        after = [token.text for token in self.tokens[self.at : self.at + 4]]
        for spelled in (["°"], ["^", "\\circ"], ["^", "{", "\\circ", "}"]):
            if after[: len(spelled)] == spelled:
                self.at += len(spelled)
                return ("*", tree, formulas.PI, ("n", Fraction(1, 180)))
        return tree

    def exponent(self) -> tuple:
        if self.peek() in ("+", "-"):
            sign = self.take()
            tree = self.base()
            return formulas.negative(tree) if sign == "-" else tree
        return self.base()

    def base(self) -> tuple:
        """A number, a symbol, brackets, or a command with what it is applied to."""
        text, kind = self.peek(), self.kind()
        if kind == "number":
            return ("n", Fraction(self.take()))
        if (
            kind == "letter"
            or text in lexicon.SYMBOLS
            or text in lexicon.ACCENTS
            or text in lexicon.TEXTS
        ):
            return self.symbol()
        if text in lexicon.BRACKETS:
            self.take()
            inside = self.until(lexicon.BRACKETS[text])
            # Some write [x] for the floor of x.
            return ("call", "[]", inside) if text in ("[", "\\lbrack") else inside
        if text in lexicon.BARS:
            return self.absolute()
        if text in lexicon.STEPS:
            self.take()
            closing, name = lexicon.STEPS[text]
            return (name, self.until(closing))
        if text[1:] in lexicon.NAMED and kind == "word":
            self.take()
            return self.function(lexicon.NAMED[text[1:]])
        if text == "\\pi":
            self.take()
            return (
                formulas.PI if self.peek() not in ("_", "'") else self.indexed("\\pi")
            )
        if text == "\\infty":
            self.take()
            return formulas.INFINITY
        if text == "\\sqrt":
            return self.root()
        if text in ("\\frac", "\\dfrac", "\\tfrac", "\\cfrac"):
            self.take()
            return formulas.quotient(self.argument(), self.argument())
        if text in ("\\binom", "\\dbinom", "\\tbinom"):
            self.take()
            return ("binom", self.argument(), self.argument())
        raise formulas.Unreadable(f"{text!r} is not known here")

    def until(self, closing: str) -> tuple:
        """What stands in brackets, of which the first was taken."""
        bars, self.bars = self.bars, 0
        tree = self.sum_over()
        self.take(closing)
        self.bars = bars
        return tree

    def absolute(self) -> tuple:
        self.take()
        self.bars += 1
        tree = self.sum()
        if self.take() not in lexicon.BARS:
            raise formulas.Unreadable("a bar without another")
        self.bars -= 1
        count = sum(token.text in lexicon.BARS for token in self.tokens)
        if count > 2 and self.peek() not in lexicon.BARS and self.begins_factor():
            raise formulas.Unreadable("bars that may be nested")
        return ("abs", tree)

    def argument(self) -> tuple:
        """One argument of a command: braces, or what stands next, one digit of it."""
        if self.kind() == "number" and len(self.peek()) > 1 and self.peek().isdigit():
            return ("n", Fraction(self.digit()))
        if self.kind() in ("number", "letter") or self.peek() in ("{", "\\pi"):
            return self.base()
        if self.peek() in ("\\frac", "\\sqrt", "("):
            return self.base()
        if self.peek() in lexicon.SYMBOLS:
            return ("x", self.take())
        raise formulas.Unreadable(f"{self.peek()!r} where braces should stand")

    def digit(self) -> str:
        """The first digit of a number; the others stay."""
        text = self.peek()
        self.tokens = list(self.tokens)
        self.tokens[self.at] = lexicon.Token("number", text[1:])
        return text[0]

    def root(self) -> tuple:
        self.take("\\sqrt")
        index = formulas.TWO
        if self.peek() == "[":
            self.take()
            index = self.until("]")
        return ("^", self.argument(), formulas.quotient(formulas.ONE, index))

    def function(self, name: str) -> tuple:
        """A known function: its base, its exponent, its argument."""
        if name in lexicon.SEVERAL:
            return (name, *self.several())
        base, power = formulas.TEN, None
        while self.peek() in ("^", "**") or (name == "log" and self.peek() == "_"):
            if self.take() == "_":
                base = self.argument()
            else:
                power = self.exponent()
        if power == ("n", Fraction(-1)) and name in lexicon.TRIGONOMETRIC:
            if name not in ("sin", "cos", "tan"):
                raise formulas.Unreadable("the inverse of such a function")
            name, power = f"a{name}", None
        tree = self.applied(name, base, power)
        return tree if power is None else ("^", tree, power)

    def applied(self, name: str, base: tuple, power: tuple | None) -> tuple:
        """A function of what follows: brackets, or factors up to the next function."""
        if self.peek() in ("(", "[", "{") or self.peek() in lexicon.BARS:
            braces = self.peek() == "{"
            of = self.base()
            of = of[2] if of[:2] == ("call", "[]") else of
            of = self.in_degrees(of)
            if braces and self.peek() == "^":
                raise formulas.Unreadable("a power of an angle, or of a function")
        elif name in ("exp", "abs", "floor", "ceil"):
            raise formulas.Unreadable(f"{name} without brackets")
        else:
            of = self.signed(self.factors)
        if name == "exp":
            return ("^", formulas.E, of)
        if name == "log":
            return ("ln", of) if base == formulas.E else ("log", base, of)
        return (name, of)

    def factors(self) -> tuple:
        """Factors side by side that are no functions: of \\sin 2x \\cos y the 2x."""
        found = [self.power()]
        while self.begins_factor() and self.peek()[1:] not in lexicon.NAMED:
            if self.peek() in ("(", "[") or self.peek() in lexicon.BARS:
                raise formulas.Unreadable(
                    "a bracket that may belong to a function or not"
                )
            found.append(self.power())
        return found[0] if len(found) == 1 else ("*", *found)

    def several(self) -> list[tuple]:
        """The arguments of a function, with commas between them."""
        opening = self.take()
        if opening == "\\{":
            closing = "\\}"
        elif opening in ("(", "["):
            closing = lexicon.BRACKETS[opening]
        else:
            raise formulas.Unreadable("a function of several numbers without brackets")
        bars, self.bars = self.bars, 0
        found = [self.sum()]
        while self.peek() in (",", ";"):
            self.take()
            found.append(self.sum())
        self.take(closing)
        self.bars = bars
        return found

    def symbol(self) -> tuple:
        """A letter with its accents, indices and primes; a constant if it has none."""
        text = self.take()
        if text in lexicon.TEXTS:
            text = self.raw().removeprefix("\\")
            if text in lexicon.NAMED:
                return self.function(lexicon.NAMED[text])
            if len(text) > 1 or not text.isalpha():
                text = f"\\text{{{text}}}"
        elif text in lexicon.ACCENTS:
            text = f"{text}{{{self.raw()}}}"
        elif text == "\\Delta" and self.kind() == "letter":
            text = f"{text} {self.take()}"  # a difference, not a product
        return self.indexed(text)

    def indexed(self, text: str) -> tuple:
        name, plain = text, True
        while self.peek() in ("_", "'") or self.is_prime():
            mark = self.take()
            plain = False
            if mark == "^":
                self.raw()
            name += f"_{{{self.raw()}}}" if mark == "_" else "'"
        if plain and text in ("e", "i"):
            return ("c", text)
        return self.called(name, text)

    def is_prime(self) -> bool:
        after = [token.text for token in self.tokens[self.at : self.at + 4]]
        spelled = (["^", "\\prime"], ["^", "{", "\\prime", "}"])
        return any(after[: len(s)] == s for s in spelled)

    def called(self, name: str, letter: str) -> tuple:
        """A symbol, or a function that is not known with its arguments."""
        begin = self.at
        # f^{-1}(x) and f^2(x)
        power = ""
        if self.peek() == "^":
            self.take()
            power = f"^{{{self.raw()}}}"
        if self.peek() != "(" or (power and letter not in lexicon.CALLED):
            self.at = begin
            return ("x", name)
        args = self.several()
        simple = args[0][0] in ("x", "n", "c")
        if letter in lexicon.CALLED or name[-1] == "'" or simple or len(args) > 1:
            return ("call", name + power, *args)
        self.at = begin
        return ("x", name)

    def raw(self) -> str:
        """The letters of an index, an accent or a text, as they stand."""
        if self.peek() != "{":
            text = self.take()
            return self.raw() if text in lexicon.TEXTS else text
        depth, found = 0, []
        while True:
            text = self.take()
            depth += (text == "{") - (text == "}")
            if depth == 0:
                break
            if text not in ("{", "}") and text not in lexicon.TEXTS:
                found.append(text)
        return "".join(found)
