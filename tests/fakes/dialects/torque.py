"""Torque: qsub, qstat, qdel, qselect.

From the administrator's guide, "Commands overview" and "Job exit status" (https://docs.adaptivecomputing.com/torque/3-0-5/2.7jobexitstatus.php and
https://docs.adaptivecomputing.com/8-1-0/basic/Content/topics/torque/commands/qstat.htm), which show ``qstat -f`` with a job that has ended.
"""

from __future__ import annotations

import time

from machine import clock, directives, options, used_s
from pbspro import variables

SERVER = "torque.example.org"
_VALUED = ("-N", "-o", "-e", "-l", "-q", "-A", "-j", "-k", "-W", "-S", "-v", "-m", "-M", "-p", "-r", "-a")
_LETTERS = {"queued": "Q", "running": "R", "held": "H", "suspended": "S", "exiting": "E", "ended": "C"}


def command(name, argv):
    kinds = {
        "qsub": ("submit", qsub),
        "qstat": ("status", qstat),
        "qdel": ("cancel", qdel),
        "qselect": ("find", qselect),
    }
    kind, act = kinds[name]
    return kind, lambda machine: act(machine, argv)


def qsub(machine, argv):
    import re

    try:
        given, words = options(argv, _VALUED, ("-V", "-z"))
        with open(words[0], encoding="utf-8") as file:
            inside, _ = options(directives(file.read(), "#PBS"), _VALUED, ("-V", "-z"))
    except ValueError as error:
        return "", f"qsub: invalid option -- '{str(error)[1:]}'\nusage: qsub [-a date_time] [-A account_string] …\n", 2
    except OSError:
        return "", "qsub: script file:: No such file or directory\n", 1
    given = {**inside, **given}
    name = given.get("-N", ["STDIN"])[-1]
    if not re.fullmatch(r"[A-Za-z][!-~]*", name):
        return "", "qsub: illegal -N value\n", 1
    resources = dict(part.partition("=")[::2] for each in given.get("-l", []) for part in each.split(","))
    if not re.fullmatch(r"\d+(:ppn=\d+)?(:[\w]+)*", resources.get("nodes", "1")):
        return "", "qsub: submit error (Illegal attribute or resource value for Resource_List.nodes)\n", 171
    hours, minutes, seconds = (int(part) for part in resources.get("walltime", "01:00:00").split(":"))
    number = machine.submit(
        name, words[0], given.get("-o", [None])[-1], given.get("-e", [None])[-1], hours * 3600 + minutes * 60 + seconds,
        queue=given.get("-q", ["batch"])[-1], account=given.get("-A", [None])[-1], nodes=resources.get("nodes", "1"),
        variables=variables(machine, name, SERVER, int(re.match(r"\d+", resources.get("nodes", "1"))[0])),
    )  # fmt: skip
    return f"{number}.{SERVER}\n", "", 0


def qstat(machine, argv):
    given, words = options(argv, ("-u",), ("-f",))
    if "-f" not in given:
        return "", "the fake has qstat -f only\n", 2
    out, wrong, code = "", "", 0
    for word in words or [f"{job['number']}.{SERVER}" for job in machine.listed()]:
        job = machine.known(word.split(".")[0])
        if job is None:
            wrong, code = f"{wrong}qstat: Unknown Job Id Error {word}\n", 153
        else:
            out += _facts(job)
    return out, wrong, code


def _facts(job):
    letter = job["lie"] or _LETTERS[job["state"]]
    facts = {"Job_Name": job["name"], "Job_Owner": "user@login1.example.org"}
    if job["began_s"]:
        facts |= {
            "resources_used.cput": "00:00:00",
            "resources_used.mem": "2900kb",
            "resources_used.walltime": clock(used_s(job)),
        }
    facts |= {
        "job_state": letter, "queue": job["queue"], "server": SERVER, "Checkpoint": "u", "ctime": time.ctime(job["submitted_s"]),
        "Error_Path": f"login1.example.org:{job['err']}", "exec_host": "node1/0", "Hold_Types": "u" if letter == "H" else "n",
        "Output_Path": f"login1.example.org:{job['out']}", "Priority": "0", "Rerunable": "True", "Resource_List.nodect": "1",
        "Resource_List.nodes": job["nodes"], "Resource_List.walltime": clock(job["limit_s"]),
        "Variable_List": "PBS_O_QUEUE=batch,PBS_O_HOME=/home/user,PBS_O_LOGNAME=user,PBS_O_PATH=/usr/local/bin:/usr/bin:/bin,PBS_O_SHELL=/bin/bash",
    }  # fmt: skip
    if letter == "C":
        facts["exit_status"] = _exit_status(job)
        facts["comp_time"] = time.ctime(job["ended_s"])
    return f"Job Id: {job['number']}.{SERVER}\n" + "".join(_line(name, value) for name, value in facts.items()) + "\n"


def _line(name, value):
    """Lines are at most 79 characters long; what is longer goes on behind a tab in the next."""
    text = f"    {name} = {value}"
    lines = []
    while len(text) > 79:
        cut = max(text.rfind(",", 20, 79) + 1, 0) or 79
        lines.append(text[:cut])
        text = f"\t{text[cut:]}"
    return "\n".join([*lines, text, ""])


def _exit_status(job):
    """What the script returned; 256 and the signal where it was ended by one, as it is when its walltime is over."""
    if job["code"] is None:
        return 271
    return 256 - job["code"] if job["code"] < 0 else job["code"]


def qdel(machine, argv):
    _, words = options(argv, ("-W", "-m"), ("-p",))
    wrong, code = "", 0
    for word in words:
        number = word.split(".")[0]
        if machine.known(number) is None:
            wrong, code = f"{wrong}qdel: Unknown Job Id Error {word}\n", 153
        elif not machine.end(number, "cancelled"):
            wrong, code = (
                f"{wrong}qdel: Request invalid for state of job MSG=invalid state for job - COMPLETE {word}\n",
                170,
            )
    return "", wrong, code


def qselect(machine, argv):
    given, _ = options(argv, ("-N", "-u", "-s"))
    return "".join(f"{job['number']}.{SERVER}\n" for job in machine.listed() if job["name"] == given["-N"][-1]), "", 0
