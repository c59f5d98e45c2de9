"""A file imports only from rooms with a smaller number, and from its own folder. The table is the one in ARCHITECTURE.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.architecture.source import files, imports, relative
from tests.support import ROOT, SRC

if TYPE_CHECKING:
    from pathlib import Path

PORTS = "*/base.py"


def table() -> dict[str, int]:
    """Room -> number, as ARCHITECTURE.md has it: `executors/` -> 4, `futures.py` -> 1."""
    rooms: dict[str, int] = {}
    for row in re.finditer(
        r"^\| (\d+) \| (.+?) \|", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), re.MULTILINE
    ):
        for room in re.findall(r"`(.+?)`", row[2]):
            assert room not in rooms, f"ARCHITECTURE.md has {room} in two rows"
            rooms[room] = int(row[1])
    return rooms


ROOMS = table()


def room_of(path: str) -> str:
    """The room of a file: `executors/pool/core.py` -> `executors/`, `executors/base.py` -> `*/base.py`, `config.py` -> itself."""
    first, _, rest = path.partition("/")
    if not rest:
        return first
    return PORTS if rest == "base.py" else f"{first}/"


def target(module: str, src: Path) -> str:
    """The path of a module: `plait.executors.pool` -> `executors/pool/__init__.py`."""
    path = src.joinpath(*module.split(".")[1:])
    return relative(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"), src)


def allowed(importer: str, imported: str) -> bool:
    """The rule."""
    here, there = room_of(importer), room_of(imported)
    if ROOMS[there] < ROOMS[here] or importer == imported:
        return True
    if ROOMS[there] != ROOMS[here] or there == PORTS:
        return False
    # Of equal number: the same room, or a room that lies in the importer's own folder, which for a single file is `plait/`.
    # The rooms at the very bottom are one room.
    return here == there or here.endswith(".py") or ROOMS[here] == 0


def violations(src: Path) -> list[str]:
    """One line for each import that goes up, or sideways into another room."""
    found = []
    for file in files(src):
        importer = relative(file, src)
        for each in imports(file, src):
            imported = target(each.module, src)
            if not allowed(importer, imported):
                here, there = room_of(importer), room_of(imported)
                found.append(
                    f"{importer}:{each.line} imports {each.module}: room {there} has number {ROOMS[there]}, {here} has {ROOMS[here]}"
                )
    return found


def test_every_file_is_in_a_room_of_the_table():
    rooms = {room_of(relative(file, SRC)) for file in files(SRC)}
    assert rooms, "no source found"
    assert rooms - ROOMS.keys() == set(), "put the new room into the table of ARCHITECTURE.md"


def test_imports_go_down():
    assert violations(SRC) == []


@pytest.mark.parametrize(
    ("importer", "text", "line"),
    [
        ("model/task.py", "from plait.kernel import Kernel", 1),
        ("model/task.py", "import plait.executors.pool", 1),
        ("model/task.py", "def f():\n    from plait import kernel", 2),
        ("model/task.py", "from .. import kernel", 1),
        ("model/task.py", "from plait import python_app", 1),
        ("model/task.py", "from typing import TYPE_CHECKING\nif not TYPE_CHECKING:\n    import plait.kernel", 3),
        ("model/task.py", "if TYPE_CHECKING:\n    pass\nelse:\n    import plait.kernel", 4),
        ("model/task.py", "from plait import futures", 1),
        ("executors/base.py", "import plait.executors.threads", 1),
        ("executors/base.py", "from plait.monitoring import base", 1),
        ("executors/threads.py", "import plait.monitoring.journal", 1),
        ("executors/threads.py", "import plait.config", 1),
    ],
)
def test_the_rule_finds(tmp_path, importer, text, line):
    src = house(tmp_path)
    (src / importer).write_text(text)
    (found,) = violations(src)
    assert found.startswith(f"{importer}:{line} imports plait")


@pytest.mark.parametrize(
    ("importer", "text"),
    [
        ("kernel/loader.py", "import plait.executors.threads, plait.config\nfrom plait.kernel import kernel"),
        ("config.py", "from plait.executors.threads import x"),
        (
            "executors/threads.py",
            "from plait.executors import base, pool\nfrom plait.monitoring.base import Sink\nimport os",
        ),
        ("executors/pool/__init__.py", "from ...futures import AppFuture\nfrom ..threads import x"),
        ("model/task.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from plait.kernel import Kernel"),
        ("futures.py", "from plait.model.task import Task"),
        ("cli/main.py", "from plait import python_app\nimport plait"),
        ("_util/procs.py", "from plait.limits import GRACE_S"),
    ],
)
def test_the_rule_lets_pass(tmp_path, importer, text):
    src = house(tmp_path)
    (src / importer).write_text(text)
    assert violations(src) == []


def house(folder: Path) -> Path:
    """A small package with some of the rooms, to try the rule on."""
    src = folder / "plait"
    for path in (
        "__init__.py", "kernel/__init__.py", "kernel/kernel.py", "kernel/loader.py", "config.py", "futures.py", "model/__init__.py", "model/task.py", "executors/__init__.py",
        "executors/base.py", "executors/threads.py", "executors/pool/__init__.py", "monitoring/base.py", "monitoring/journal.py",
        "cli/main.py", "_util/procs.py", "limits.py",
    ):  # fmt: skip
        (src / path).parent.mkdir(parents=True, exist_ok=True)
        (src / path).touch()
    return src
