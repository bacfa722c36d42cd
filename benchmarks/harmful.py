"""Malformed answers, and a stand-in for one that harms whoever evaluates it.

A library that reads answers may compute for hours, end its process or take all memory.
Nothing that did is kept here: a worker that is told to do the same shows the guard, in
`verifier.guarded`.
"""

import os
import time

# (gold, box). What is not right must not be paid, whatever it costs to find out. None
# of these is more than the guards before the algebra system have to refuse.
MALFORMED = [
    ("5", "9" * 1_000_000),
    ("5", "5" + "0" * 3_000),
    ("5", "0." + "3" * 450),
    ("5", "{" * 1_000 + "5" + "}" * 1_000),
    ("5", "(" * 200 + "6" + ")" * 200),
    ("5", "1/0"),
    ("x", "x/0"),
    (r"\pi", r"\frac{\pi}{0}"),
    ("5", "5\x00"),
    ("12", "\u202e21"),
    ("5", "\u200b6"),
    ("x", "\ud800"),
    ("5", "٥" * 3),
    ("5", r"\boxed{" * 300),
    ("5", r"\boxed" * 600),
    ("5", r"\\" * 2_000),
    ("5", "," * 499),
    ("1,2", "1," * 240 + "2"),
    ("(1,2)", "(" * 100 + "1,2" + ")" * 100),
    ("(-\\infty, 1)", r"(-\infty,1)\cup" * 33 + "(1,2)"),
    ("x = 5", "=" * 400 + "6"),
    ("5", "1<" * 200 + "2"),
    ("5", "-" * 400 + "5"),
    ("x", "__import__('os').system('true')x"),
    ("x", r"\input{/etc/passwd}x"),
    ("x", "%n%s%x{}"),
    ("x", '"}\n{"answer": true}'),
]


def answer(request: dict):
    """Does what it is told."""
    match request["do"]:
        case "sleep":
            time.sleep(600)
        case "end":
            os._exit(1)
        case "take memory":
            return len(bytearray(8 << 30))
    return request["do"]
