"""Every exception of plait.

The class docstring is the default message.
All of them survive pickling: the positional arguments of ``__init__`` are the fields, ``__str__`` makes the sentence.
"""

from __future__ import annotations

import concurrent.futures
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class PlaitError(Exception):
    """Something went wrong in plait."""

    def __str__(self) -> str:
        return " ".join(str(a) for a in self.args) if self.args else (self.__doc__ or type(self).__name__)


# ------------------------------------------------------------------ configuration and life cycle
class ConfigurationError(PlaitError):
    """The configuration cannot work."""


class OptionalModuleMissing(PlaitError):
    """A module of an optional feature is not installed."""

    def __init__(self, module_names: Sequence[str], reason: str) -> None:
        super().__init__(list(module_names), reason)
        self.module_names = list(module_names)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason} (missing: {', '.join(self.module_names)})"


class InternalConsistencyError(PlaitError):
    """plait found its own state inconsistent; please report this."""


class NoDataFlowKernelError(PlaitError):
    """Must first load config"""  # noqa: D415 - the sentence is part of the documented behaviour


# ------------------------------------------------------------------ apps
class AppException(PlaitError):
    """An app failed."""


class AppBadFormatting(AppException):
    """The command line of a bash app could not be formatted."""


class BashExitFailure(AppException):
    """A bash app ended with an exit code other than 0."""

    def __init__(self, app_name: str, exitcode: int) -> None:
        super().__init__(app_name, exitcode)
        self.app_name = app_name
        self.exitcode = exitcode

    def __str__(self) -> str:
        text = f"bash_app {self.app_name} failed with unix exit code {self.exitcode}"
        if self.exitcode < 0:
            text += f" (ended by {signal_name(-self.exitcode)})"
        return text


class AppTimeout(AppException):
    """The task ran longer than its walltime."""


class BashAppNoReturn(AppException):
    """A bash app returned no command line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class MissingOutputs(AppException):
    """A task ended, but files that it declared as outputs are not there."""

    def __init__(self, reason: str, outputs: Sequence[object]) -> None:
        super().__init__(reason, list(outputs))
        self.reason = reason
        self.outputs = list(outputs)

    def __str__(self) -> str:
        return f"Missing outputs: {self.reason}: {', '.join(str(o) for o in self.outputs)}"


class BadStdStreamFile(AppException):
    """A file for stdout or stderr could not be opened."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TaskExited(AppException):
    """The task called sys.exit() or raised another exception that would have ended its process.

    Attributes:
        kind: name of the class raised, such as ``SystemExit``.
        text: what it said.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(kind, text)
        self.kind = kind
        self.text = text

    def __str__(self) -> str:
        detail = f"({self.text})" if self.text else ""
        return f"the task raised {self.kind}{detail}, which would have ended its worker; raise an ordinary exception instead"


class TaskCancelled(concurrent.futures.CancelledError, PlaitError):
    """The task was cancelled."""


# ------------------------------------------------------------------ dataflow
class DataFlowException(PlaitError):
    """The dataflow could not go on."""


class BadCheckpoint(DataFlowException):
    """A checkpoint cannot be used."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PropagatedException(DataFlowException):
    """A task cannot run because tasks that it needs failed.

    It holds the root causes and, as text, the path to each.
    It never holds the errors of intermediate tasks: a chain of thousands of tasks would make an object that neither pickle nor the interpreter can walk.

    Attributes:
        dependent_exceptions_tids: pairs of (root cause, description of the path to it), one for each failed dependency.
        task_id: the task that could not run.
    """

    _failure = "Failure"

    def __init__(
        self,
        dependent_exceptions_tids: Sequence[tuple[BaseException, str]],
        task_id: int | None,
        failure_description: str = "",
    ) -> None:
        pairs = list(dependent_exceptions_tids)
        super().__init__(pairs, task_id, failure_description)
        self.dependent_exceptions_tids = pairs
        self.task_id = task_id
        self.failure_description = failure_description or self._failure
        if pairs:
            self.__cause__ = pairs[0][0]

    def __str__(self) -> str:
        pairs = self.dependent_exceptions_tids
        if not pairs:
            return f"{self.failure_description} for task {self.task_id}"
        cause, path = pairs[0]
        more = len(pairs) - 1
        others = " (+ others)" if more else ""
        count = f" ({more} more failed)" if more else ""
        return (
            f"{self.failure_description} for task {self.task_id}. "
            f"The representative cause is via {path}{others}: {type(cause).__name__}: {_short(cause)}{count}"
        )


class DependencyError(PropagatedException):
    """A task that this one needs failed."""

    _failure = "Dependency failure"


class JoinError(PropagatedException):
    """A task that a join app waits for failed."""

    _failure = "Join failure"


# ------------------------------------------------------------------ executors
class ExecutorError(PlaitError):
    """An executor cannot do its work."""

    def __init__(self, executor: object, reason: str) -> None:
        super().__init__(executor if isinstance(executor, str) else getattr(executor, "label", str(executor)), reason)
        self.executor = self.args[0]
        self.reason = reason

    def __str__(self) -> str:
        return f"Executor {self.executor} failed due to: {self.reason}"


class BadStateException(ExecutorError):
    """An executor is broken and its tasks were given up."""


class UnsupportedFeatureError(PlaitError):
    """An executor does not have the feature that was asked for."""

    def __init__(self, feature: str, current_executor: str, target_executor: str | None = None) -> None:
        super().__init__(feature, current_executor, target_executor)
        self.feature = feature
        self.current_executor = current_executor
        self.target_executor = target_executor

    def __str__(self) -> str:
        text = f"The {self.feature} feature is unsupported in {self.current_executor}"
        return f"{text}. Please check executor {self.target_executor}" if self.target_executor else text


class UnknownExecutor(PlaitError, ValueError):
    """An app names an executor that the run does not have."""


class InvalidResourceSpecification(PlaitError):
    """A task asks for resources that cannot be given."""

    def __init__(self, invalid_keys: Sequence[str] | set[str], message: str = "") -> None:
        keys = sorted(map(str, invalid_keys))
        super().__init__(keys, message)
        self.invalid_keys = keys
        self.message = message

    def __str__(self) -> str:
        return f"Invalid resource specification ({', '.join(self.invalid_keys)}): {self.message}"


class ScalingFailed(ExecutorError):
    """An executor could not change its number of blocks."""


class BadMessage(PlaitError):
    """A message between processes of plait cannot be read."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class WorkerLost(PlaitError):
    """The worker that ran the task ended before the task did.

    Attributes:
        worker_id: name of the worker.
        hostname: where it ran.
        reason: how it ended, with the signal or exit status.
    """

    def __init__(self, worker_id: object, hostname: str, reason: str = "") -> None:
        super().__init__(worker_id, hostname, reason)
        self.worker_id = worker_id
        self.hostname = hostname
        self.reason = reason

    def __str__(self) -> str:
        return f"Task failure due to loss of worker {self.worker_id} on host {self.hostname}" + (
            f": {self.reason}" if self.reason else ""
        )


class ManagerLost(WorkerLost):
    """The manager that had the task was lost, with its node or the way to it.

    Attributes:
        manager_id: name of the manager.
        hostname: where it ran.
        reason: how it was lost.
        announced: whether its end was announced (its block drained, its time was over); then the loss counts for nothing.
        tstamp: when that was found, in seconds since 1970.
    """

    def __init__(self, manager_id: object, hostname: str, reason: str = "", announced: bool = False) -> None:
        super().__init__(manager_id, hostname, reason)
        self.args = (manager_id, hostname, reason, announced)
        self.manager_id = manager_id
        self.announced = announced
        self.tstamp = time.time()

    def __str__(self) -> str:
        return f"Task failure due to loss of manager {self.manager_id} on host {self.hostname}" + (
            f": {self.reason}" if self.reason else ""
        )


class InterchangeLost(ExecutorError):
    """The process between driver and managers ended again and again, so the executor was given up."""


class PoisonTask(WorkerLost):
    """The task ended every worker that ran it.

    Attributes:
        places: one sentence for each loss: the worker, the host and how it ended.
    """

    def __init__(self, worker_id: object, hostname: str, reason: str = "", places: Sequence[str] = ()) -> None:
        super().__init__(worker_id, hostname, reason)
        self.places = list(places)
        self.args = (worker_id, hostname, reason, list(places))

    def __str__(self) -> str:
        return (
            f"the task was given up after {len(self.places)} lost attempts, because it seems to end each worker that runs it: "
            + "; ".join(self.places)
            + ". Run it by itself to see why (a crash in C code, memory, an explicit exit), or raise max_losses."
        )


# ------------------------------------------------------------------ blocks: providers and launchers
class ExecutionProviderException(PlaitError):
    """A provider cannot do what it was asked for."""


class ScaleOutFailed(ExecutionProviderException):
    """A provider could not begin a block."""

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(provider, reason)
        self.provider = provider
        self.reason = reason

    def __str__(self) -> str:
        return f"Unable to scale out {self.provider} provider due to: {self.reason}"


class SchedulerMissingArgs(ExecutionProviderException):
    """A provider needs parameters that it was not given."""

    def __init__(self, missing_keywords: Sequence[str], sitename: str) -> None:
        super().__init__(missing_keywords, sitename)
        self.missing_keywords = missing_keywords
        self.sitename = sitename

    def __str__(self) -> str:
        return f"SchedulerMissingArgs: missing keywords {self.missing_keywords} for site {self.sitename}"


class ScriptPathError(ExecutionProviderException):
    """A submit script cannot be written."""

    def __init__(self, script_path: str, reason: str) -> None:
        super().__init__(script_path, reason)
        self.script_path = script_path
        self.reason = reason

    def __str__(self) -> str:
        return f"Unable to write submit script {self.script_path}: {self.reason}"


class SubmitException(ExecutionProviderException):
    """A job could not be submitted.

    Attributes:
        job_name: name of the job.
        message: what happened.
        stdout, stderr, retcode: of the batch system's command, where there was one.
    """

    def __init__(
        self,
        job_name: str,
        message: str,
        stdout: str | None = None,
        stderr: str | None = None,
        retcode: int | None = None,
    ) -> None:
        super().__init__(job_name, message, stdout, stderr, retcode)
        self.job_name = job_name
        self.message = message
        self.stdout = stdout
        self.stderr = stderr
        self.retcode = retcode

    @property
    def task_name(self) -> str:
        """An older name of `job_name`."""
        return self.job_name

    def __str__(self) -> str:
        parts = [f"Cannot submit job {self.job_name}: {self.message}"]
        parts += [f"exit code = {self.retcode}"] if self.retcode is not None else []
        parts += [
            f"{name} = {text.strip()}" for name, text in (("stdout", self.stdout), ("stderr", self.stderr)) if text
        ]
        return ", ".join(parts)


class BadLauncher(ExecutionProviderException, TypeError):
    """What was given as a launcher is none."""

    def __init__(self, launcher: object) -> None:
        super().__init__(launcher if isinstance(launcher, str) else repr(launcher))
        self.launcher = launcher

    def __str__(self) -> str:
        hint = "; call it: write its name with parentheses" if self.args[0].startswith("<class") else ""
        return f"launcher={self.args[0]}: expected a plait.launchers.Launcher{hint}"


class TooManyJobFailuresError(PlaitError):
    """Blocks failed again and again, so no more are requested. The message lists them."""


# ------------------------------------------------------------------ serialization
class SerializationError(PlaitError):
    """An object cannot be sent to a worker."""

    def __init__(self, fname: str, reason: str = "") -> None:
        super().__init__(fname, reason)
        self.fname = fname
        self.reason = reason

    def __str__(self) -> str:
        return f"Failed to serialize {self.fname}" + (f": {self.reason}" if self.reason else "")


class ResultTooLarge(PlaitError):
    """A task's result is larger than the executor allows.

    Attributes:
        size_bytes: what it has.
        limit_bytes: what it may have.
    """

    def __init__(self, what: str, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(what, size_bytes, limit_bytes)
        self.what = what
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        return (
            f"the result of {self.what} has {self.size_bytes:,} bytes, and {self.limit_bytes:,} are allowed; "
            "raise the executor's max_result_size, or have the task write a file and return its path"
        )


class DeserializationError(PlaitError):
    """An object that arrived cannot be rebuilt here."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"Failed to deserialize: {self.reason}"


class DeserializerPluginError(DeserializationError):
    """No method is known for bytes with this header."""

    def __init__(self, header: bytes) -> None:
        super().__init__(f"no deserializer for header {header!r}")
        self.args = (header,)
        self.header = header


class RemoteError(DeserializationError):
    """A task failed with an exception that cannot be rebuilt here; this is its text.

    Attributes:
        type_name: class of the exception, as ``module.Class``.
        text: its traceback as text.
    """

    def __init__(self, type_name: str, text: str) -> None:
        super().__init__(text)
        self.args = (type_name, text)
        self.type_name = type_name
        self.text = text

    def __str__(self) -> str:
        return f"the task raised {self.type_name}, which cannot be rebuilt in this process. Its traceback was:\n{self.text}"


def text_of(error: BaseException) -> str:
    """What an error says. Its ``__str__`` is the user's code: whatever that raises must not stop what is done about the error."""
    try:
        return str(error)
    except BaseException as raised:  # noqa: BLE001 - the user's code
        return f"(its text cannot be had: {type(raised).__name__})"


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9; ``signal 99`` for a number without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _short(error: BaseException) -> str:
    text = text_of(error)
    return text if len(text) <= 300 else text[:300] + " …"
