import jax
import pytest
from absl import flags
from ml_collections import config_flags

from c3jax.credit import api
from c3jax.learn import training
from c3jax.setup import experiment
from tests import support


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"credit__name": "c4"}, "credit.name='c4' is not known; did you mean 'c3'"),
        ({"credit__name": None}, "credit.name=None is not known"),
        ({"credit__alpha": 0.5}, "credit.alpha=0.5 is read by nobody"),
        ({"critic__lr": 0.0}, "critic.lr=0.0: it must be above 0"),
        (
            {"credit__name": "mappo", "critic__minibatches": 5},
            "train.batch_size=24 does not split into critic.minibatches=5",
        ),
        (
            {"credit__name": "sepo", "protocol__name": "solo"},
            "credit.name='sepo' is defined for one role that reads nothing and one",
        ),
        ({"protocol__name": "quartet"}, r"protocol.name='quartet'.*'duo', 'solo'"),
        ({"data__task": "gsm"}, "data.task='gsm' is not known"),
        ({"data__test": "math500/test"}, "data.task='problems' generates"),
        ({"data__fields__label": "x"}, "data.fields.label is read by nobody"),
        ({"data__overlap__action": "skip"}, "data.overlap.action='skip' is not known"),
        ({"data__overlap__ngram": -1}, "data.overlap.ngram=-1: it must be 0 or more"),
        ({"data__overlap__share": 0.0}, "data.overlap.share=0.0: .* above 0, up to 1"),
        ({"data__tokenizer": "/none"}, "data.tokenizer='/none'"),
        ({"protocol__branching": (8, 1)}, r"protocol.branching.*Try \(4, 2\)"),
        ({"protocol__branching": (2, 2)}, "protocol.budget=8; make the two agree"),
        (
            {"teams__duo__actor__depends_on": ("planner",)},
            "teams.duo.actor.depends_on names 'planner'",
        ),
        ({"teams__duo__reasoner__depends_on": ("actor",)}, "wait for each other"),
        ({"train__lr": 0.0}, "train.lr=0.0: it must be above 0"),
        ({"train__lr": -1.0}, "train.lr=-1.0"),
        ({"train__kl": -0.1}, "train.kl=-0.1: it must be 0 or more"),
        ({"train__batch_size": 25, "train__minibatches": 2}, "train.batch_size=25"),
        ({"sampling__temperature": 0.0}, "sampling.temperature=0.0"),
        ({"sampling__top_p": 0.9}, "sampling.top_p=0.9 without sampling.top_k"),
        (
            {"evaluate__questions": 513},
            "evaluate.questions=513: it must be between 2 and 512",
        ),
        (
            {"evaluate__k": (1, 20)},
            r"evaluate.k=\(1, 20\): .* from 1 to evaluate.samples=10",
        ),
        ({"evaluate__every": 0}, "evaluate.every=0: it must be above 0"),
        ({"train__checkpoint_every": 0}, "train.checkpoint_every=0"),
        ({"warm_start__careless__slip": 1.5}, "careless.slip=1.5.*a probability"),
        ({"policy__remat": "layers"}, "policy.remat='layers'.* did you mean 'layer'"),
        ({"policy__heads": 3}, "policy.heads=3: it must be a multiple"),
        ({"mesh__tensor": 3}, "mesh data=-1, fsdp=1, tensor=3 does not multiply"),
    ],
)
def test_a_config_that_cannot_run_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        support.math_setup(**changes)


def test_a_batch_that_the_mesh_cannot_divide_is_refused():
    with pytest.raises(ValueError, match=r"train.batch_size=20 .* 8 devices.*say 24"):
        support.math_setup(8, train__batch_size=20)
    with pytest.raises(
        ValueError, match=r"train.grad_accumulation=5 microbatches .* say 25"
    ):
        support.math_setup(train__grad_accumulation=5)
    with pytest.raises(ValueError, match=r"warm_start.batch_size=20 .* say 24"):
        support.math_setup(8, warm_start__batch_size=20)
    with pytest.raises(
        ValueError, match=r"warm_start.grad_accumulation=5 microbatches .* say 35"
    ):
        support.math_setup(warm_start__grad_accumulation=5)


def test_a_parameter_that_the_mesh_cannot_divide_is_refused():
    with pytest.raises(
        ValueError, match=r"mesh.tensor=8 does not divide .* vocab axis"
    ):
        support.math_setup(8, mesh__data=1, mesh__tensor=8)


def test_who_asks_no_questions_needs_none_of_their_files():
    options = dict(warm_start__steps=0, data__prompt_tokens=64, data__task="math")
    files = dict(data__train=("nowhere.jsonl",), data__test="nowhere.jsonl")
    config = support.page_config(policy__unroll=1, **options, **files)
    with pytest.raises(ValueError, match=r"nowhere.jsonl"):
        experiment.resolve(config, jax.devices()[:1])
    setup = experiment.resolve(config, jax.devices()[:1], asks=False)
    assert setup.task.splits == {} and setup.task.reward == "math"
    known = support.math_setup(warm_start__steps=0, data__prompt_tokens=64)
    assert setup.team == known.team and setup.longest == known.longest
    assert setup.abstract_params() == known.abstract_params()


def test_a_key_that_nobody_reads_is_refused_and_one_that_is_missing_too():
    config = support.page_config()
    with config.unlocked():
        config.train.epochz = 3
    with pytest.raises(
        ValueError, match="train.epochz is read by nobody; did you mean"
    ):
        experiment.resolve(config)
    config = support.page_config()
    with config.unlocked():
        del config.train.clip
    with pytest.raises(ValueError, match="train lacks .'clip'."):
        experiment.resolve(config)


def test_branching_follows_the_estimator_and_the_team():
    assert support.math_setup().team.protocol.branching == (4, 2)
    magrpo = support.math_setup(credit__name="magrpo")
    assert magrpo.team.protocol.branching == (8, 1)
    solo = support.math_setup(protocol__name="solo")
    assert solo.team.protocol.branching == (8,)


@pytest.mark.parametrize("page", ["math", "code"])
def test_a_page_has_the_options_of_every_estimator(page):
    options = support.page_config(page).credit.to_dict()
    assert options.pop("name") == "c3"
    assert options == dict.fromkeys(api.options())


def test_flags_set_options_and_branching():
    def page(*changes):
        path = support.ROOT / "configs" / "math.py"
        argv = ["", f"--page={path}", *(f"--page.{change}" for change in changes)]
        values = flags.FlagValues()
        config_flags.DEFINE_config_file("page", flag_values=values, sys_argv=argv)
        values(argv)
        return values.page

    found = page("credit.decay=0.5", "credit.std", "protocol.branching=(2,4)")
    assert (found.credit.decay, found.credit.std) == (0.5, True)
    assert found.protocol.branching == (2, 4)
    assert page("protocol.branching=auto").protocol.branching == "auto"


def test_an_estimator_remembers_by_the_team_and_has_its_options():
    setup = support.math_setup(credit__name="c3_shrunk", credit__prior=2)
    assert setup.estimator.options["prior"].default == 2
    memory = training.abstract_state(setup).memory
    assert [leaf.shape for leaf in jax.tree.leaves(memory)] == [(2,)] * 3 + [(3,)] * 3
    assert support.math_setup().estimator.options["std"].default is False
    assert training.abstract_state(support.math_setup()).memory == ()
