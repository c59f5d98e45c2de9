"""``python -m plait`` is ``plait``."""

from plait.cli.main import app_main

app_main()
