"""Which page or file --config names."""

import pathlib

import pytest
from absl import flags

from c3jax import configs, main
from tests import support


class Files(flags.ArgumentParser):
    """In place of the reader of files: says which one it was to read."""

    def parse(self, argument):
        return argument


PAGES = main._Pages(Files())


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


def test_a_page_of_ones_own_begins_with_theirs():
    from c3jax.configs import compare, math

    assert math.__name__ == "c3jax.configs.math"
    assert compare.math is math
    assert configs.__doc__ in (support.ROOT / "configs/__init__.py").read_text()
