"""``parsl.providers.kubernetes.kube``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.compat.parsl.providers.local.local import drop_removed, most_blocks
from plait.compat.parsl.utils import RepresentationMixin
from plait.providers.kubernetes import KubernetesProvider as _KubernetesProvider

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["KubernetesProvider"]


class KubernetesProvider(_KubernetesProvider, RepresentationMixin):
    """Blocks as Jobs of a Kubernetes cluster."""

    __repr__ = RepresentationMixin.__repr__

    def __init__(
        self,
        image: str,
        namespace: str = "default",
        nodes_per_block: int = 1,
        init_blocks: int = 4,
        min_blocks: int = 0,
        max_blocks: int = 10,
        max_cpu: float = 2,
        max_mem: str = "500Mi",
        init_cpu: float = 1,
        init_mem: str = "250Mi",
        extra_requests: Mapping[str, str] | None = None,
        extra_limits: Mapping[str, str] | None = None,
        parallelism: float = 1,
        worker_init: str = "",
        pod_name: str | None = None,
        user_id: str | None = None,
        group_id: str | None = None,
        run_as_non_root: bool = False,
        secret: str | None = None,
        persistent_volumes: Sequence[tuple[str, str]] = (),
        service_account_name: str | None = None,
        annotations: Mapping[str, str] | None = None,
        **removed: Any,
    ) -> None:
        drop_removed("KubernetesProvider", removed)
        super().__init__(
            image,
            namespace,
            nodes_per_block,
            init_blocks,
            min_blocks,
            most_blocks("KubernetesProvider", init_blocks, min_blocks, max_blocks),
            max_cpu,
            max_mem,
            init_cpu,
            init_mem,
            extra_requests,
            extra_limits,
            parallelism,
            worker_init,
            pod_name,
            user_id,
            group_id,
            run_as_non_root,
            secret,
            persistent_volumes,
            service_account_name,
            annotations,
        )
