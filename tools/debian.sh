#!/usr/bin/env bash
# Sees to it that the Debian packages that the tests need are there: tools/debian.sh
# As root on Debian or Ubuntu it installs what is missing; elsewhere it says what is missing and lets the tests that need it skip
# (with CI=true they fail instead, see tests/support.py). No service of them is started: tests start their own, and end them.
set -euo pipefail

# package:command that proves it
needs=(
    bash:bash procps:ps gcc:gcc
    iproute2:ip iptables:iptables iputils-ping:ping              # hosts in network namespaces
    slurmctld:slurmctld slurmd:slurmd slurm-client:sbatch munge:munged slurmdbd:slurmdbd mariadb-server:mariadbd
    gridengine-master:sge_qmaster gridengine-exec:sge_execd gridengine-client:qsub
    openssh-server:sshd openssh-client:ssh rsync:rsync
    openmpi-bin:mpiexec.openmpi mpich:mpiexec.mpich parallel:parallel util-linux:nsenter
    libopenmpi-dev:openmpi/include/mpi.h libmpich-dev:mpich/mpi.h # headers, proved by a file
)
has() {
    case $1 in
    */*) compgen -G "/usr/lib/*/$1" >/dev/null || compgen -G "/usr/include/*/$1" >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

PATH=$PATH:/usr/sbin:/sbin:/usr/lib/gridengine
missing=()
for need in "${needs[@]}"; do
    has "${need#*:}" || missing+=("${need%%:*}")
done
[ ${#missing[@]} = 0 ] && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "make: some tests need packages that are not here and that only root can install: ${missing[*]}" >&2
    exit 0
fi

echo "make: installing for the tests: ${missing[*]}"
policy=/usr/sbin/policy-rc.d # asked before a service is started by an installation; 101 forbids it
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
fi
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get -o DPkg::Lock::Timeout=600 update -qq && apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
rm -f "$log"
