"""The port through which a provider spreads one command over the nodes of a block."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Launcher(ABC):
    """Wraps a command so that it runs on the nodes of a job.

    Args:
        debug: whether the wrapped command says what it does.
    """

    def __init__(self, debug: bool = True) -> None:
        self.debug = debug

    @abstractmethod
    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        """The command line, which may be several lines of bash.

        Args:
            command: what is to run.
            tasks_per_node: how often on each node.
            nodes_per_block: nodes of the block.
            script_dir: folder for files that it needs.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"
