"""Memoization: an app that was called with equal arguments before gives the outcome it gave then.

`memo_key` makes the key of a call, `BasicMemoizer` keeps the outcomes of one run.
The parts of the key are made in `memo_id` (values) and `memo_code` (functions).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from plait.dataflow.memo_code import code_key
from plait.dataflow.memo_id import UnknownTypeForMemo, id_for_memo, part, text
from plait.futures import PlaitFuture

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, MutableMapping, Sequence
    from concurrent.futures import Future

__all__ = ["BasicMemoizer", "Memoizer", "UnknownTypeForMemo", "code_key", "id_for_memo", "memo_key", "task_key"]


def memo_key(
    code: bytes,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    ignore: Collection[str] = (),
    outputs: Any = None,
) -> bytes:
    """The key of one call.

    Args:
        code: `code_key` of the app's function.
        args: positional arguments, futures replaced by their results.
        kwargs: keyword arguments, in any order.
        ignore: keywords that do not count; names that the call does not have do no harm.
        outputs: what the call will make; None for what the keyword ``outputs`` says. It counts by name, not by what is there now.

    Raises:
        UnknownTypeForMemo: a ValueError that names the argument, and where in it the value of unknown type stands.
    """
    pieces = [code, len(args).to_bytes(4, "big")]
    where = ""
    try:
        for number, value in enumerate(args):
            where = f"argument {number}"
            pieces.append(part(value))
        for name in sorted(kwargs):
            if name not in ignore and name != "outputs":
                where = f"argument {name}"
                pieces.append(text(name) + part(kwargs[name]))
        if "outputs" not in ignore:
            outputs = kwargs.get("outputs") if outputs is None else outputs
            if outputs:
                where = "argument outputs"
                pieces.append(b"outputs" + part(list(outputs), output_ref=True))
    except UnknownTypeForMemo as error:
        raise error.under(where) from None
    return blake2b(b"".join(pieces), digest_size=32, person=b"plait.memo.call").digest()


def task_key(task: Mapping[str, Any]) -> bytes:
    """The key of a task's call."""
    kind = str(task.get("kind", ""))  # one function may be a python app and a bash app
    return memo_key(code_key(task["func"]) + text(kind), task["args"], task["kwargs"], task["ignore_for_cache"] or ())


class Memoizer(ABC):
    """Where outcomes of earlier calls come from: the port for plug-ins.

    A task is a mapping that has, among others, the keys ``id``, ``func``, ``func_name``, ``kind``, ``args``, ``kwargs``, ``memoize``,
    ``ignore_for_cache``, ``hashsum`` and ``app_fu``.
    """

    #: Whether it is asked about tasks of apps without ``cache=True`` as well.
    every_task = False

    @abstractmethod
    def start(self, *, run_dir: str, config_run_dir: str) -> None:
        """Called once, before the first task.

        Args:
            run_dir: folder of this run.
            config_run_dir: folder that holds those of all runs.
        """

    @abstractmethod
    def check_memo(self, task: MutableMapping[str, Any]) -> Future[Any] | None:
        """The future of an equal call, or None; sets the task's ``hashsum``. If it has not ended, the task waits for it.

        Raises:
            ValueError: the call has no key; it becomes the task's failure.
        """

    @abstractmethod
    def update_memo_result(self, task: Mapping[str, Any], r: Any) -> None:
        """The task ended with a result."""

    @abstractmethod
    def update_memo_exception(self, task: Mapping[str, Any], e: BaseException) -> None:
        """The task failed for good."""

    @abstractmethod
    def close(self) -> None:
        """Called once, after the last task."""


class BasicMemoizer(Memoizer):
    """Keeps the outcomes of the tasks of one run, errors too, in memory.

    May be used from many threads: each step is one operation on a dictionary.

    Args:
        memoize: False switches memoization off for all apps.
    """

    def __init__(self, *, memoize: bool = True) -> None:
        self.memoize = memoize
        self._table: dict[bytes, PlaitFuture[Any]] = {}

    def start(self, *, run_dir: str, config_run_dir: str) -> None:  # noqa: ARG002 - nothing of it is on disk
        """Forgets what an earlier run left."""
        self._table.clear()

    def check_memo(self, task: MutableMapping[str, Any]) -> Future[Any] | None:
        """An ended future of an equal call of this run, or None; sets the task's ``hashsum`` (None when the task is not memoized)."""
        if not self.memoize or not task["memoize"]:
            task["hashsum"] = None
            return None
        key = task_key(task)
        task["hashsum"] = key.hex()
        return self._table.get(key)

    def update_memo_result(self, task: Mapping[str, Any], r: Any) -> None:
        """Keeps a result."""
        if task["memoize"] and task["hashsum"]:
            future: PlaitFuture[Any] = PlaitFuture()
            future.set_result(r)
            self._table[bytes.fromhex(task["hashsum"])] = future

    def update_memo_exception(self, task: Mapping[str, Any], e: BaseException) -> None:
        """Keeps an error."""
        if task["memoize"] and task["hashsum"]:
            future: PlaitFuture[Any] = PlaitFuture()
            future.set_exception(e)
            self._table[bytes.fromhex(task["hashsum"])] = future

    def close(self) -> None:
        """Forgets everything."""
        self._table.clear()
