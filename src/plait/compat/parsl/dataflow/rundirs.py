"""``parsl.dataflow.rundirs``."""

from plait._util.dirs import make_numbered_dir as make_rundir

__all__ = ["make_rundir"]
