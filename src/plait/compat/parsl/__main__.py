"""``python -m plait.compat.parsl script.py [arguments]`` or ``-m module [arguments]``: runs a program that says ``import parsl``."""

from __future__ import annotations

import sys

from plait.compat.parsl.run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
