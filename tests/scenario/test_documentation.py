"""The programs in the documentation run, and print what their comments say.

All ```python blocks of a page are one program, as a reader would put them together. Where a block prints, the comment after it is the
output: `print(future.result())  # 49`. Fragments that cannot run by themselves are ```py blocks.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TIMEOUT_S = 60


def program(page: Path) -> str:
    """The page's code, without the rest."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))


def expected(code: str) -> list[str]:
    """What the comments behind `print` promise, in order; remarks after a comma are for the reader."""
    return re.findall(r"^ *print\(.*\)  # (.*)$", code, re.MULTILINE)


@pytest.mark.parametrize("page", [p for p in PAGES if program(p)], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_page_runs(page, tmp_path):
    code = program(page)
    script = tmp_path / "page.py"
    script.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = iter(done.stdout.splitlines())
    missing = [line for line in expected(code) if not any(agrees(line, out) for out in printed)]
    assert missing == [], f"not printed, or not in this order:\n{done.stdout}\n{done.stderr}"


def agrees(comment: str, out: str) -> bool:
    """`328350, on all cores` agrees with `328350`."""
    return out == comment or comment.startswith(f"{out}, ")


def test_there_are_programs():
    assert sum(bool(program(p)) for p in PAGES) >= 5
    assert expected("print(f(1))  # 49\nprint('x')") == ["49"]
