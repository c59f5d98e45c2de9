"""Tasks that need more than one core, and requests that cannot be met."""

import threading
import time

import plait
from plait.errors import InvalidResourceSpecification

lock = threading.Lock()
count = {"running": 0, "most": 0}


@plait.python_app(cores=2)
def wide(seconds):
    """Uses two of the four cores: at most two of these run at once."""
    with lock:
        count["running"] += 1
        count["most"] = max(count.values())
    time.sleep(seconds)
    with lock:
        count["running"] -= 1


with plait.load(plait.Config(executors=[plait.ThreadPoolExecutor(max_threads=4)])):
    plait.wait([wide(0.2) for _ in range(6)])
    print("at once:", count["most"])
    urgent = wide.options(cores=1, priority=0)  # the same app, asking for something else
    print("one core:", urgent(0.01).result())
    try:
        wide.options(cores=8)(0.05)
    except InvalidResourceSpecification as error:
        print("refused:", error)
