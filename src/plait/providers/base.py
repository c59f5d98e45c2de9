"""The port through which blocks of nodes are obtained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from plait._util.given import RemembersGiven
from plait.errors import ConfigurationError, SubmitException

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plait.model.jobs import JobStatus


class ExecutionProvider(RemembersGiven, ABC):
    """Begins, watches and ends jobs; one job is one block of nodes.

    Methods are called from one thread at a time and may take seconds. What they raise is taken as "could not be done now".

    Attributes:
        nodes_per_block: nodes of one block.
        init_blocks: blocks that are requested at the start.
        min_blocks: blocks that are kept, whether there is work or not.
        max_blocks: blocks that there may be at once.
        parallelism: how many workers are wanted for each task, from 0 (one block for all of them) to 1.
        script_dir: folder for scripts and output of jobs; set by the executor before the first job.
        resources: what the provider remembers of its jobs.
        cores_per_node: cores of one node, where that is known before a job runs.
        mem_per_node: memory of one node in GB, likewise.
        shares_files: whether the nodes see this machine's files under the same paths. If not, what a block needs to know is part of its command.
        python: the Python of the nodes where they do not share files; None for ``python3``.
        concurrent: whether `submit` may be called while another thread is in `status` or `cancel`.
        tunnels: whether `route` brings a port of this machine's loopback to the nodes, so that nothing else needs to be listened on.
    """

    nodes_per_block: int = 1
    init_blocks: int = 1
    min_blocks: int = 0
    max_blocks: int = 1
    parallelism: float = 1
    script_dir: str | None = None
    cores_per_node: int | None = None
    mem_per_node: float | None = None
    shares_files: bool = True
    python: str | None = None
    concurrent: bool = False
    tunnels: bool = False

    @property
    @abstractmethod
    def label(self) -> str:
        """Name of the provider."""

    @property
    @abstractmethod
    def status_polling_interval(self) -> float:
        """Seconds between two calls of `status`, at least."""

    @abstractmethod
    def submit(self, command: str, tasks_per_node: int, job_name: str = "plait.auto") -> str | None:
        """Begins a job that runs the command.

        Args:
            command: a shell command.
            tasks_per_node: how often it is to run on each node.
            job_name: a name for people, which need not be unique.

        Returns:
            The id of the job, for the other methods; None when it could not be begun.

        Raises:
            ExecutionProviderException: it could not be begun, with the reason.
        """

    @abstractmethod
    def status(self, job_ids: Sequence[str]) -> list[JobStatus]:
        """How each of the jobs is, in the same order."""

    @abstractmethod
    def cancel(self, job_ids: Sequence[str]) -> list[bool]:
        """Ends jobs; for each whether that was accepted. One that has ended already counts as ended."""

    # ------------------------------------------------------------------ what a provider may do better
    def submit_many(self, requests: Sequence[tuple[str, int, str]]) -> list[str | Exception]:
        """Begins several jobs: for each of them its id, or why it could not be begun.

        Args:
            requests: command, tasks per node and name of each, as of `submit`.
        """
        answers: list[str | Exception] = []
        for command, tasks_per_node, job_name in requests:
            try:
                job_id = self.submit(command, tasks_per_node, job_name)
            except Exception as error:  # noqa: BLE001 - plug-ins and the world: the others may still be begun
                answers.append(error)
            else:
                answers.append(str(job_id) if job_id else _no_reason(self, job_name))
        return answers

    def route(self, addresses: Sequence[str], port: int) -> tuple[list[str], int]:
        """Where the nodes reach a port of this machine, which listens on these addresses. Called once the port is known, before the first job."""
        return list(addresses), port

    def ticket(self, job_id: str, job_name: str = "") -> dict[str, str] | None:  # noqa: ARG002 - for those whose jobs outlive this process
        """What another process needs to find a job again (`providers.tickets`); None where jobs end with this process.

        Args:
            job_id: the job; empty for one that is to be submitted next.
            job_name: its name, as it will be given to `submit`.
        """
        return None

    def close(self) -> None:
        """Gives up what the provider keeps open between calls, at the end of a run. It may be used again afterwards."""


def _no_reason(provider: ExecutionProvider, job_name: str) -> Exception:
    return SubmitException(job_name, f"the provider {provider.label} did not say why it begins no job")


def check_blocks(
    provider: str, nodes_per_block: int, init_blocks: int, min_blocks: int, max_blocks: int, parallelism: float
) -> None:
    """Refuses numbers of blocks that cannot work.

    Raises:
        ConfigurationError: naming the parameter, its value and what was expected.
    """
    for name, value, least in (
        ("nodes_per_block", nodes_per_block, 1),
        ("min_blocks", min_blocks, 0),
        ("init_blocks", init_blocks, 0),
        ("max_blocks", max_blocks, 0),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigurationError(f"{provider}({name}={value!r}): expected a whole number from {least}")
    if max(init_blocks, min_blocks) > max_blocks:
        raise ConfigurationError(
            f"{provider}(init_blocks={init_blocks}, min_blocks={min_blocks}, max_blocks={max_blocks}): "
            "expected min_blocks and init_blocks of at most max_blocks"
        )
    if isinstance(parallelism, bool) or not isinstance(parallelism, (int, float)) or not 0 <= parallelism <= 1:
        raise ConfigurationError(f"{provider}(parallelism={parallelism!r}): expected a number from 0 to 1")
