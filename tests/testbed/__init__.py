"""Real systems on one machine: what tests of clusters run against.

Each module here starts one system as root on a Debian machine, on loopback or in network namespaces of its own, from Debian's packages
(tools/debian.sh), and takes all of it away again. What a machine lacks skips the tests, and fails them with ``CI=true``.

`common.py` is what they share. Session fixtures of the beds are in the modules; a folder of tests that wants one imports it in its conftest.py.
"""
