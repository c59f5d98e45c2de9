"""Commands end in time, say no more than they may, and never meet a shell; files are private."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import time

import pytest

from plait._util import procs
from plait.providers.shell import CommandFailed, LocalShell, last_line
from tests.support import wait_until

HERE = LocalShell()


def python(body, **options):
    return HERE.run([sys.executable, "-c", body], **{"timeout_s": 20.0, **options})


def test_what_it_wrote_and_how_it_ended():
    ended = python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    assert (ended.code, ended.out, ended.err) == (3, "out\n", "err\n")
    with pytest.raises(CommandFailed, match=r": exit code 3: err$") as info:
        ended.check()
    assert (info.value.code, info.value.out, info.value.err) == (3, "out\n", "err\n")


def test_it_reads_what_it_is_given():
    text = "x" * 300_000  # more than a pipe holds
    assert python("import sys; print(len(sys.stdin.read()))", stdin=text).check() == "300000\n"


def test_one_that_does_not_read_is_no_failure():
    assert python("import os; os.close(0); print('done')", stdin="x" * 300_000).check() == "done\n"


def test_words_are_words(tmp_path):
    words = ["; touch canary", "$(touch canary)", "a b", "'"]
    assert HERE.run(["printf", "%s|", *words], timeout_s=10).out == "; touch canary|$(touch canary)|a b|'|"
    assert not (tmp_path / "canary").exists()


def test_variables_are_added(monkeypatch):
    monkeypatch.setenv("KEPT", "1")
    assert python("import os; print(os.environ['KEPT'], os.environ['NEW'])", env={"NEW": "2"}).out == "1 2\n"


def test_one_that_is_not_there():
    with pytest.raises(CommandFailed, match="no-such-command: it cannot be started: No such file") as info:
        HERE.run(["no-such-command"], timeout_s=1)
    assert info.value.code is None


def test_one_that_does_not_end_is_ended_with_what_it_started(tmp_path):
    body = "sleep 1000 & echo $! > child; echo said; wait"
    with pytest.raises(CommandFailed, match=r"it did not end within 0\.3 s: said") as info:
        HERE.run(["bash", "-c", body], timeout_s=0.3)
    assert (info.value.code, info.value.out) == (None, "said\n")
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not procs.is_alive(child))


def test_one_that_closes_its_output_and_goes_on_is_ended_too():
    with pytest.raises(CommandFailed, match=r"did not end within 0\.3 s"):
        HERE.run(["bash", "-c", "exec >&- 2>&-; sleep 1000"], timeout_s=0.3)


def test_one_that_talks_without_end():
    began_s = time.monotonic()
    with pytest.raises(CommandFailed, match="more than 100000 bytes") as info:
        HERE.run(["yes"], timeout_s=60, max_bytes=100_000)
    assert len(info.value.out) < 300_000
    assert time.monotonic() - began_s < 30


def test_no_file_is_needed_once_it_has_begun(monkeypatch):
    """A submission would be made, and nobody would know its job."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    begin = subprocess.Popen

    def popen(*words, **options):
        process = begin(*words, **options)
        next_one = os.dup(process.stdout.fileno())
        os.close(next_one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, hard))
        return process

    monkeypatch.setattr(subprocess, "Popen", popen)
    try:
        assert LocalShell().run(["sh", "-c", "echo 12.server"], timeout_s=10).out == "12.server\n"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_bytes_that_are_no_text():
    assert HERE.run(["printf", r"\377\000x"], timeout_s=10).out == "\ufffd\0x"


def test_a_signal_has_its_name():
    with pytest.raises(CommandFailed, match="ended by SIGKILL"):
        python(f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})").check()


def test_files_are_private_and_replaced_whole(tmp_path):
    folder = tmp_path / "a" / "b"
    HERE.make_folder(str(folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    path = folder / "script.sh"
    for text in ("one", "two"):
        HERE.write(str(path), text, executable=True)
        assert path.read_text() == text
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    HERE.write(str(path), "three")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(folder) == ["script.sh"]
    HERE.remove(str(path), str(folder / "never"))
    assert os.listdir(folder) == []


def test_a_link_that_lies_in_the_way_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "script.sh.new").symlink_to(tmp_path / "precious")
    HERE.write(str(tmp_path / "script.sh"), "text")
    assert (tmp_path / "precious").read_text() == "kept"


def test_bytes_that_are_no_text_stay_what_they_are(tmp_path):
    """As names of files may have them."""
    name = os.fsdecode(b"caf\xe9")
    path = str(tmp_path / "script")
    LocalShell().write(path, f"cat {name}\n")
    assert (tmp_path / "script").read_bytes() == b"cat caf\xe9\n"
    assert LocalShell().run(["wc", "-c"], timeout_s=10, stdin=name).out == "4\n"


def test_the_end_of_a_file(tmp_path):
    (tmp_path / "file").write_text("0123456789")
    assert HERE.read(str(tmp_path / "file"), 4) == "6789"
    assert HERE.read(str(tmp_path / "file")) == "0123456789"
    assert HERE.read(str(tmp_path / "none")) is None
    assert HERE.folder("/x") == "/x"


def test_the_last_line_that_says_something():
    assert last_line("a\n  b  \n\n \n") == "b"
    assert last_line("") == ""
    assert len(last_line("x" * 10_000)) < 500
