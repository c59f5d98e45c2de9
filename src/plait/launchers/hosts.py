"""Which hosts a job has, as bash asks the batch system on the first of them."""

from __future__ import annotations

from typing import Final

#: Where `some_hosts` writes them; ``plait_script`` is the file of the command.
HOSTS_FILE: Final = '"$plait_script.hosts"'

#: The files and the variable are those of PBS and Torque, Cobalt, Slurm, LSF and Grid Engine, in this order.
_ALL_HOSTS: Final = """\
plait_all_hosts() {
    if [ -n "${PBS_NODEFILE-}" ]; then cat "$PBS_NODEFILE"
    elif [ -n "${COBALT_NODEFILE-}" ]; then cat "$COBALT_NODEFILE"
    elif [ -n "${SLURM_JOB_NODELIST-}" ]; then scontrol show hostnames "$SLURM_JOB_NODELIST"
    elif [ -n "${LSB_DJOB_HOSTFILE-}" ]; then cat "$LSB_DJOB_HOSTFILE"
    elif [ -n "${PE_HOSTFILE-}" ]; then cat "$PE_HOSTFILE"
    fi
}"""


def some_hosts(nodes: int, times: int) -> str:
    """Lines of bash that write so many different hosts into `HOSTS_FILE`, each so many times, and end the job when there are fewer.

    Where no batch system names hosts there is no file. What a line of a batch system has behind the host's name is left out.

    Args:
        nodes: hosts that are wanted. When the job has more, the first ones are taken.
        times: lines for each, one below the other.
    """
    return f"""\
{_ALL_HOSTS}
plait_all_hosts | awk '
    NF && !seen[$1]++ && count < {nodes} {{ count++; for (line = 0; line < {times}; line++) print $1 }}
    END {{ if (count && count < {nodes}) {{ print "plait: {nodes} nodes are wanted, and the job has " count > "/dev/stderr"; exit 1 }} }}
' >{HOSTS_FILE} || {{ plait_status=$?; rm -f -- "$plait_script" {HOSTS_FILE}; exit "$plait_status"; }}
[ -s {HOSTS_FILE} ] || rm -f -- {HOSTS_FILE}"""
