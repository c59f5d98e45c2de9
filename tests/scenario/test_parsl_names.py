"""Every name of Parsl's that plait has can be imported by the path that programs use, and is the thing that it should be."""

from __future__ import annotations

import importlib

import pytest

import plait
import plait.compat.parsl
from plait import errors

NAMES = {
    "parsl": "AUTO_LOGNAME Config DataFlowKernel DataFlowKernelLoader File HighThroughputExecutor ThreadPoolExecutor VERSION __version__ bash_app clear dfk join_app "
    "load python_app set_file_logger set_stream_logger wait_for_current_tasks",
    "parsl.addresses": "address_by_hostname address_by_interface address_by_query address_by_route get_all_addresses get_any_address tcp_url",
    "parsl.app.app": "AppBase bash_app join_app python_app",
    "parsl.app.bash": "BashApp remote_side_bash_executor",
    "parsl.app.errors": "AppBadFormatting AppException AppTimeout BadStdStreamFile BashAppNoReturn BashExitFailure MissingOutputs ParslError "
    "RemoteExceptionWrapper wrap_error",
    "parsl.app.futures": "DataFuture Future",
    "parsl.app.python": "PythonApp timeout",
    "parsl.channels": "LocalChannel",
    "parsl.concurrent": "ParslPoolExecutor",
    "parsl.config": "Config",
    **dict.fromkeys(
        (
            "parsl.configs.ASPIRE1",
            "parsl.configs.Azure",
            "parsl.configs.anvil",
            "parsl.configs.bridges",
            "parsl.configs.cc_in2p3",
            "parsl.configs.delta",
            "parsl.configs.ec2",
            "parsl.configs.expanse",
            "parsl.configs.frontera",
            "parsl.configs.htex_local",
            "parsl.configs.illinoiscluster",
            "parsl.configs.improv",
            "parsl.configs.kubernetes",
            "parsl.configs.midway",
            "parsl.configs.osg",
            "parsl.configs.polaris",
            "parsl.configs.stampede2",
            "parsl.configs.summit",
            "parsl.configs.toss3_llnl",
        ),
        "config",
    ),
    "parsl.configs.local_threads": "config",
    "parsl.data_provider.files": "File",
    "parsl.dataflow.dependency_resolvers": "DEEP_DEPENDENCY_RESOLVER SHALLOW_DEPENDENCY_RESOLVER DependencyResolver",
    "parsl.dataflow.dflow": "DataFlowKernel DataFlowKernelLoader",
    "parsl.dataflow.errors": "BadCheckpoint DataFlowException DependencyError JoinError PropagatedException",
    "parsl.dataflow.futures": "AppFuture Future",
    "parsl.dataflow.memoization": "BasicMemoizer Memoizer id_for_memo make_hash",
    "parsl.dataflow.rundirs": "make_rundir",
    "parsl.dataflow.states": "FINAL_FAILURE_STATES FINAL_STATES States",
    "parsl.dataflow.taskrecord": "TaskRecord",
    "parsl.errors": "ConfigurationError InternalConsistencyError NoDataFlowKernelError OptionalModuleMissing ParslError",
    "parsl.executors": "HighThroughputExecutor MPIExecutor ThreadPoolExecutor base errors high_throughput status_handling",
    "parsl.executors.base": "ParslExecutor",
    "parsl.executors.errors": "BadMessage BadStateException ExecutorError InvalidResourceSpecification ScalingFailed UnsupportedFeatureError",
    "parsl.executors.execute_task": "execute_task",
    "parsl.executors.high_throughput": "errors",
    "parsl.executors.high_throughput.errors": "CommandClientBadError CommandClientTimeoutError ManagerLost VersionMismatch WorkerLost",
    "parsl.executors.high_throughput.executor": "HighThroughputExecutor",
    "parsl.executors.high_throughput.interchange": "ManagerLost VersionMismatch",
    "parsl.executors.high_throughput.manager_selector": "BlockIdManagerSelector ManagerSelector RandomManagerSelector",
    "parsl.executors.high_throughput.mpi_executor": "MPIExecutor",
    "parsl.executors.high_throughput.mpi_prefix_composer": "InvalidResourceSpecification",
    "parsl.executors.high_throughput.mpi_resource_management": "Scheduler get_nodes_in_batchjob",
    "parsl.executors.high_throughput.process_worker_pool": "WorkerLost execute_task",
    "parsl.executors.status_handling": "BlockProviderExecutor NoStatusHandlingExecutor",
    "parsl.executors.threads": "ThreadPoolExecutor",
    "parsl.jobs.error_handlers": "noop_error_handler simple_error_handler windowed_error_handler",
    "parsl.jobs.errors": "TooManyJobFailuresError",
    "parsl.jobs.job_status_poller": "JobStatusPoller",
    "parsl.jobs.states": "TERMINAL_STATES JobState JobStatus",
    "parsl.jobs.strategy": "Strategy",
    "parsl.launchers": "AprunLauncher GnuParallelLauncher JsrunLauncher MpiExecLauncher MpiRunLauncher SimpleLauncher SingleNodeLauncher SrunLauncher "
    "SrunMPILauncher WrappedLauncher",
    "parsl.launchers.base": "Launcher",
    "parsl.launchers.errors": "BadLauncher",
    "parsl.launchers.launchers": "AprunLauncher GnuParallelLauncher JsrunLauncher MpiExecLauncher MpiRunLauncher SimpleLauncher SingleNodeLauncher "
    "SrunLauncher SrunMPILauncher WrappedLauncher",
    "parsl.log_utils": "DEFAULT_FORMAT set_file_logger set_stream_logger",
    "parsl.logconfigs.base": "LogConfig",
    "parsl.logconfigs.file": "FileLogging",
    "parsl.logconfigs.json": "JSONLogging",
    "parsl.logconfigs.noop": "NoopLogging",
    "parsl.multiprocessing": "ForkProcess SpawnContext SpawnEvent SpawnProcess SpawnQueue join_terminate_close_proc",
    "parsl.providers": "AWSProvider AzureProvider CondorProvider GoogleCloudProvider GridEngineProvider KubernetesProvider LSFProvider LocalProvider "
    "PBSProProvider SlurmProvider TorqueProvider",
    "parsl.providers.aws.aws": "AWSProvider",
    "parsl.providers.azure.azure": "AzureProvider",
    "parsl.providers.condor.condor": "CondorProvider",
    "parsl.providers.googlecloud.googlecloud": "GoogleCloudProvider",
    "parsl.providers.grid_engine.grid_engine": "GridEngineProvider",
    "parsl.providers.kubernetes.kube": "KubernetesProvider",
    "parsl.providers.lsf.lsf": "LSFProvider",
    "parsl.providers.pbspro.pbspro": "PBSProProvider",
    "parsl.providers.slurm.slurm": "SlurmProvider",
    "parsl.providers.torque.torque": "TorqueProvider",
    "parsl.providers.base": "ExecutionProvider",
    "parsl.providers.cluster_provider": "ClusterProvider",
    "parsl.providers.errors": "ExecutionProviderException ScaleOutFailed SchedulerMissingArgs ScriptPathError SubmitException",
    "parsl.providers.local.local": "LocalProvider",
    "parsl.serialize": "deserialize pack_apply_message serialize unpack_apply_message",
    "parsl.serialize.base": "SerializerBase",
    "parsl.serialize.concretes": "DillCallableSerializer DillSerializer PickleSerializer",
    "parsl.serialize.proxystore": "ProxyStoreSerializer",
    "parsl.serialize.errors": "DeserializationError DeserializerPluginError SerializationError",
    "parsl.serialize.facade": "deserialize register_method_for_code register_method_for_data serialize",
    "parsl.usage_tracking.levels": "DISABLED LEVEL_1 LEVEL_2 LEVEL_3",
    "parsl.utils": "AtomicIDCounter AutoCancelTimer RepresentationMixin Timer execute_wait get_all_checkpoints get_last_checkpoint "
    "get_std_fname_mode get_version sanitize_dns_label_rfc1123 sanitize_dns_subdomain_rfc1123 setproctitle time_limited_open wait_for_file "
    "wtime_to_minutes",
    "parsl.version": "VERSION",
}
#: Pairs of (base, derived) that handlers of exceptions rely on.
FAMILIES = [
    ("parsl.errors.ParslError", "parsl.app.errors.AppException"),
    ("parsl.app.errors.AppException", "parsl.app.errors.BashExitFailure"),
    ("parsl.app.errors.AppException", "parsl.app.errors.AppTimeout"),
    ("parsl.app.errors.AppException", "parsl.app.errors.BashAppNoReturn"),
    ("parsl.errors.ParslError", "parsl.app.errors.MissingOutputs"),
    ("parsl.dataflow.errors.DataFlowException", "parsl.dataflow.errors.DependencyError"),
    ("parsl.dataflow.errors.PropagatedException", "parsl.dataflow.errors.JoinError"),
    ("parsl.errors.ParslError", "parsl.dataflow.errors.BadCheckpoint"),
    ("parsl.errors.ParslError", "parsl.executors.errors.InvalidResourceSpecification"),
    ("parsl.executors.errors.ExecutorError", "parsl.executors.errors.BadStateException"),
    ("parsl.errors.ParslError", "parsl.jobs.errors.TooManyJobFailuresError"),
    ("parsl.errors.ParslError", "parsl.serialize.errors.SerializationError"),
    ("parsl.providers.errors.ExecutionProviderException", "parsl.providers.errors.SubmitException"),
    ("parsl.providers.errors.ExecutionProviderException", "parsl.launchers.errors.BadLauncher"),
    ("parsl.executors.base.ParslExecutor", "parsl.executors.status_handling.BlockProviderExecutor"),
    ("parsl.executors.status_handling.BlockProviderExecutor", "parsl.executors.HighThroughputExecutor"),
    ("parsl.providers.base.ExecutionProvider", "parsl.providers.LocalProvider"),
    ("parsl.providers.base.ExecutionProvider", "parsl.providers.cluster_provider.ClusterProvider"),
    ("parsl.providers.cluster_provider.ClusterProvider", "parsl.providers.SlurmProvider"),
    ("parsl.launchers.base.Launcher", "parsl.launchers.SimpleLauncher"),
    ("parsl.launchers.base.Launcher", "parsl.launchers.SrunLauncher"),
    ("parsl.errors.ParslError", "parsl.errors.NoDataFlowKernelError"),
    ("concurrent.futures.Future", "parsl.dataflow.futures.AppFuture"),
    ("concurrent.futures.Future", "parsl.app.futures.DataFuture"),
]


def get(path: str) -> object:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("module", NAMES)
def test_names_are_where_programs_look_for_them(module):
    for name in NAMES[module].split():
        assert get(f"{module}.{name}") is not None


def test_star_gives_the_names_of_the_package():
    namespace: dict[str, object] = {}
    exec("from parsl import *", namespace)
    assert {
        "python_app",
        "bash_app",
        "join_app",
        "load",
        "Config",
        "File",
        "ThreadPoolExecutor",
        "AUTO_LOGNAME",
    } <= set(namespace)


@pytest.mark.parametrize(("base", "derived"), FAMILIES)
def test_families_of_exceptions(base, derived):
    assert issubclass(get(derived), get(base))


def test_exceptions_are_plaits_own():
    assert get("parsl.errors.ParslError") is errors.PlaitError
    assert get("parsl.app.errors.AppTimeout") is errors.AppTimeout
    assert get("parsl.File") is plait.File
    assert get("parsl.AUTO_LOGNAME") == plait.AUTO_LOGNAME == -1
    assert get("parsl.VERSION") == get("parsl.__version__") == get("parsl.version.VERSION")


def test_levels():
    assert [get(f"parsl.usage_tracking.levels.{name}") for name in ("DISABLED", "LEVEL_1", "LEVEL_2", "LEVEL_3")] == [
        0,
        1,
        2,
        3,
    ]


def test_the_bundled_configurations():
    assert [executor.label for executor in get("parsl.configs.local_threads.config").executors] == ["threads"]
    assert [executor.label for executor in get("parsl.configs.htex_local.config").executors] == ["htex_local"]


def test_folders_of_runs_are_numbered(tmp_path):
    make = get("parsl.dataflow.rundirs.make_rundir")
    assert [make(str(tmp_path / "runs"))[-4:] for _ in range(2)] == ["/000", "/001"]


def test_channels_are_gone_upstream_too():
    with pytest.raises(ImportError, match="SSHChannel"):
        exec("from parsl.channels import SSHChannel")
    with pytest.raises(AttributeError, match="upstream has removed channels"):
        _ = importlib.import_module("parsl.channels").SSHChannel
