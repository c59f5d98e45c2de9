"""``plait run``: a script as Python itself would run it, with progress, a closing line, and a report if one is wanted.

The script runs in this process and thread as ``__main__``, which stays in place until the very end: exit handlers and threads of the script
find their module. Kernels end as they do without this command: in ``with`` blocks or at exit. The report is written after that.
"""

from __future__ import annotations

import atexit
import copy
import importlib
import io
import os
import sys
import threading
import types
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from plait._util.trust import untrusted
from plait.cli.main import EXCEPTHOOK, FAILED, INTERRUPTED
from plait.cli.tracebacks import print_error, where_in
from plait.errors import ConfigurationError
from plait.limits import INTERRUPT_EXIT_S

if TYPE_CHECKING:
    from plait.kernel.lifecycle import Lifecycle

#: Of the time to leave after Ctrl-C, what is kept for leaving itself.
_LAST_S: Final = 0.7
#: The configuration of a folder, for scripts that say none of their own.
FILE: Final = "plait.toml"


@dataclass(frozen=True)
class Plan:
    """What was asked for on the command line.

    Attributes:
        script: path of the program, or of a folder with a ``__main__.py``.
        args: what it gets as arguments.
        as_parsl: whether ``import parsl`` is to give plait.
        run_dir: where runs put their folders; None to leave that to the script.
        progress: whether to show progress; None to show it unless the script says no.
        report: HTML file to write; None for none.
        config: file that says how the run is to be done; None for `FILE` of the current folder, if there is one.
        use_file: whether to look for that.
    """

    script: str
    args: tuple[str, ...] = ()
    as_parsl: bool = False
    run_dir: str | None = None
    progress: bool | None = None
    report: str | None = None
    config: str | None = None
    use_file: bool = True


def run_script(plan: Plan) -> None:
    """Runs it. Returns when it ended well, and leaves by SystemExit otherwise.

    Raises:
        ConfigurationError: the script or the place of the report is not there, or the configuration is wrong.
    """
    path, code = _load(plan.script)
    if plan.report is not None:
        _check_writable(plan.report)
    kernels: list[Lifecycle] = []
    _follow_kernels(plan, kernels)
    if plan.as_parsl:
        importlib.import_module("plait.compat.parsl")  # like a library of the user's: importing it is all that it takes
    if plan.report is not None:
        # First registered, last called: after the kernels ended.
        atexit.register(_write_report, kernels, os.path.abspath(plan.report), os.getpid())
    module = _become_main(path, plan)
    _configure(plan)
    sys.excepthook = EXCEPTHOOK
    try:
        exec(code, module.__dict__)  # noqa: S102 - running the user's program is what was asked for
    except KeyboardInterrupt as error:
        _leave_on_interrupt(kernels, where_in(path, error.__traceback__))
    except Exception as error:  # noqa: BLE001 - boundary of the program
        print_error(error)
        if isinstance(error, ModuleNotFoundError) and error.name == "parsl":
            print(f"plait: `plait run --as-parsl {plan.script}` gives plait for it", file=sys.stderr)
        raise SystemExit(FAILED) from None


def _load(script: str) -> tuple[str, types.CodeType]:
    path = os.path.abspath(script)
    if os.path.isdir(path):
        path = os.path.join(path, "__main__.py")
        if not os.path.exists(path):
            raise ConfigurationError(f"run {script}: this folder has no __main__.py; give the path of a Python program")
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        if script.startswith("-") and script != "-":
            raise ConfigurationError(f"run {script}: there is no such option; `plait run --help` lists them") from None
        raise ConfigurationError(
            f"run {script}: it cannot be read ({error.strerror}); give the path of a Python program"
        ) from error
    try:
        return path, compile(source, path, "exec")
    except (SyntaxError, ValueError) as error:
        print_error(error.with_traceback(None))
        raise SystemExit(FAILED) from None


def _check_writable(report: str) -> None:
    folder = os.path.dirname(os.path.abspath(report))
    if not os.path.isdir(folder) or os.path.isdir(report):
        raise ConfigurationError(
            f"--report {report}: the report cannot be written there; name a file in a folder that exists"
        )


def _become_main(path: str, plan: Plan) -> types.ModuleType:
    """This process looks to the script as if Python had been started with it."""
    from importlib.machinery import SourceFileLoader

    module = types.ModuleType("__main__")
    module.__dict__.update(
        __builtins__=__builtins__,
        __file__=path,
        __spec__=None,
        __loader__=SourceFileLoader("__main__", path),
        __annotations__={},
    )
    sys.modules["__main__"] = module
    sys.argv[:] = [plan.script, *plan.args]
    if not getattr(sys.flags, "safe_path", False) and sys.path:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    return module


def _configure(plan: Plan) -> None:
    """A script that says no configuration of its own gets that of a file."""
    from plait.kernel.loader import DataFlowKernelLoader

    if plan.config is not None:
        from plait.config import Config

        name = plan.config
        path = _existing(name)
        Config.from_toml(path)  # what is wrong in it is said before the script does anything
        DataFlowKernelLoader.default = lambda: Config.from_toml(path)
        DataFlowKernelLoader.only_default = f"--config {name}: the script loads a configuration of its own; let it call plait.load() without one, or leave --config away"
    elif plan.use_file and os.path.isfile(FILE):
        why = untrusted(FILE) or untrusted(os.curdir)
        if why:
            print(f"plait: {FILE} of this folder is not used: {why}; name it with --config to use it", file=sys.stderr)
        else:
            DataFlowKernelLoader.default = partial(_found, os.path.abspath(FILE))


def _existing(name: str) -> str:
    if not os.path.isfile(name):
        raise ConfigurationError(f"--config {name}: there is no such file; `plait init` writes one")
    return os.path.abspath(name)  # the script may go to another folder


def _found(path: str) -> Any:
    """The configuration of this folder, when a script wants one."""
    from plait.config import Config

    print(f"plait: configuration from {path} (--no-config leaves it out)", file=sys.stderr)
    return Config.from_toml(path)


def _follow_kernels(plan: Plan, kernels: list[Lifecycle]) -> None:
    """Every kernel that the script loads gets what the command line says, and is remembered."""
    from plait.kernel import lifecycle

    def prepare(kernel: Any) -> None:
        config = kernel.config = copy.copy(kernel.config)
        if plan.run_dir is not None:
            config.run_dir = plan.run_dir
        if plan.progress is not None:
            config.progress = plan.progress
        elif config.progress is None:
            config.progress = True
        kernels.append(kernel)

    lifecycle.before_start.append(prepare)


def _leave_on_interrupt(kernels: list[Lifecycle], where: str) -> None:
    """Cancels, reports and leaves, within its time whatever happens."""
    watchdog = threading.Timer(INTERRUPT_EXIT_S - _LAST_S / 2, _leave_now)
    watchdog.daemon = True
    watchdog.start()
    print(f"plait: interrupted{f' at {where}' if where else ''}; cancelling what is unfinished", file=sys.stderr)
    try:
        for kernel in reversed(kernels):
            kernel.cleanup(INTERRUPT_EXIT_S - _LAST_S)
    except KeyboardInterrupt:
        _leave_now()
    raise SystemExit(INTERRUPTED)


def _leave_now() -> None:
    """Without exit handlers and without waiting for threads: what had to be ended has been, or cannot be."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(INTERRUPTED)


def _write_report(kernels: list[Lifecycle], report: str, pid: int) -> None:
    if os.getpid() != pid:
        return  # a process that the script forked ends; the run goes on
    from plait.monitoring.report import write_report

    journaled = [kernel for kernel in kernels if kernel.config.initialize_logging]
    if not journaled:
        why = "its run keeps no journal (initialize_logging=False)" if kernels else "the script loaded no kernel"
        print(f"plait: no report: {why}", file=sys.stderr)
        return
    for number, kernel in enumerate(journaled):
        base, suffix = os.path.splitext(report)
        path = report if number == 0 else f"{base}-{number + 1}{suffix}"
        try:
            write_report(kernel.run_dir, path)
        except OSError as error:
            print(f"plait: the report could not be written: {error}", file=sys.stderr)
            return
        print(f"plait: report in {path}", file=sys.stderr)
