"""One call of an app: identity, inputs, state."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plait.futures import AppFuture, PlaitFuture
    from plait.model.files import File
    from plait.model.resources import Resources


class TaskState(enum.IntEnum):
    """Where a task stands. Names and numbers are those that users of the field know."""

    pending = 0  #: waits for its inputs, or for its next attempt
    exec_done = 3  #: ended with a result
    failed = 4  #: ended with an error
    dep_fail = 5  #: never ran, because something that it needs failed
    launched = 7  #: given to an executor
    memo_done = 9  #: ended with the result of an earlier equal call
    joining = 10  #: its body ran; waits for the futures that the body returned
    cancelled = 12  #: cancelled, by the user or with a task that it needs


# Plain integers for the paths that run once per task: an attribute of an enum class costs more than the rest of a comparison.
PENDING: Final = 0
EXEC_DONE: Final = 3
FAILED: Final = 4
DEP_FAIL: Final = 5
LAUNCHED: Final = 7
MEMO_DONE: Final = 9
JOINING: Final = 10
CANCELLED: Final = 12

FINAL_STATES: Final = frozenset({EXEC_DONE, FAILED, DEP_FAIL, MEMO_DONE, CANCELLED})
FINAL_FAILURE_STATES: Final = frozenset({FAILED, DEP_FAIL})

#: The states that may follow each state. `check` in the engine holds every change against it.
TRANSITIONS: Final[dict[int, frozenset[int]]] = {
    PENDING: frozenset({LAUNCHED, MEMO_DONE, DEP_FAIL, FAILED, CANCELLED}),
    LAUNCHED: frozenset({EXEC_DONE, FAILED, PENDING, JOINING, CANCELLED}),
    JOINING: frozenset({EXEC_DONE, FAILED, CANCELLED}),
    **dict.fromkeys(FINAL_STATES, frozenset()),
}


class Owner(Protocol):
    """What a future asks of the kernel that owns its task."""

    def cancel_task(self, task: Task) -> bool:
        """Cancels; False when it is too late or cannot be done."""
        ...

    def explain_task(self, task: Task) -> str:
        """One sentence: what the task waits for, or why it failed."""
        ...

    def check_waiting(self, task: Task) -> None:
        """Raises RuntimeError when this process will not hear of the task's end."""
        ...

    def start_lifted(self, task: Task) -> None:
        """Submits the task behind ``future.name`` or ``future[key]``."""
        ...

    def new_lifted(self, parent: AppFuture[Any], operation: str, key: Any) -> Task:
        """The task behind ``future.name`` or ``future[key]``, not submitted yet."""
        ...

    def task_record(self, task: Task) -> Any:
        """The task as a mapping, for plug-ins."""
        ...

    def wall_time(self, monotonic_s: float | None) -> Any:
        """The date and time of a moment of the monotonic clock."""
        ...


class AppSpec:
    """What all calls of an app have in common.

    Attributes:
        func: the user's function.
        name: as shown to people.
        kind: ``python``, ``bash``, ``join`` or ``lift``.
        executors: labels of executors that may run it; None for any.
        retry: policy of its own (`plait.Retry`), or None for the kernel's.
        max_losses: attempts that may be lost with a worker; None for the kernel's number.
        walltime_s: limit of each attempt; None for no limit.
        reserved_defaults: defaults that the function declares for keywords that plait reads.
        accepts: keywords that the function takes; None for any.
        is_simple: a call with plain arguments needs nothing but being run.
        blob: what executors made of the function (`serialize.FunctionBlob`), kept so that it is made once.
    """

    __slots__ = (
        "accepts", "blob", "cache", "executors", "func", "ignore_for_cache", "is_simple", "kind", "label", "max_losses", "memo_code",
        "name", "reserved_defaults", "resources", "retry", "walltime_s",
    )  # fmt: skip

    def __init__(
        self,
        func: Callable[..., Any],
        name: str,
        kind: str = "python",
        *,
        executors: Sequence[str] | None = None,
        cache: bool = False,
        ignore_for_cache: Sequence[str] = (),
        retry: Any = None,
        max_losses: int | None = None,
        resources: Resources | None = None,
        walltime_s: float | None = None,
        label: str | None = None,
        reserved_defaults: dict[str, Any] | None = None,
        accepts: frozenset[str] | None = None,
    ) -> None:
        self.func = func
        self.name = name
        self.kind = kind
        self.executors = tuple(executors) if executors is not None else None
        self.cache = cache
        self.ignore_for_cache = tuple(ignore_for_cache)
        self.retry = retry
        self.max_losses = max_losses
        self.resources = resources
        self.walltime_s = walltime_s
        self.label = label
        self.reserved_defaults = reserved_defaults or {}
        self.accepts = accepts
        self.is_simple = kind == "python" and not (
            cache or executors or resources or walltime_s is not None or self.reserved_defaults
        )
        self.blob: Any = None
        self.memo_code: Any = None


class TaskDetails:
    """What only some tasks have; kept apart so that the others stay small."""

    __slots__ = (
        "cancel_origin", "cancel_reason", "error", "executors", "failures", "history", "ignore_for_cache", "join_value", "label", "lift", "losses", "memo_key", "not_before",
        "outputs", "outputs_files", "outputs_hidden", "resources", "spec", "stderr", "stdout", "times", "walltime_s",
    )  # fmt: skip

    def __init__(self) -> None:
        self.outputs: list[Any] = []  # DataFutures
        self.outputs_files: list[File] = []
        self.outputs_hidden: list[Any] = []  # DataFutures of streams that were given as Files
        self.stdout: Any = None  # as the task gets it: None, (path, mode)
        self.stderr: Any = None
        self.walltime_s: float | None = None
        self.resources: Resources | None = None
        self.spec: dict[str, Any] = {}  # resource specification as the user gave it
        self.executors: tuple[str, ...] | None = None
        self.memo_key: bytes | None = None
        self.ignore_for_cache: tuple[str, ...] = ()
        self.label: str | None = None
        self.history: list[str] = []  # one sentence for each failed attempt
        self.losses: list[str] = []  # one sentence for each lost attempt
        self.failures: list[Task] = []  # dependencies that failed
        self.join_value: Any = None  # what the body of a join app returned
        self.lift: tuple[str, Any, PlaitFuture[Any]] | None = None  # (operation, key, parent future)
        self.error: BaseException | None = None  # how it failed
        self.cancel_reason: str = ""
        self.cancel_origin: str = ""  # the task at which the cancelling began
        self.not_before: float | None = None  # time of the next attempt, for retries that wait
        self.times: tuple[float, float, int] | None = None  # of the last attempt: began, ended, worker


class Task(msgspec.Struct, eq=False, weakref=True):
    """The record of one call.

    The kernel owns it and changes it under its lock; a future keeps it for as long as the user keeps the future.
    It is a msgspec structure because one is made four times as fast as an object of a class with slots.
    """

    app: AppSpec
    args: Any  # tuple; None once the task has ended
    kwargs: Any  # dictionary; likewise
    owner: Any
    submit_s: float
    id: int = -1
    state: int = PENDING
    attempt: int = 0
    waiting: int = 0  # dependencies that have not ended
    depends: Any = None  # tuple of futures
    dependants: Any = None  # list of tasks
    future: Any = None  # AppFuture
    executor: Any = None
    payload: Any = None
    details: TaskDetails | None = None
    fail_cost: float = 0
    launch_s: float | None = None
    end_s: float | None = None

    def more(self) -> TaskDetails:
        """The details, made when there are none."""
        details = self.details
        if details is None:
            details = TaskDetails()
            self.details = details
        return details

    def __str__(self) -> str:
        return f"task {self.id} ({self.app.name})"

    def __repr__(self) -> str:
        return f"<Task {self.id} {self.app.name} {TaskState(self.state).name} attempt {self.attempt}>"
