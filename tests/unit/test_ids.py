from __future__ import annotations

import uuid

from plait.ids import new_run_id


def test_every_run_has_its_own_id():
    ids = {new_run_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(uuid.UUID(run_id).version == 4 for run_id in ids)
