"""Which tasks over whole nodes a block can ever take, as far as the executor's parameters tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plait.errors import InvalidResourceSpecification
from plait.launchers.simple import SimpleLauncher
from plait.model.resources import count_of

if TYPE_CHECKING:
    from plait.model.resources import Resources
    from plait.providers.base import ExecutionProvider


def check_gang(resources: Resources, label: str, provider: ExecutionProvider) -> None:
    """Refuses what no block with a manager on each node can take.

    More ranks than cores are refused only where the provider says what a node has: what a manager finds on its node says nothing of how many ranks the launcher
    starts there, which may share cores.

    Args:
        resources: what is asked for.
        label: of the executor.
        provider: where its blocks come from.

    Raises:
        InvalidResourceSpecification: with the numbers.
    """
    nodes = resources.nodes
    there = provider.nodes_per_block
    if nodes > 1 and isinstance(getattr(provider, "launcher", None), SimpleLauncher):
        raise InvalidResourceSpecification(
            {"nodes"},
            f"{count_of(nodes, 'node')} asked; SimpleLauncher starts a manager on the first node of a block only, so executor {label!r} knows one: "
            "use a launcher that starts one on each node, such as SrunLauncher, or an MPIExecutor",
        )
    check_nodes(resources, label, there)
    cores = getattr(provider, "cores_per_node", None)
    if cores is not None and resources.ranks_per_node > cores:
        raise InvalidResourceSpecification(
            {"ranks_per_node"},
            f"{count_of(resources.ranks_per_node, 'rank')} on each node asked, a node of executor {label!r} has {cores:g} cores (cores_per_node)",
        )


def check_nodes(resources: Resources, label: str, there: int, why: str = "nodes_per_block") -> None:
    """Refuses more nodes than a block has, which ``why`` says.

    Raises:
        InvalidResourceSpecification: with the numbers.
    """
    if resources.nodes > there:
        raise InvalidResourceSpecification(
            {"nodes"},
            f"{count_of(resources.nodes, 'node')} of one block asked, a block of executor {label!r} has {there} ({why})",
        )
