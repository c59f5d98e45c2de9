"""Tasks that are not wanted any more: queued or running, and what needs them."""

import concurrent.futures
import time

import plait


@plait.python_app
def search(seconds):
    time.sleep(seconds)
    return f"found after {seconds} s"


@plait.python_app
def use(found):
    return found.upper()


with plait.load():
    fast, slow = search(0.1), search(1000)
    report = use(slow)
    done, _ = plait.wait([fast, slow], return_when=concurrent.futures.FIRST_COMPLETED)
    print(done.pop().result())
    print("accepted:", slow.cancel())  # its process is ended
    print("cancelled:", slow.cancelled(), "and what needs it:", report.cancelled())
    print(report.explain())
