"""Running a program for which `parsl` is this package."""

from __future__ import annotations

import io
import os
import runpy
import sys
import types
from typing import Final

import plait.compat.parsl as _parsl

assert sys.modules["parsl"] is _parsl  # noqa: S101 - importing it has made it so

USAGE: Final = "usage: python -m plait.compat.parsl script.py [arguments]\n       python -m plait.compat.parsl -m module [arguments]"


def main(arguments: list[str]) -> int:
    """Runs what the command line says; returns the exit code."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        (sys.stdout if arguments else sys.stderr).write(USAGE + "\n")
        return 0 if arguments else 2
    if arguments[0] == "-m":
        if len(arguments) < 2:
            sys.stderr.write(USAGE + "\n")
            return 2
        run_module(arguments[1], arguments[2:])
    elif os.path.isfile(arguments[0]):
        run_script(arguments[0], arguments[1:])
    else:
        sys.stderr.write(f"{arguments[0]}: there is no such file\n{USAGE}\n")
        return 2
    return 0


def run_script(path: str, arguments: list[str]) -> None:
    """Runs a file as ``python path arguments`` does."""
    sys.argv = [path, *arguments]
    sys.path[0] = os.path.dirname(os.path.abspath(path))
    # Not `runpy.run_path`: that takes __main__ away again when the script ends, before exit handlers and threads are done with it.
    main = types.ModuleType("__main__")
    main.__file__ = path
    main.__builtins__ = __builtins__  # type: ignore[attr-defined]
    sys.modules["__main__"] = main
    with io.open_code(os.path.abspath(path)) as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    exec(code, main.__dict__)  # noqa: S102 - that is the command


def run_module(name: str, arguments: list[str]) -> None:
    """Runs a module as ``python -m name arguments`` does."""
    sys.argv = [name, *arguments]
    sys.path[0] = os.getcwd()
    runpy.run_module(name, run_name="__main__", alter_sys=True)
