from __future__ import annotations

import pytest

from plait.errors import ConfigurationError
from plait.launchers.command_file import CommandFileLauncher
from tests.unit.launchers.fake import Fake


class Spread(CommandFileLauncher):
    def line(self, tasks_per_node, nodes_per_block):
        return f"spread {tasks_per_node} {nodes_per_block} {self.overrides}"


@pytest.fixture
def fake(tmp_path):
    return Fake(tmp_path, "spread")


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "a folder's"
    folder.mkdir()
    return folder


HARD = """\
x='a b'; echo "$x" `echo c` \\$HOME {} % '
two lines'
cat <<'PLAIT_COMMAND'
  inner $x
PLAIT_COMMAND
cat <<EOF | tr i I
inner $x
EOF
# a comment, and no newline after it"""


def test_the_command_reaches_the_copies_byte_for_byte(fake, files):
    """Quotes, several lines, and here-documents of its own, one of which ends as ours would."""
    done = fake.bash(Spread(debug=False)(HARD, 1, 1, str(files)))
    assert done.stdout == "a b c $HOME {} % \ntwo lines\n  inner $x\nInner a b\n"
    assert (done.returncode, done.stderr) == (0, "")


def test_the_file_is_private_in_the_folder_and_gone_after_it(fake, files):
    seen = fake.bash(Spread(debug=False)('ls "$(dirname "$0")"; echo "$0"', 1, 1, str(files))).stdout.splitlines()
    assert seen[1] == f"{files}/{seen[0]}"
    assert fake.calls[0]["mode"] == 0o600
    assert list(files.iterdir()) == []


def test_without_a_folder_it_is_where_the_job_runs(fake, files):
    """Upstream's programs call launchers without one."""
    done = fake.bash(Spread(debug=False)('dirname "$0"', 1, 1), cwd=files)
    assert done.stdout == f"{files}\n"
    assert list(files.iterdir()) == []


@pytest.mark.parametrize("before", ["", "set -e\n", "set -eu -o pipefail\n"])
def test_the_status_of_the_whole_is_that_of_the_copies(fake, files, before):
    for code in (0, 7):
        done = fake.bash(before + Spread(debug=False)(f"exit {code}", 1, 1, str(files)))
        assert done.returncode == code
        assert list(files.iterdir()) == []


def test_lines_may_follow(fake, files):
    done = fake.bash(Spread(debug=False)("exit 7", 1, 1, str(files)) + 'echo "it was $?"')
    assert done.stdout == "it was 7\n"


def test_a_folder_that_is_missing_ends_the_job(fake, files):
    done = fake.bash(Spread(debug=False)("echo never", 1, 1, f"{files}/none"))
    assert done.returncode != 0
    assert "never" not in done.stdout
    assert "none" in done.stderr


def test_copies_do_not_read_the_job_s_input(fake, files):
    """Which is the script itself where that came through a pipe."""
    fake.bash(Spread(debug=False)("cat", 1, 1, str(files)), stdin="lines that are not theirs")
    assert fake.calls[0]["stdin"] == ""


def test_overrides_are_for_the_shell_to_read(fake, files):
    fake.environment["COUNT"] = "4"
    fake.bash(Spread(debug=False, overrides="--of $COUNT 'a b'")("true", 2, 3, str(files)))
    assert fake.argv() == ["2", "3", "--of", "4", "a b", "/bin/bash", "FILE"]


def test_debug_shows_the_line_as_the_shell_read_it(fake, files):
    fake.environment["COUNT"] = "4"
    assert "+ spread 1 1 --of 4 /bin/bash" in fake.bash(Spread(overrides="--of $COUNT")("", 1, 1, str(files))).stderr
    assert fake.bash(Spread(debug=False)("", 1, 1, str(files))).stderr == ""


@pytest.mark.parametrize(("name", "tasks", "nodes"), [("tasks_per_node", 0, 1), ("nodes_per_block", 1, -1)])
@pytest.mark.parametrize("wrong", [None, True, "2", 1.5])
def test_numbers_are_checked(name, tasks, nodes, wrong):
    with pytest.raises(ConfigurationError, match=rf"Spread: {name}=.*expected a whole number from 1"):
        Spread()("true", tasks, nodes)
    with pytest.raises(ConfigurationError, match=name):
        Spread()("true", wrong if tasks < 1 else 1, wrong if nodes < 1 else 1)


@pytest.mark.parametrize("wrong", [None, ["-c", "4"], "--a\nrm"])
def test_overrides_are_one_line(wrong):
    with pytest.raises(ConfigurationError, match=r"Spread\(overrides="):
        Spread(overrides=wrong)
