"""Every exception says what happened, and arrives whole."""

from __future__ import annotations

import concurrent.futures
import inspect
import pickle

import pytest

from plait import errors
from plait.errors import (
    AppBadFormatting,
    AppTimeout,
    BadCheckpoint,
    BadMessage,
    BadStateException,
    BadStdStreamFile,
    BashAppNoReturn,
    BashExitFailure,
    ConfigurationError,
    DependencyError,
    DeserializationError,
    DeserializerPluginError,
    ExecutorError,
    InternalConsistencyError,
    InvalidResourceSpecification,
    JoinError,
    MissingOutputs,
    NoDataFlowKernelError,
    OptionalModuleMissing,
    PlaitError,
    PoisonTask,
    PropagatedException,
    RemoteError,
    ScalingFailed,
    SerializationError,
    TaskCancelled,
    TaskExited,
    UnsupportedFeatureError,
    WorkerLost,
    signal_name,
)  # fmt: skip

EXAMPLES = [
    (PlaitError("a", 1), "a 1"),
    (ConfigurationError("labels twice"), "labels twice"),
    (OptionalModuleMissing(["zmq"], "needed for pilots"), "needed for pilots (missing: zmq)"),
    (InternalConsistencyError("x"), "x"),
    (NoDataFlowKernelError(), "Must first load config"),
    (AppBadFormatting("no {x}"), "no {x}"),
    (BashExitFailure("align", 2), "bash_app align failed with unix exit code 2"),
    (BashExitFailure("align", -9), "bash_app align failed with unix exit code -9 (ended by SIGKILL)"),
    (AppTimeout("after 3 s"), "after 3 s"),
    (AppTimeout(), "The task ran longer than its walltime."),
    (BashAppNoReturn("returned None"), "returned None"),
    (MissingOutputs("of align", ["a", "b"]), "Missing outputs: of align: a, b"),
    (BadStdStreamFile("cannot open"), "cannot open"),
    (TaskExited("SystemExit", "3"), "the task raised SystemExit(3), which would"),
    (TaskExited("SystemExit", ""), "the task raised SystemExit, which would"),
    (TaskCancelled("task 3 (f) was cancelled"), "task 3 (f) was cancelled"),
    (TaskCancelled(), "The task was cancelled."),
    (BadCheckpoint("torn"), "torn"),
    (PropagatedException([(KeyError("k"), "task 1 (f)")], 2), "Failure for task 2. The representative cause is via task 1 (f): KeyError: 'k'"),
    (DependencyError([(KeyError("k"), "task 1 (f)")], 2), "Dependency failure for task 2. The representative cause is via task 1 (f): KeyError: 'k'"),
    (DependencyError([(KeyError("k"), "task 1 (f)"), (ValueError(), "task 0 (g)")], 2), "via task 1 (f) (+ others): KeyError: 'k' (1 more failed)"),
    (JoinError([(KeyError("k"), "task 1 (f)")], 2), "Join failure for task 2."),
    (JoinError([], None, failure_description="Odd"), "Odd for task None"),
    (ExecutorError("pool", "broken"), "Executor pool failed due to: broken"),
    (BadStateException("pool", "broken"), "Executor pool failed due to: broken"),
    (ScalingFailed("pool", "no"), "Executor pool failed due to: no"),
    (errors.ExecutionProviderException("no answer"), "no answer"),
    (errors.ScaleOutFailed("slurm", "no answer"), "Unable to scale out slurm provider due to: no answer"),
    (errors.SchedulerMissingArgs(["account"], "site"), "missing keywords ['account'] for site site"),
    (errors.ScriptPathError("/x/job.sh", "disk full"), "Unable to write submit script /x/job.sh: disk full"),
    (errors.SubmitException("block-0", "refused", stderr="why\n", retcode=1), "Cannot submit job block-0: refused, exit code = 1, stderr = why"),
    (errors.BadLauncher("x"), "launcher=x: expected a plait.launchers.Launcher"),
    (errors.TooManyJobFailuresError("3 blocks failed"), "3 blocks failed"),
    (UnsupportedFeatureError("cancel", "threads"), "The cancel feature is unsupported in threads"),
    (UnsupportedFeatureError("cancel", "threads", "processes"), "unsupported in threads. Please check executor processes"),
    (InvalidResourceSpecification({"b", "a"}, "no"), "Invalid resource specification (a, b): no"),
    (errors.UnknownExecutor("app f: executors=['x']"), "app f: executors=['x']"),
    (BadMessage("short"), "short"),
    (WorkerLost(3, "node1"), "Task failure due to loss of worker 3 on host node1"),
    (WorkerLost(3, "node1", "SIGSEGV"), "worker 3 on host node1: SIGSEGV"),
    (errors.ManagerLost("m1", "node1"), "Task failure due to loss of manager m1 on host node1"),
    (errors.ManagerLost("m1", "node1", "silent", announced=True), "manager m1 on host node1: silent"),
    (errors.InterchangeLost("htex", "SIGKILL"), "Executor htex failed due to: SIGKILL"),
    (PoisonTask(3, "node1", "SIGSEGV", ["attempt 1 on 3", "attempt 2 on 4"]), "given up after 2 lost attempts, because it seems to end each worker that runs it: attempt 1 on 3; attempt 2"),
    (SerializationError("argument 0", "a lock"), "Failed to serialize argument 0: a lock"),
    (SerializationError("argument 0"), "Failed to serialize argument 0"),
    (errors.ResultTooLarge("task 1 (f)", 2_000_000, 1000), "the result of task 1 (f) has 2,000,000 bytes, and 1,000 are allowed; raise"),
    (DeserializationError("no module x"), "Failed to deserialize: no module x"),
    (DeserializerPluginError(b"07"), "Failed to deserialize: no deserializer for header b'07'"),
    (RemoteError("m.E", "Traceback: …"), "the task raised m.E, which cannot be rebuilt in this process. Its traceback was:\nTraceback: …"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "sentence"), EXAMPLES, ids=[type(error).__name__ for error, _ in EXAMPLES])
def test_it_says_its_sentence_and_arrives_whole(error, sentence):
    assert sentence in str(error)
    twin = pickle.loads(pickle.dumps(error))
    assert type(twin) is type(error)
    assert str(twin) == str(error)

    def fields(e):
        return {name: repr(value) for name, value in vars(e).items()}

    assert fields(twin) == fields(error)
    again = pickle.loads(pickle.dumps(twin))
    assert fields(again) == fields(error)


def test_every_class_has_an_example():
    classes = {c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, PlaitError)}
    abstract = {errors.AppException, errors.DataFlowException}
    assert classes - abstract == {type(error) for error, _ in EXAMPLES}


def test_without_arguments_the_docstring_is_the_message():
    assert str(ConfigurationError()) == "The configuration cannot work."

    class Undocumented(PlaitError):
        pass

    assert str(Undocumented()) == "Undocumented"


def test_a_cancelled_task_is_caught_as_users_expect():
    assert issubclass(TaskCancelled, concurrent.futures.CancelledError)
    assert issubclass(TaskCancelled, PlaitError)


def test_a_poison_task_is_a_lost_worker():
    error = pickle.loads(pickle.dumps(PoisonTask(1, "h", "why", ["a"])))
    assert isinstance(error, WorkerLost)
    assert (error.worker_id, error.hostname, error.reason, error.places) == (1, "h", "why", ["a"])


def test_a_dependency_error_has_the_root_as_its_cause():
    root = KeyError("k")
    error = DependencyError([(root, "task 1 (f)"), (ValueError(), "task 0 (g)")], 2)
    assert error.__cause__ is root
    assert repr(pickle.loads(pickle.dumps(error)).__cause__) == repr(root)
    assert DependencyError([], 2).__cause__ is None


def test_a_long_cause_is_cut():
    text = str(DependencyError([(ValueError("x" * 100_000), "task 1 (f)")], 2))
    assert len(text) < 500
    assert text.endswith(" …")


def test_an_executor_is_named_by_its_label():
    class Pool:
        label = "mine"

    assert ExecutorError(Pool(), "r").executor == "mine"


def test_names_of_signals():
    assert signal_name(11) == "SIGSEGV"
    assert signal_name(250) == "signal 250"
