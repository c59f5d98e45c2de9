"""The public API as a user's editor sees it. Nothing here runs: mypy and basedpyright, both strict, read it (`make types`).

`assert_type` holds a type. A line that must be refused carries an ignore; mypy complains about an ignore that nothing needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from typing_extensions import assert_type

import plait
from plait import App, AppFuture, Config, DataFuture, File, Retry


# ------------------------------------------------------------------ an app keeps the signature of its function
@plait.python_app
def double(x: int, *, times: int = 1) -> int:
    return 2 * x * times


@plait.python_app(cores=2, memory="4GB", walltime="10m", retries=Retry(3, on=(OSError,)))
def name_of(path: Path) -> str:
    return path.name


@plait.python_app()
def nothing() -> None: ...


future = double(1)
assert_type(future, AppFuture[int])
assert_type(future.result(), int)
assert_type(future.result(timeout=1.5), int)
assert_type(name_of(Path("a")).result(), str)
assert_type(nothing(), AppFuture[None])
assert_type(double.options(cores=4, priority=1)(3), AppFuture[int])

standard: Future[int] = future
error: BaseException | None = future.exception()
known: App[..., int] = double
as_function: Callable[[int], Future[int]] = double

# ------------------------------------------------------------------ futures in the place of values
assert_type(double(double(1)), AppFuture[int])
assert_type(double(1, times=double(2)), AppFuture[int])


@plait.python_app
def total(parts: list[int]) -> int:
    return sum(parts)


assert_type(total([double(i) for i in range(3)]), AppFuture[int])


# ------------------------------------------------------------------ commands
@plait.bash_app
def sort(inputs: list[File], outputs: list[File], stdout: str | None = None) -> str:
    return f"sort {inputs[0]} > {outputs[0]}"


@plait.bash_app(walltime=10)
def echo(text: str) -> str:
    return f"echo {text}"


sorted_file = sort(inputs=[File("a.txt")], outputs=[File("b.txt")], stdout=plait.AUTO_LOGNAME)
assert_type(sorted_file, AppFuture[int])
assert_type(sorted_file.outputs, list[DataFuture])
assert_type(sorted_file.outputs[0].result(), File)
assert_type(sorted_file.outputs[0].filepath, str)
assert_type(sort(inputs=[sorted_file.outputs[0]], outputs=["c.txt"]), AppFuture[int])
assert_type(echo("x").result(), int)


@plait.bash_app  # type: ignore[arg-type]  # a command line is text
def no_text() -> int:  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]
    return 1


# ------------------------------------------------------------------ the result of a join app is that of what it returns
@plait.join_app
def one(n: int) -> AppFuture[int]:
    return double(n)


@plait.join_app
def several(n: int) -> list[AppFuture[int]]:
    return [double(i) for i in range(n)]


@plait.join_app
def pair(n: int) -> tuple[AppFuture[int], AppFuture[str]]:
    return double(n), name_of(Path())


@plait.join_app
def named(n: int) -> dict[str, AppFuture[int]]:
    return {"n": double(n)}


@plait.join_app()
def one_with_options(n: int) -> AppFuture[int]:
    return double(n)


@plait.join_app(cache=True)
def several_with_options(n: int) -> list[AppFuture[int]]:
    return [double(i) for i in range(n)]


@plait.join_app
def nested(n: int) -> dict[str, list[AppFuture[int]]]:
    return {"all": [double(n)]}


@plait.join_app
def recursive(n: int) -> Future[int]:
    return recursive(n - 1) if n else double(n)


assert_type(one(1), AppFuture[int])
assert_type(several(1).result(), list[int])
assert_type(pair(1).result(), tuple[int, str])
assert_type(named(1).result(), dict[str, int])
assert_type(one_with_options(1).result(), int)
assert_type(several_with_options(1).result(), list[int])
assert_type(nested(1).result(), Any)
assert_type(recursive(3).result(), int)


# ------------------------------------------------------------------ methods
class Scale:
    factor = 3

    @plait.python_app
    def apply(self, x: int) -> int:
        return self.factor * x


assert_type(Scale().apply(2).result(), int)

# ------------------------------------------------------------------ an imported function
assert_type(plait.python_app(str.upper)("x"), AppFuture[str])

# ------------------------------------------------------------------ many
assert_type(plait.map(double, range(10)), list[AppFuture[int]])
assert_type(plait.map(double, [1, 2], [3, 4])[0].result(), int)
done, not_done = plait.wait([double(1)], timeout=1)
for each in plait.as_completed([double(1), double(2)]):
    assert_type(each.result(), int)


# ------------------------------------------------------------------ asyncio
async def waits() -> int:
    value = await double(2)
    assert_type(value, int)
    first, second = await asyncio.gather(double(1), name_of(Path()))
    assert_type(first, int)
    assert_type(second, str)
    return value


# ------------------------------------------------------------------ what else a future says
assert_type(future.tid, int)
assert_type(future.task_status(), str)
assert_type(future.explain(), str)
assert_type(future.cancel(), bool)
assert_type(future["key"], AppFuture[Any])
assert_type(future.attribute, AppFuture[Any])

# ------------------------------------------------------------------ a run
with plait.load(Config(executors=[plait.ThreadPoolExecutor(max_threads=2)], retries=1)) as kernel:
    assert_type(kernel, plait.DataFlowKernel)
    assert_type(kernel.task_count, int)
assert_type(plait.dfk(), plait.DataFlowKernel)
plait.wait_for_current_tasks()
plait.clear()
assert_type(plait.__version__, str)
