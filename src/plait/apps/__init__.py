"""What users write: apps."""

from plait.apps.app import App, BashApp, JoinApp, PythonApp
from plait.apps.collect import as_completed, map, wait  # noqa: A004 - what users look for
from plait.apps.decorators import bash_app, join_app, python_app

__all__ = [
    "App",
    "BashApp",
    "JoinApp",
    "PythonApp",
    "as_completed",
    "bash_app",
    "join_app",
    "map",
    "python_app",
    "wait",
]
