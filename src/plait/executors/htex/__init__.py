"""Pilot jobs: blocks of nodes are obtained once, a manager on each node runs workers, an interchange feeds them.

```
driver                       interchange               manager (one per node)        workers
executor.py, driver.py ────▶ interchange.py   ◀─────── manager.py                ──▶ the shared pool's
blocks.py                    core.py (pure)            uplink.py
            Unix socket pair                TCP: CurveZMQ
```
"""
