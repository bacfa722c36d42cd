"""Teams by name: the edges of the common ones, for a config to fill in.

A team is a mapping from role name to the fields of `core.types.Role`; a config may
write any other directed acyclic graph the same way.
"""

from collections.abc import Mapping, Sequence


def solo(actor: Mapping) -> dict:
    """One agent that answers."""
    return {"actor": {**actor, "depends_on": (), "answers": True}}


def duo(reasoner: Mapping, actor: Mapping) -> dict:
    """A Reasoner that plans and an Actor that reads the plan and answers."""
    return {"reasoner": _helps(reasoner), "actor": _answers(actor, "reasoner")}


def trio(reasoner: Mapping, actor: Mapping, verifier: Mapping) -> dict:
    """A duo, and a Verifier that reads plan and answer and gives the final answer."""
    return {
        "reasoner": _helps(reasoner),
        "actor": _solves(actor, "reasoner"),
        "verifier": _answers(verifier, "reasoner", "actor"),
    }


def branch(
    planner: Mapping, solver_a: Mapping, solver_b: Mapping, integrator: Mapping
) -> dict:
    """Two Solvers of one plan that do not read each other; an Integrator reads both."""
    return {
        "planner": _helps(planner),
        "solver_a": _solves(solver_a, "planner"),
        "solver_b": _solves(solver_b, "planner"),
        "integrator": _answers(integrator, "solver_a", "solver_b"),
    }


def vote(voter: Mapping, voters: int = 3) -> dict:
    """Voters that read nothing; the majority answer is the team's answer.

    The task's verifier decides which answers are equal. A tie earns the mean reward of
    the tied answers.
    """
    names = [f"voter_{number}" for number in range(1, voters + 1)]
    counts = dict(instruction="", counts=True, max_tokens=0)
    return {
        **{name: _solves(voter) for name in names},
        "vote": _answers(counts, *names),
    }


def debate(agents: Sequence[Mapping], judge: Mapping, rounds: int = 2) -> dict:
    """Agents that answer in rounds; a Judge reads the last round and answers.

    In the first round an agent reads nothing, later it reads the messages of all
    agents, itself among them, in the round before. Earlier rounds are not read again.
    """
    team, before = {}, ()
    for turn in range(1, rounds + 1):
        names = [f"agent_{number}_{turn}" for number in range(1, len(agents) + 1)]
        for number, (name, agent) in enumerate(zip(names, agents, strict=True), 1):
            team[name] = _solves(_named(f"agent_{number}", agent), *before)
        before = names
    return {**team, "judge": _answers(judge, *before)}


def dialogue(thinker: Mapping, reasoner: Mapping, turns: int = 2) -> dict:
    """A Thinker and a Reasoner that take turns, each reading all messages before.

    The Thinker plans and does not carry out; the Reasoner's last message is the answer.
    The Thinker's `finishes` is the mark that ends the dialogue: later messages are not
    written and have no part in the loss, and an answer that several leaves of a tree
    share is scored once. A dialogue that ends before there is an answer earns 0. One
    that reaches its last turn did not break off (`Evidence.finished`): its last answer
    counts as any other does.

    Source: ReMA, arXiv:2503.09501, its multi-turn interaction, unrolled.

    Args:
        thinker, reasoner: fields of the two agents' roles, the same in every turn.
        turns: turns of each agent, at most.
    """
    team = {}
    for turn in range(1, turns + 1):
        team[f"thinker_{turn}"] = _helps(_named("thinker", thinker), *team)
        team[f"reasoner_{turn}"] = _solves(_named("reasoner", reasoner), *team)
    team[f"reasoner_{turns}"].update(answers=True, solves=False)
    return team


def _named(agent, role):
    return {"title": agent, "agent": agent, **role}


def _helps(role, *reads):
    return {**role, "depends_on": reads, "answers": False}


def _solves(role, *reads):
    return {**_helps(role, *reads), "solves": True}


def _answers(role, *reads):
    return {**role, "depends_on": reads, "answers": True}
