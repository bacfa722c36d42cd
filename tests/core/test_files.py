import errno
import subprocess
import sys
import threading
import time

import pytest

from c3jax.core import files


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "page"
    files.write(path, "old")
    with pytest.raises(UnicodeEncodeError):
        files.write(path, "new \ud800")
    assert path.read_text() == "old"
    files.write(path, "new")
    assert path.read_text() == "new"


def test_what_could_not_be_written_is_named(tmp_path):
    # Every write to /dev/full fails as on a full disk.
    (tmp_path / "page.unfinished").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        files.write(tmp_path / "page", "text")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_any_changed_lost_or_added_file_breaks_the_seal(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a").write_bytes(bytes(range(256)))
    (tmp_path / "b").write_text("b")
    files.seal(tmp_path)
    assert files.broken(tmp_path) == []
    subprocess.run(
        ["sha256sum", "--check", "--quiet", files.SUMS], cwd=tmp_path, check=True
    )
    for path in ("deep/a", "b", files.SUMS):
        whole = (tmp_path / path).read_bytes()
        for at in range(0, len(whole), 7):
            flipped = bytearray(whole)
            flipped[at] ^= 1
            (tmp_path / path).write_bytes(flipped)
            assert files.broken(tmp_path), (path, at)
        (tmp_path / path).write_bytes(whole)
    (tmp_path / "b").unlink()
    assert files.broken(tmp_path) == ["b"]
    (tmp_path / "b").write_text("b")
    (tmp_path / "c").write_text("c")
    assert files.broken(tmp_path) == ["c"]
    assert files.broken(tmp_path / "deep") == ["a"]


def test_a_directory_has_one_writer_until_it_is_killed(tmp_path):
    hold = (
        "import pathlib, sys, time; from c3jax.core import files\n"
        "with files.locked(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True); time.sleep(600)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE
    )
    try:
        other.stdout.readline()
        with (
            pytest.raises(
                ValueError,
                match=rf"at work in .* \(process {other.pid} of .*, for 0 minutes\)",
            ),
            files.locked(tmp_path),
        ):
            pass
    finally:
        other.kill()
        other.wait()
    with files.locked(tmp_path):
        pass


def test_one_waits_for_the_other_and_they_take_turns(tmp_path):
    said = []

    def wait():
        with files.in_turn(tmp_path / "made"):
            said.append("second")

    with files.in_turn(tmp_path / "made"):
        other = threading.Thread(target=wait)
        other.start()
        time.sleep(0.1)
        said.append("first")
    other.join()
    assert said == ["first", "second"]
