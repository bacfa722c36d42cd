"""Audits the logs of any system: from a file of contexts to figures and a page."""

import json
import pathlib
import platform
from importlib import metadata

import c3jax
from c3jax.audit import buckets, figures
from c3jax.audit.figures import Audit
from c3jax.configs import audit as audit_page
from c3jax.core import files
from c3jax.report import audit_section, explorer, plots, words
from c3jax.train import run_dir

PAGE, PICTURES = "audit.html", "audit"
_MOST_ERRORS = 20  # errors shown for a file whose lines are all malformed


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
    # Sizes and methods belong to the audit of a run.
    default, given = audit_page.get_config().audit, config.audit
    for name in default:
        if name != "buckets" and name in given and given[name] != default[name]:
            raise ValueError(
                f"--config.audit.{name}={given[name]} is of the audit of a run; logs "
                "are audited as they are, so leave it out."
            )

    source = pathlib.Path(config.audit.buckets)
    contexts, wrong = _read(source)
    with files.locked(directory):
        claim(directory, config)
        audited = Audit(str(source), figures.of(contexts))
        figures.write(directory, audited)
        text = plots.template(PAGE).render(
            source=audited.source,
            contexts=audited.contexts,
            messages=sum(role.messages for role in audited.roles),
            roles=audited.roles,
            wrong=wrong,
            figures_found=audit_section.section(audited.roles, directory / PICTURES),
            trees=explorer.of_buckets(contexts),
        )
        files.write(directory / PAGE, text)
    return audited, wrong


def _read(source: pathlib.Path) -> tuple[list[buckets.Bucket], list[str]]:
    flag = f"--config.audit.buckets={source}"
    if not source.exists():
        raise ValueError(f"{flag}: there is no such file.")
    if not source.is_file():
        raise ValueError(f"{flag} is no file; wanted one with a JSON object a line.")
    contexts, wrong = buckets.read(source)
    wrong = [words.printable(line) for line in wrong]
    if not contexts:
        lines = "\n".join(wrong[:_MOST_ERRORS]) or "It is empty."
        raise ValueError(f"{flag}: no line of it is a context.\n{lines}")
    return contexts, wrong


def claim(directory: pathlib.Path, config) -> None:
    """Notes the file that is audited here; the same one may be audited again."""
    path = directory / run_dir.CONFIG
    if path.exists():
        saved = json.loads(path.read_text())["config"]
        name = saved.get("audit", {}).get("buckets") or saved.get("name")
        if name != config.audit.buckets:
            raise ValueError(
                f"{directory} holds another experiment, of {name}; give --workdir=DIR "
                "for this audit."
            )
    else:
        names = sorted({file.name for file in directory.iterdir()} - {".lock"})
        if names:
            raise ValueError(
                f"{directory} is not empty: {', '.join(names[:3])}; give "
                "--workdir=DIR, a new one, for this audit."
            )
    versions = {"python": platform.python_version(), "c3jax": c3jax.__version__}
    versions |= {name: metadata.version(name) for name in ("numpy", "scipy")}
    page = {"config": config.to_dict(), "environments": [{"versions": versions}]}
    files.write(path, json.dumps(page, indent=2) + "\n")
