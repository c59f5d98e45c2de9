"""What batch systems say of their queues. Slurm's and Grid Engine's answers were given by them; the others are as their documentation has them."""

from __future__ import annotations

import json
import math

import pytest

from plait.sites import queues
from plait.sites.queues import Queue

SINFO = """\
debug*|up|30:00|4|4|4000|(null)|1-infinite
gpu|up|1-00:00:00|2|64|256000|gpu:a100:4(S:0-1)|1-2
gpu|up|1-00:00:00|1|32|128000|gpu:v100:2|1-2
old|down|infinite|10|16|64000|(null)|1-infinite
a line that is none
"""

PBS_TEXT = """\
Queue: route
    queue_type = Route
    enabled = True
    started = True

Queue: batch
    queue_type = Execution
    total_jobs = 0
    resources_max.nodect = 16
    resources_max.walltime = 48:00:
\t00
    enabled = True
    started = True

Queue: closed
    queue_type = Execution
    acl_groups = staff
    enabled = False
    started = True
"""

BQUEUES = """\

QUEUE: normal
  -- For normal low priority jobs.  This is the default queue.

PARAMETERS/STATISTICS
PRIO NICE STATUS          MAX JL/U JL/P JL/H NJOBS  PEND   RUN SSUSP USUSP  RSV PJOBS
 30    0  Open:Active       -    -    -    -     0     0     0     0     0    0     0

MAXIMUM LIMITS:
 RUNLIMIT
 1440.0 min

------------------------------------------------------------------------------
QUEUE: night
  -- At night

PARAMETERS/STATISTICS
PRIO NICE STATUS          MAX JL/U JL/P JL/H NJOBS  PEND   RUN SSUSP USUSP  RSV PJOBS
 30    0  Open:Inact_Win    -    -    -    -     0     0     0     0     0    0     0
"""

QCONF = """\
qname                 all.q
hostlist              @allhosts
pe_list               make mpi smp
slots                 4,[node1=2], \\
                      [node2=4]
s_rt                  INFINITY
h_rt                  12:00:00
"""

FLUX = """\
QUEUE    EN ST TDEFAULT   TLIMIT     NNODES      NCORES       NGPUS
batch*    ✔  ✔      30m       1d      0-32       0-inf       0-inf
debug     ✔  ✗      30m       1h      0-2        0-inf       0-inf
"""


def answers(**said):
    """Answers commands as said: the words joined by `_`, options left out."""

    def ask(*argv):
        return said.get(
            "_".join(word for word in argv if not word.startswith("-") or word in {"-Q", "-B", "-sql", "-sq"})
        )

    return ask


def test_slurm():
    debug, gpu, old = queues.find_queues("slurm", answers(sinfo=SINFO))
    assert debug == Queue("debug", default=True, walltime_s=1800, nodes=4, cores=4, memory_gb=4000 / 1024)
    assert (gpu.nodes, gpu.max_nodes, gpu.cores, gpu.gpus, gpu.gpu_kind, gpu.walltime) == (
        3,
        2,
        32,
        4,
        "a100",
        "24:00:00",
    )
    assert not old.open
    assert old.walltime == "no limit"
    assert str(gpu) == "gpu: walltime 24:00:00, 3 nodes, at most 2 in one job, 32 cores, 125 GB, 4 GPUs (a100)"
    assert str(debug).endswith("(the default)")
    assert str(old).endswith("(closed)")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("infinite", math.inf), ("30", 1800), ("30:00", 1800), ("02:00:00", 7200), ("1-00", 86400), ("2-12:30", 217800),
        ("1-02:03:04", 93784), ("n/a", math.inf), ("", math.inf),
    ],
)  # fmt: skip
def test_times_of_slurm(text, seconds):
    assert queues._slurm_time(text) == seconds


@pytest.mark.parametrize(
    ("text", "gpus"),
    [("gpu:4", (4, "")), ("gpu", (1, "")), ("nvme:1,gpu:h100:8", (8, "h100")), ("(null)", (0, "")), ("gpu:tesla:2(S:0)", (2, "tesla")), ("nogpu:3", (0, ""))],
)  # fmt: skip
def test_resources_of_slurm(text, gpus):
    assert queues._gres(text) == gpus


def test_pbs_as_text_and_as_json():
    batch, route, closed = queues.find_queues(
        "torque", answers(**{"qstat_-Q": PBS_TEXT, "qstat_-B": "Server: x\n    default_queue = batch\n"})
    )
    assert batch == Queue("batch", default=True, walltime_s=172800, max_nodes=16)
    assert not closed.open
    assert closed.notes == ("for some users only",)
    assert str(route) == "route: walltime no limit, gives jobs to other queues"
    assert queues.choose([route, closed]) is None
    said = {
        "pbs_version": "22.05.11",
        "Queue": {
            "workq": {
                "queue_type": "Execution",
                "enabled": "True",
                "started": "True",
                "resources_max": {"walltime": "24:00:00"},
            },
            "routing": {"queue_type": "Route", "enabled": "True", "started": "True"},
        },
    }
    workq, routing = queues.find_queues("pbspro", answers(**{"qstat_-Q_json": json.dumps(said)}))
    assert workq == Queue("workq", walltime_s=86400)
    assert routing.routes
    assert queues.pbs('{"Queue": ') == []


def test_the_limit_of_an_lsf_queue_is_not_its_default():
    default = "DEFAULT LIMITS:\n RUNLIMIT\n 60.0 min of host1\n\nMAXIMUM LIMITS:"
    (queue, _) = queues.lsf(BQUEUES.replace("MAXIMUM LIMITS:", default))
    assert queue.walltime == "24:00:00"


def test_lsf():
    normal, night = queues.find_queues("lsf", answers(bqueues=BQUEUES))
    assert normal == Queue("normal", default=True, walltime_s=86400)
    assert night == Queue("night", notes=("begins jobs at certain hours only",))
    assert not queues.lsf(BQUEUES.replace("Inact_Win", "Inact_Adm"))[1].open


def test_grid_engine():
    (queue,) = queues.find_queues("gridengine", answers(**{"qconf_-sql": "all.q\nlost.q\n", "qconf_-sq_all.q": QCONF}))
    assert queue == Queue("all.q", walltime_s=43200, cores=4, notes=("parallel environments: make mpi smp",))


def test_flux():
    batch, debug = queues.find_queues("flux", answers(flux_queue_list=FLUX))
    assert batch == Queue("batch", default=True, walltime_s=86400, max_nodes=32)
    assert debug == Queue("debug", open=False, walltime_s=3600, max_nodes=2)
    assert queues.flux("no queues") == []


@pytest.mark.parametrize("system", ["slurm", "pbspro", "torque", "lsf", "gridengine", "flux", "condor", "something"])
def test_systems_that_say_nothing(system):
    assert queues.find_queues(system, answers()) is None


def test_which_to_begin_with():
    assert queues.choose([]) is None
    long, short = Queue("long", walltime_s=9), Queue("short", walltime_s=1)
    assert queues.choose([short, long]) is long
    assert queues.choose([long, Queue("d", default=True)]).name == "d"
    assert queues.choose([Queue("d", default=True, open=False), short]) is short
    assert queues.choose([short, Queue("some", walltime_s=99, notes=("for some users only",))]) is short


def test_as_data():
    assert Queue("a").data()["walltime"] is None
    assert json.dumps(Queue("a", walltime_s=60).data()).count("00:01:00") == 1


def test_accounts_of_slurm():
    def ask(*argv):
        assert argv[-2:] == ("user=ada", "format=account")
        return "physics\nphysics\nchem\n\n"

    assert queues.find_accounts("slurm", "ada", ask) == ["chem", "physics"]
    assert queues.find_accounts("slurm", "ada", answers()) == []
    assert queues.find_accounts("lsf", "ada", ask) == []
