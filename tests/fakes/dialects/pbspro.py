"""PBS Professional and OpenPBS: qsub, qstat, qdel, qselect.

From the commands' manual pages (qsub(1B), qstat(1B), qdel(1B), qselect(1B), https://github.com/openpbs/openpbs/tree/master/doc/man1), the user's guide
of version 2022.1 (job states, job exit codes, https://help.altair.com/2022.1.0/PBS%20Professional/PBSUserGuide2022.1.pdf), and answers of
``qstat -x -f -F json`` that sites have published (https://exaworks.org/psij-python/docs/v/0.9.9/tutorials.html and others).
"""

from __future__ import annotations

import os
import time

from machine import clock, directives, options, to_json, used_s

SERVER = "pbs01.example.org"
_VALUED = ("-N", "-o", "-e", "-l", "-q", "-A", "-j", "-k", "-W", "-S", "-v", "-m", "-M", "-P", "-p", "-r", "-a")
_LETTERS = {"queued": "Q", "running": "R", "held": "H", "suspended": "S", "exiting": "E", "ended": "F"}
#: Exit_status of a job that its execution host ended because of its walltime (JOB_EXEC_KILL_WALLTIME); others are 256 and the signal.
_WALLTIME = -29


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
        return "", f"qsub: script file:: No such file or directory {words[0]}\n", 1
    given = {**inside, **given}
    name = given.get("-N", ["STDIN"])[-1]
    if not re.fullmatch(r"[A-Za-z][!-~]{0,229}", name):
        return "", "qsub: illegal -N value\n", 2
    resources = dict(part.partition("=")[::2] for each in given.get("-l", []) for part in each.split(","))
    if not re.fullmatch(r"\d+(:[a-z_]+=[\w.-]+)+", resources.get("select", "1:ncpus=1")):
        return "", "qsub: Illegal attribute or resource value Resource_List.select\n", 171
    limit = resources.get("walltime", "01:00:00")
    hours, minutes, seconds = (int(part) for part in limit.split(":"))
    number = machine.submit(
        name, words[0], given.get("-o", [None])[-1], given.get("-e", [None])[-1], hours * 3600 + minutes * 60 + seconds,
        queue=given.get("-q", ["workq"])[-1], account=given.get("-A", [None])[-1], select=resources.get("select"),
        variables=variables(machine, name, SERVER, int(resources.get("select", "1").split(":")[0])),
    )  # fmt: skip
    return f"{number}.{SERVER}\n", "", 0


def variables(machine, name, server, nodes):
    """Of a job, with the file of its nodes."""
    path = f"{machine.folder}/nodes-{machine.number}"
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(f"node{number + 1}\n" for number in range(nodes)))
    return {
        "PBS_JOBID": f"{machine.number}.{server}", "PBS_JOBNAME": name, "PBS_O_WORKDIR": os.getcwd(), "PBS_ENVIRONMENT": "PBS_BATCH", "PBS_NODEFILE": path
    }  # fmt: skip


def qstat(machine, argv):
    given, words = options(argv, ("-F", "-u"), ("-x", "-f"))
    if given.get("-F") != ["json"] or "-f" not in given:
        return "", "the fake has qstat -f -F json only\n", 2
    answer = {
        "timestamp": int(time.time()),
        "pbs_version": "2022.1.1.20220926110806",
        "pbs_server": SERVER.split(".", maxsplit=1)[0],
    }
    found, wrong, code = {}, "", 0
    for word in words or [f"{job['number']}.{SERVER}" for job in machine.listed()]:
        job = machine.known(word.split(".")[0])
        if job is None or word.partition(".")[2] not in {"", SERVER}:
            wrong, code = f"{wrong}qstat: Unknown Job Id {word}\n", 153
        elif job["state"] == "ended" and "-x" not in given:
            wrong += f"qstat: {word} Job has finished, use -x or -H to obtain historical job information\n"
            code = 35
        else:
            found[f"{job['number']}.{SERVER}"] = _facts(job)
    if found:
        answer["Jobs"] = found
    return to_json(answer) + "\n", wrong, code


def _facts(job):
    letter = job["lie"] or _LETTERS[job["state"]]
    facts = {
        "Job_Name": job["name"], "Job_Owner": "user@login1.example.org", "job_state": letter, "queue": job["queue"], "server": SERVER,
        "Checkpoint": "u", "ctime": time.ctime(job["submitted_s"]), "Error_Path": f"login1.example.org:{job['err']}",
        "Hold_Types": "u" if letter == "H" else "n", "Join_Path": "n", "Keep_Files": "n", "Mail_Points": "a",
        "Output_Path": f"login1.example.org:{job['out']}", "Priority": 0, "Rerunable": "True",
        "Resource_List": {"ncpus": 1, "nodect": 1, "place": "pack", "select": job["select"], "walltime": clock(job["limit_s"])},
        "substate": {"Q": 10, "R": 42, "H": 20, "F": 92}.get(letter, 41),
    }  # fmt: skip
    if job["began_s"]:
        facts["resources_used"] = {
            "cpupercent": 0,
            "cput": "00:00:00",
            "mem": "2900kb",
            "ncpus": 1,
            "walltime": clock(used_s(job)),
        }
        facts["comment"] = f"Job run at {time.strftime('%a %b %d at %H:%M')} on (node1:ncpus=1)" + (
            " and finished" if letter == "F" else ""
        )
    elif letter == "H":
        facts["comment"] = "Job held by user on Mon Nov 23 04:00:00 2026"
    if letter == "F":
        facts["Exit_status"] = exit_status(job)
        if job["began_s"] is None:
            facts.pop("Exit_status")
            facts["comment"] = "Job deleted by user@login1.example.org"
    return facts


def exit_status(job, walltime=_WALLTIME):
    if job["why"] == "walltime" and job["code"] != 0:
        return walltime
    if job["code"] is None:
        return 271
    return 256 - job["code"] if job["code"] < 0 else job["code"]


def qdel(machine, argv):
    _, words = options(argv, ("-W",), ("-x",))
    wrong, code = "", 0
    for word in words:
        number = word.split(".")[0]
        if machine.known(number) is None:
            wrong, code = f"{wrong}qdel: Unknown Job Id {word}\n", 153
        elif not machine.end(number, "cancelled"):
            wrong, code = f"{wrong}qdel: Job has finished {word}\n", 35
    return "", wrong, code


def qselect(machine, argv):
    given, _ = options(argv, ("-N", "-u", "-s"), ("-x",))
    found = [
        f"{job['number']}.{SERVER}\n" for job in machine.listed()
        if job["name"] == given["-N"][-1] and ("-x" in given or job["state"] != "ended")
    ]  # fmt: skip
    return "".join(found), "", 0
