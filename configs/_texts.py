"""The instructions of roles, and the teams that they make up."""

from collections.abc import Mapping

from c3jax.protocol import topologies

# Instructions of published models.
MATH = {
    "plan": """\
You plan how to solve a problem and do not solve it. Write a short numbered
plan: what is asked, what is given, which steps lead there. Another one will carry it
out.""",
    "work": """\
You solve a problem with the help of a reasoner's plan, which may be wrong.
Reason step by step and put the final answer in \\boxed{}.""",
    "check": """\
You check an actor's solution of a problem, which may be wrong, against the
problem itself. Correct what needs it and put the final answer in \\boxed{}.""",
    "join": """\
You read several solutions of a problem, of which any may be wrong. Find out
which steps are right and put the final answer in \\boxed{}.""",
    "talk": """\
You solve a problem together with others. If you are shown what you all said
before, take from it what is right. Reason step by step and put the final answer in
\\boxed{}.""",
    "lead": """\
You lead a reasoner who solves a problem, and do not solve it yourself. Say
what to do first or, if you are shown the reasoner's work, what in it is wrong and how
to go on. If its answer is right, write [FINISH] and nothing else: the dialogue ends
there and that answer counts.""",
    "follow": """\
You solve a problem as a thinker tells you to, who may be wrong. If you are
shown what was said before, take from it what is right. Reason step by step and put the
final answer in \\boxed{}.""",
    "vote": """\
You solve a problem. Reason step by step and put the final answer in
\\boxed{}.""",
}
CODE = {
    "plan": """\
You plan how to write a Python program and do not write it. Write a short
numbered plan: what comes in, what goes out, which steps lead there, which cases are
special. Another one will write the program.""",
    "work": """\
You write a Python program with the help of a reasoner's plan, which may be
wrong. Define what the task asks for, by the names that its tests call. Put the whole
program in one fenced block, opened by ```python and closed by ```.""",
    "check": """\
You check an actor's Python program, which may be wrong, against the task.
Correct what needs it. Put the whole program in one fenced block, opened by ```python
and closed by ```.""",
    "join": """\
You read several Python programs for one task, of which any may be wrong.
Write the one that is right. Put the whole program in one fenced block, opened by
```python and closed by ```.""",
    "talk": """\
You write a Python program together with others. If you are shown what you all
wrote before, take from it what is right. Define what the task asks for, by the names
that its tests call. Put the whole program in one fenced block, opened by ```python and
closed by ```.""",
    "lead": """\
You lead a reasoner who writes a Python program, and do not write it
yourself. Say what to do first or, if you are shown the reasoner's program, what in it
is wrong and how to go on. If it is right, write [FINISH] and nothing else: the dialogue
ends there and that program counts.""",
    "follow": """\
You write a Python program as a thinker tells you to, who may be wrong. If
you are shown what was said before, take from it what is right. Define what the task
asks for, by the names that its tests call. Put the whole program in one fenced block,
opened by ```python and closed by ```.""",
}
RATE = """Two agents, a reasoner and an actor, worked on this. Judge whether the final
answer is right, and how much each contributed to that. End with one line of JSON, such
as {"shares": [0.6, 0.4], "correct": true}: the reasoner's share and the actor's, two
tenths between 0.1 and 0.9 that add up to 1, and whether the answer is right."""

# Instructions of a small one, which follows no long text.
COUNT = "Write the calculation only, like 3 + 4 = 7"
TELL = "Answer in one short sentence that ends on the number, like: So Leo has 5 books."


def embedded(plan: Mapping, work: Mapping, check: Mapping, votes: bool) -> dict:
    """Teams of a small policy, which knows few words.

    Args:
        plan, work, check: fields of a role that plans, that answers, and that answers
            when it has read others.
        votes: whether there is a team that votes.
    """
    # Titles, by which other roles' prompts name them, are words of the tokenizer.
    titled = dict(plan, title="reasoner")
    closing = dict(titled, finishes=".")  # A full stop ends the dialogue.
    kim, tom = dict(work, title="kim"), dict(work, title="tom")
    teams = dict(
        solo=topologies.solo(work),
        duo=topologies.duo(plan, work),
        trio=topologies.trio(plan, work, check),
        branch=topologies.branch(titled, kim, tom, check),
        debate=topologies.debate((kim, tom), check),
        dialogue=topologies.dialogue(closing, dict(work, title="actor")),
    )
    return teams | (dict(vote=topologies.vote(work)) if votes else {})


def published(texts: Mapping[str, str], max_tokens: int = 512) -> dict:
    """Teams of a published model.

    Args:
        texts: instructions, `MATH` or `CODE`.
        max_tokens: the limit of every message.
    """
    roles = {
        name: dict(instruction=text, max_tokens=max_tokens)
        for name, text in texts.items()
    }
    plan, work, join = roles["plan"], roles["work"], roles["join"]
    teams = dict(
        solo=topologies.solo(work),
        duo=topologies.duo(plan, work),
        trio=topologies.trio(plan, work, roles["check"]),
        branch=topologies.branch(plan, work, work, join),
        debate=topologies.debate((roles["talk"], roles["talk"]), join),
        dialogue=topologies.dialogue(
            dict(roles["lead"], finishes="[FINISH]"), roles["follow"]
        ),
    )
    return teams | ({"vote": topologies.vote(roles["vote"])} if "vote" in roles else {})


def small() -> dict:
    """Teams of a small published model."""
    plan = dict(instruction=COUNT, max_tokens=16)
    work = dict(instruction=TELL, max_tokens=12)
    return dict(solo=topologies.solo(work), duo=topologies.duo(plan, work))
