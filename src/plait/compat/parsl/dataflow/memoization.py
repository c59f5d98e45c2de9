"""``parsl.dataflow.memoization``: the part that works within a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plait.dataflow.memo as _memo
from plait.dataflow.memo import id_for_memo, task_key
from plait.dataflow.memo_code import lasting_keys
from plait.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence
    from concurrent.futures import Future

__all__ = ["BasicMemoizer", "Memoizer", "id_for_memo", "make_hash"]


class Memoizer(_memo.Memoizer):
    """Where outcomes of earlier calls come from: the base for plug-ins, which are asked about every task."""

    every_task = True


class BasicMemoizer(_memo.BasicMemoizer):
    """Keeps the outcomes of one run in memory.

    A function that notes in a list of its module, or of the function around it, that it was called, is the same function after that.

    Raises:
        ConfigurationError: a parameter asks for checkpoints, which plait does not have yet.
    """

    def __init__(
        self,
        *,
        checkpoint_files: Sequence[str] | None = None,
        checkpoint_period: str | None = None,
        checkpoint_mode: str | None = None,
        memoize: bool = True,
    ) -> None:
        given = {
            "checkpoint_files": checkpoint_files,
            "checkpoint_period": checkpoint_period,
            "checkpoint_mode": checkpoint_mode,
        }
        for name, value in given.items():
            refuse_checkpoints(f"BasicMemoizer({name}={value!r})", value)
        if not isinstance(memoize, bool):
            raise ConfigurationError(f"BasicMemoizer(memoize={memoize!r}): expected True or False")
        super().__init__(memoize=memoize)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.every_task = True  # what users derive is a plug-in

    def check_memo(self, task: MutableMapping[str, Any]) -> Future[Any] | None:
        with lasting_keys():
            return super().check_memo(task)


Memoizer.register(BasicMemoizer)


def make_hash(task: Mapping[str, Any]) -> str:
    """The key of a task's call, as text."""
    with lasting_keys():
        return task_key(task).hex()


def refuse_checkpoints(what: str, value: Any) -> None:
    """Refuses what would silently write or read no checkpoint; None and an empty list ask for none.

    Raises:
        ConfigurationError: naming it.
    """
    if value is None or (isinstance(value, (list, tuple)) and not value):
        return
    raise ConfigurationError(
        f"{what}: plait does not have checkpoints yet; leave it out, and results are kept for the time of the run"
    )
