"""The connection with a client that plays its part. The real one: tests/cluster/test_ssh_hosts.py."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import threading

import pytest

from plait.errors import ConfigurationError
from plait.providers import ssh_connection
from plait.providers.shell import CommandFailed
from plait.providers.ssh_connection import Connection, checked_host, checked_options
from tests.support import wait_until

CLIENT = """\
#!/bin/bash
echo "$(printf '%q ' "$@")" >> {folder}/calls
if [[ " $* " == *" -M "* ]]; then
    if [ -e {folder}/refuse ]; then cat {folder}/refuse >&2; exit 255; fi
    echo "Welcome to the cluster"
    echo "plait-is-up $RANDOM"
    exec cat > /dev/null
elif [[ " $* " == *" -O forward "* ]]; then
    [ -e {folder}/taken ] && {{ echo "remote port forwarding failed" >&2; exit 255; }}
    echo 40123
else
    exec /bin/sh -c "${{!#}}"
fi
"""


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A folder with a client on PATH, which writes down how it was called."""
    folder = tmp_path / "client"
    folder.mkdir()
    (folder / "ssh").write_text(CLIENT.format(folder=shlex.quote(str(folder))))
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def connect(client):
    made = []

    def connect(host="login", **parameters):
        made.append(Connection(host, **{"ask": False, **parameters}))
        return made[-1]

    yield connect
    for connection in made:
        connection.close()


def calls(client):
    return [shlex.split(line) for line in (client / "calls").read_text().splitlines()]


def lose(connection):
    os.kill(connection._master.pid, signal.SIGKILL)
    wait_until(lambda: not connection.is_up)


# ------------------------------------------------------------------ names
@pytest.mark.parametrize("host", ["login", "me@login.example.org", "10.0.0.1", "fe80::1%eth0", "_x-1", "a_b@c"])
def test_hosts(host):
    assert checked_host("SSHProvider", "host", host) == host


@pytest.mark.parametrize(
    "host",
    [
        "-oProxyCommand=touch canary", "-F/tmp/x", "--", "", "@host", "me@", "me@-oProxyCommand=x", "-l@host", "a b", "a\nb", "a;b", "$(touch canary)", "`x`",
        "a/b", "a'b", 'a"b', "a|b", "a&b", "ssh://host", "ü", "a@b@c", "x" * 256, None, 5,
    ],
)  # fmt: skip
def test_hostile_hosts_are_refused(host):
    """S19."""
    with pytest.raises(ConfigurationError, match=r"SSHProvider\(host="):
        checked_host("SSHProvider", "host", host)
    with pytest.raises(ConfigurationError):
        Connection(host)


@pytest.mark.parametrize(
    "options",
    [["-F x"], ["Port"], ["Port=22\nProxyCommand=x"], "Port=22", 22, ["ProxyCommand=x"], ["proxycommand=x"], ["LocalCommand=x"], ["PermitLocalCommand=yes"],
     ["KnownHostsCommand=x"], [5]],
)  # fmt: skip
def test_hostile_options_are_refused(options):
    with pytest.raises(ConfigurationError, match="options="):
        checked_options("SSHProvider", options)


def test_options():
    assert checked_options("x", ["Port=2222", "IdentityFile=~/.ssh/a b"]) == ("Port=2222", "IdentityFile=~/.ssh/a b")


# ------------------------------------------------------------------ commands
def test_commands_go_over_one_connection_that_is_made_when_it_is_needed(client, connect):
    connection = connect(options=["Port=2222"], ssh_config="/etc/my config")
    assert not (client / "calls").exists()
    done = connection.run("echo out; cat; echo err >&2; exit 3", timeout_s=10, stdin="in\n")
    assert (done.code, done.out, done.err) == (3, "out\nin\n", "err\n")
    connection.run("true", timeout_s=10)
    master, first, second = calls(client)
    socket = master[master.index("-S") + 1]
    assert first[first.index("-S") + 1] == second[second.index("-S") + 1] == socket
    for call in (master, first, second):
        assert call[:2] == ["-F", "/etc/my config"]
        assert call[-3:-1] == ["--", "login"]
        assert call.index("Port=2222") < call.index("ConnectTimeout=15")  # of two the first counts
        assert "ForwardAgent=no" in call
        assert "RemoteCommand=none" in call
    assert "ProxyCommand=false" in first  # it never connects by itself
    assert os.stat(os.path.dirname(socket)).st_mode & 0o777 == 0o700
    connection.close()
    assert not os.path.exists(os.path.dirname(socket))


def test_only_the_first_connection_asks(client, connect):
    connection = connect(ask=True)
    connection.up()
    lose(connection)
    connection.up()
    first, second = calls(client)
    assert "BatchMode=yes" not in first
    assert "BatchMode=yes" in second


def test_a_time_out_is_told_as_such(connect):
    with pytest.raises(CommandFailed, match=r"squeue: on login: it did not end within 0.2 s") as info:
        connect().run("sleep 60", timeout_s=0.2, argv=["squeue"])
    assert info.value.code is None


def test_exit_code_255_is_an_answer_unless_the_connection_is_gone(connect):
    connection = connect()
    assert connection.run("exit 255", timeout_s=10).code == 255
    pid = connection._master.pid
    with pytest.raises(CommandFailed, match="the connection to login broke") as info:
        connection.run(
            f"kill -9 {pid}; while kill -0 {pid} 2>/dev/null && ! grep -q ' Z ' /proc/{pid}/stat; do :; done; exit 255",
            timeout_s=10,
        )
    assert info.value.code is None


def test_what_cannot_be_reached_says_why_and_is_not_tried_at_once_again(client, connect):
    (client / "refuse").write_text("me@login: Permission denied (publickey).\n")
    connection = connect()
    for _ in range(3):
        with pytest.raises(CommandFailed, match=r"Permission denied \(publickey\)"):
            connection.run("true", timeout_s=10)
    assert len(calls(client)) == 1
    (client / "refuse").unlink()
    connection._retry_s = 0.0  # the time has come
    assert connection.run("true", timeout_s=10).code == 0


def test_there_is_no_client(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    connection = Connection("login", ask=False)
    with pytest.raises(CommandFailed, match="ssh cannot be started"):
        connection.up()
    connection.close()


# ------------------------------------------------------------------ ways back
def test_where_no_file_can_be_had_there_is_no_connection(monkeypatch):
    """And not an end of whoever asks: a submission whose answer is lost is looked for over it."""

    def none(prefix):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(ssh_connection, "private_temp_dir", none)
    with pytest.raises(CommandFailed, match="no connection can be made here: .*Too many open files") as info:
        Connection("near").run("true", timeout_s=5)
    assert info.value.code is None


def test_ports_come_back_with_the_connection(client, connect):
    connection = connect()
    assert connection.forward("127.0.0.1", 54000) == 40123
    assert connection.forward("127.0.0.1", 54000) == 40123
    peer = connection._peer
    lose(connection)
    connection.up()
    words = calls(client)
    forwards = [call[call.index("-R") + 1] for call in words if "-R" in call]
    assert forwards == ["127.0.0.1:0:127.0.0.1:54000", "127.0.0.1:40123:127.0.0.1:54000"]
    assert any(call[-1].startswith(f"kill {peer} ") for call in words)  # what may still hold the port
    assert all("ClearAllForwardings=yes" not in call for call in words if "-R" in call)


def test_a_port_that_is_not_lent(client, connect):
    (client / "taken").touch()
    with pytest.raises(CommandFailed, match="AllowTcpForwarding") as info:
        connect().forward("::1", 54000, 21000)
    assert info.value.code == 255
    assert "127.0.0.1:21000:[::1]:54000" in info.value.argv


def test_what_is_closed_stays_so_until_it_is_opened(connect):
    connection = connect()
    connection.up()
    connection.close()
    with pytest.raises(CommandFailed, match="was closed"):
        connection.run("true", timeout_s=10)
    connection.close()
    connection.open()
    assert connection.run("echo again", timeout_s=10).out == "again\n"


def test_closing_ends_a_log_in_that_is_under_way(client, connect):
    """By another thread, which nobody waits for any more."""
    (client / "ssh").write_text("#!/bin/bash\nexec sleep 600\n")
    connection, said = connect(), []

    def dial():
        try:
            connection.up()
        except CommandFailed as error:
            said.append(error.why)

    thread = threading.Thread(target=dial)
    thread.start()
    wait_until(lambda: connection._master is not None)
    connection.close()
    thread.join(10)
    assert said
    assert connection._master is None
