"""Files whole or absent, directories with one writer, checksums."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import platform
import shutil
import time
from collections.abc import Iterator

# The file of checksums, which `sha256sum --check` reads, too.
SUMS = "SHA256SUMS"


def write(path: pathlib.Path, text: str) -> None:
    """Replaces a file's content atomically: readers see the old content or the new."""
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        # A failed write or flush does not name the file.
        error.filename = error.filename or str(path)
        raise


def remove(directory: pathlib.Path) -> None:
    """Deletes a directory, if it is there.

    The directory is renamed first, so a half-deleted one never looks whole.
    """
    doomed = directory.with_name(directory.name + ".deleted")
    shutil.rmtree(doomed, ignore_errors=True)
    if directory.exists():
        directory.rename(doomed)
        shutil.rmtree(doomed)


@contextlib.contextmanager
def locked(directory: pathlib.Path) -> Iterator[None]:
    """Makes the directory and keeps other processes from it until the end, or a kill.

    The file says who has it and since when: a share of NFSv3 keeps the lock of a
    machine that is gone.

    Raises:
        ValueError: another process has it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / ".lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"another process is at work in {directory}{_owner(path)}; wait for "
                "it, stop it, or give --workdir=DIR for another run. If its machine is "
                f"gone for good, remove {path}."
            ) from None
        try:
            file.truncate(0)
            file.write(f"process {os.getpid()} of {platform.node()}")
            file.flush()
        except OSError as error:
            error.filename = str(path)  # A failed write does not name the file.
            raise
        try:
            yield
        finally:
            file.truncate(0)


def _owner(path: pathlib.Path) -> str:
    """Who has a lock, and for how long; "" if it does not say."""
    said, age_s = path.read_text(), time.time() - path.stat().st_mtime
    return f" ({said}, for {age_s / 60:.0f} minutes)" if said else ""


@contextlib.contextmanager
def in_turn(directory: pathlib.Path) -> Iterator[None]:
    """Makes the directory and waits until no other process is in it."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sha256(path: pathlib.Path) -> str:
    """The checksum of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sampled_sha256(path: pathlib.Path) -> str:
    """A checksum of a file's size and, of one above 64 MiB, of 64 KiB in every MiB."""
    size = path.stat().st_size
    if size <= _WHOLE:
        return sha256(path)
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for begin in range(0, size, 1 << 20):
            file.seek(begin)
            digest.update(file.read(1 << 16))
    return digest.hexdigest()


# Bytes of the largest file that is read to its end.
_WHOLE = 1 << 26


def seal(directory: pathlib.Path) -> None:
    """Writes the checksum of every file of a directory beside them."""
    write(directory / SUMS, "".join(_sums(directory)))


def broken(directory: pathlib.Path) -> list[str]:
    """Files of a sealed directory that were changed, lost or added since."""
    path = directory / SUMS
    sealed = path.read_bytes().decode(errors="replace") if path.exists() else ""
    sums = _sums(directory)
    if sealed == "".join(sums):
        return []
    differing = {*sums} ^ {*sealed.splitlines(keepends=True)}
    return sorted({line.strip().partition("  ")[2] for line in differing}) or [SUMS]


def _sums(directory: pathlib.Path) -> list[str]:
    """A line for every file but the checksums themselves, sorted by name."""
    lines = []
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_file() and name != SUMS:
            lines.append(f"{sha256(path)}  {name}\n")
    return lines
