"""The smallest program: an app, a call, a result."""

import plait


@plait.python_app
def hello(name):
    import os

    return f"Hello {name}, from process {os.getpid()}"


greetings = [hello(name) for name in ("Ada", "Grace", "Edsger")]  # three futures, at once
for greeting in greetings:
    print(greeting.result())
