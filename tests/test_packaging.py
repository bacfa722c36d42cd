"""What an installed c3jax holds, and that it works away from its checkout."""

import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest
import setuptools

from tests import support

PROJECT = tomllib.loads((support.ROOT / "pyproject.toml").read_text())


def test_pages_are_one_copy_that_the_package_links_to():
    link = support.ROOT / "c3jax" / "configs"
    assert link.is_symlink() and link.readlink() == pathlib.Path("../configs")


def test_a_wheel_has_every_package_of_c3jax_and_nothing_else():
    include = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    found = setuptools.find_namespace_packages(support.ROOT, include=include)
    walked = os.walk(support.ROOT / "c3jax", followlinks=True)
    wanted = {
        str(pathlib.Path(place).relative_to(support.ROOT)).replace("/", ".")
        for place, _, files in walked
        if "__init__.py" in files
    }
    assert "c3jax.configs" in wanted
    assert wanted == set(
        setuptools.find_packages(support.ROOT, include=include)
    ) and wanted <= {*found}


def test_python_versions_are_those_that_are_told():
    told = [
        line.removeprefix("Programming Language :: Python :: ")
        for line in PROJECT["project"]["classifiers"]
        if line.startswith("Programming Language :: Python :: 3.")
    ]
    assert PROJECT["project"]["requires-python"] == f">={told[0]}"
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in told


def test_each_accelerator_is_one_that_jax_has_and_cuda_tells_its_driver():
    extras = importlib.metadata.metadata("jax").get_all("Provides-Extra")
    drivers = {"cuda12": "525", "cuda13": "580"}
    image = (support.ROOT / "launch" / "Dockerfile").read_text()
    found = set()
    for place in support.ROOT.glob("requirements-*.txt"):
        text = place.read_text()
        for extra in re.findall(r"^jax\[(\w+)\]", text, re.MULTILINE):
            found.add(extra)
            assert extra in extras
            assert place.name in image
            assert f"drivers from {drivers.get(extra)} on" in text or extra == "tpu"
    assert found == {"tpu", *drivers}


@pytest.mark.slow
def test_an_installed_c3jax_finds_its_pages_from_anywhere(tmp_path):
    target, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    pip += ["--no-build-isolation", f"--target={target}"]
    # A copy, as setuptools leaves what it builds beside the source.
    source = tmp_path / "source"
    kept = "git", "archive", "--format=tar", "HEAD"
    source.mkdir()
    archive = subprocess.run(kept, cwd=support.ROOT, check=True, capture_output=True)
    subprocess.run(["tar", "x", "-C", source], input=archive.stdout, check=True)
    subprocess.run([*pip, source], check=True)
    assert {place.name for place in target.iterdir() if place.is_dir()} == {
        "bin",
        "c3jax",
        next(target.glob("*.dist-info")).name,
    }

    def said(*command):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=elsewhere,
            env=os.environ | {"PYTHONPATH": str(target)},
            capture_output=True,
            text=True,
        )
        return done.stdout + done.stderr

    refused = "c3jax: the config has no field 'nosuch'; it has credit, "
    template, module = (target / "bin" / "c3jax",), ("-m", "c3jax.main")
    named = "from c3jax import main; from absl import flags\n"
    named += "for page in ('code', 'compare:trio', 'math:qwen3_4b'):\n"
    named += "    flags.FLAGS(['c3jax', f'--config={page}'])\n"
    named += "    print(flags.FLAGS.config.name)"
    assert said("-c", named) == "code\ncompare_trio\nmath\n"
    assert said(*module, "--config=math", "--config.nosuch=1").startswith(refused)
    helped = [
        text.partition("flags:")[2]
        for text in (said(*template, "--help"), said(*module, "--help"))
    ]
    assert helped[0] == helped[1] and "--workdir" in helped[0]
    own = elsewhere / "own.py"
    own.write_text("from c3jax.configs.math import get_config\n")
    flags = ("--config=own.py", "--config.nosuch=1")
    assert said(*template, *flags).startswith(refused)
    assert not [*elsewhere.glob("runs")]
