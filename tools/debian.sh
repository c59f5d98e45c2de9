#!/usr/bin/env bash
# Sees to it that the Debian packages that the tests need are there: tools/debian.sh
# As root on Debian or Ubuntu it installs what is missing; elsewhere it says what is missing and lets the tests that need it skip
# (with CI=true they fail instead, see tests/support.py).
set -euo pipefail

# package:command that proves it
needs=(bash:bash procps:ps iproute2:ip)

missing=()
for need in "${needs[@]}"; do
    command -v "${need#*:}" >/dev/null || missing+=("${need%%:*}")
done
[ ${#missing[@]} = 0 ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "make: installing for the tests: ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
else
    echo "make: some tests need packages that are not here and that only root can install: ${missing[*]}" >&2
fi
