"""Audits the logs of any system: from a file of contexts to figures and a page."""

import json
import pathlib
import platform
from importlib import metadata

import c3jax
from c3jax.audit import buckets, explorer, figures, figures_page, pictures, words
from c3jax.audit.figures import Audit
from c3jax.configs import audit as audit_page
from c3jax.core import files
from c3jax.train import workdir

PAGE, PICTURES = "audit.html", "audit"
_TOLD = 20  # malformed lines of a file that has no others


def audit(config, directory: pathlib.Path) -> tuple[Audit, list[str]]:
    """Makes `audit.json`, `audit.html` and `audit/` of the file in `audit.buckets`.

    Args:
        config: the page `c3jax.configs.audit`.
        directory: the audit's own; made if it is not there.

    Returns:
        The figures, and an error for each line that was left out.

    Raises:
        ValueError: there is nothing to read, or the directory is another experiment's.
    """
    default, given = audit_page.get_config().audit, config.audit
    for name in default:
        if name != "buckets" and name in given and given[name] != default[name]:
            raise ValueError(
                f"--config.audit.{name}={given[name]} is of the audit of a run; logs "
                "are audited as they are, so leave it out."
            )
    source = pathlib.Path(config.audit.buckets)
    some, wrong = _read(source)
    with files.locked(directory):
        _claim(directory, config)
        found = Audit(str(source), figures.of(some))
        figures.write(directory, found)
        text = pictures.template(PAGE).render(
            source=found.source,
            contexts=found.contexts,
            messages=sum(role.messages for role in found.roles),
            roles=found.roles,
            wrong=wrong,
            figures_found=figures_page.section(found.roles, directory / PICTURES),
            trees=explorer.of_buckets(some),
        )
        files.write(directory / PAGE, text)
    return found, wrong


def _read(source: pathlib.Path) -> tuple[list[buckets.Bucket], list[str]]:
    flag = f"--config.audit.buckets={source}"
    if not source.exists():
        raise ValueError(f"{flag}: there is no such file.")
    if not source.is_file():
        raise ValueError(f"{flag} is no file; wanted one with a JSON object a line.")
    found, wrong = buckets.read(source)
    wrong = [words.printable(line) for line in wrong]
    if not found:
        lines = "\n".join(wrong[:_TOLD]) or "It is empty."
        raise ValueError(f"{flag}: no line of it is a context.\n{lines}")
    return found, wrong


def _claim(directory: pathlib.Path, config) -> None:
    """Notes the file that is audited here; the same one may be audited again."""
    path = directory / workdir.CONFIG
    if path.exists():
        there = json.loads(path.read_text())["config"]
        held = there.get("audit", {}).get("buckets") or there.get("name")
        if held != config.audit.buckets:
            raise ValueError(
                f"{directory} holds another experiment, of {held}; give --workdir=DIR "
                "for this audit."
            )
    elif taken := sorted(
        each.name for each in directory.iterdir() if each.name != ".lock"
    ):
        raise ValueError(
            f"{directory} is not empty: {', '.join(taken[:3])}; give --workdir=DIR, a "
            "new one, for this audit."
        )
    versions = {"python": platform.python_version(), "c3jax": c3jax.__version__}
    versions |= {name: metadata.version(name) for name in ("numpy", "scipy")}
    page = {"config": config.to_dict(), "environments": [{"versions": versions}]}
    files.write(path, json.dumps(page, indent=2) + "\n")
