#!/usr/bin/env bash
# Makes the virtual environment that `make` works in: tools/venv.sh DIRECTORY PYTHON
#
# It has to work on a bare machine with Python, pip and make. Debian and Ubuntu split Python: without python3-venv the module
# `ensurepip` is missing and `python3 -m venv` fails. So, in this order: the normal way; an environment without pip, which the
# machine's own pip then fills (needs neither root nor Debian's packages); apt-get, if we are root; a message that says what to do.
set -euo pipefail
dir=$1 python=$2

fail() { printf 'make: %s\n' "$@" >&2; exit 1; }

command -v "$python" >/dev/null || fail "there is no '$python' on PATH." \
    "Install Python 3.10 or later, or name one: make PYTHON=/path/to/python3"
"$python" - <<'PY' || fail "choose another interpreter: make PYTHON=/path/to/python3.10-or-later"
import sys
if sys.version_info < (3, 10):
    sys.exit(f"make: plait needs Python 3.10 or later; {sys.executable} is {sys.version.split()[0]}.")
PY

with_ensurepip() { "$python" -c 'import ensurepip' 2>/dev/null && "$python" -m venv "$dir"; }

with_outer_pip() {
    "$python" -m pip --version >/dev/null 2>&1 || return 1
    "$python" -m venv --without-pip "$dir" || return 1
    "$python" -m pip install -qq --target "$("$dir/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" pip
}

with_apt() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    echo "make: installing python3-venv (Debian keeps it apart from python3)"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
    with_ensurepip
}

for way in with_ensurepip with_outer_pip with_apt; do
    rm -rf "$dir"
    if $way; then
        # Dependency groups need pip 25.1.
        "$dir/bin/python" -m pip install -qq --upgrade 'pip>=25.1'
        exit 0
    fi
done
rm -rf "$dir"
fail "no virtual environment could be made with $python: it has neither ensurepip nor pip." \
    "As root:  apt-get install python3-venv     or ask your administrator, or name another: make PYTHON=/path/to/python3"
