"""IBM Spectrum LSF 10.1: bsub, bjobs, bkill.

From the reference of its commands (https://www.ibm.com/docs/en/spectrum-lsf/10.1.0?topic=reference-command: bsub, bjobs -o and -json, bkill), "Job states"
and "Job termination reasons" (https://www.ibm.com/docs/en/spectrum-lsf/10.1.0?topic=output-termination-reasons-displayed-by-bacct-bhist-bjobs), and answers
of ``bjobs -json`` that sites have published.
"""

from __future__ import annotations

import os
import sys
import time

from machine import directives, options, to_json

_VALUED = (
    "-J",
    "-o",
    "-oo",
    "-e",
    "-eo",
    "-W",
    "-nnodes",
    "-n",
    "-R",
    "-q",
    "-P",
    "-cwd",
    "-alloc_flags",
    "-gpu",
    "-M",
    "-U",
)
_STATES = {"queued": "PEND", "running": "RUN", "held": "PSUSP", "suspended": "SSUSP", "exiting": "RUN"}
_REASONS = {
    "walltime": "TERM_RUNLIMIT: job killed after reaching LSF run time limit",
    "cancelled": "TERM_OWNER: job killed by owner",
    "administrator": "TERM_ADMIN: job killed by root or LSF administrator",
    "preempted": "TERM_PREEMPT: job killed after preemption",
    "node": "TERM_ZOMBIE: job exited while LSF is not available",
}


def command(name, argv):
    kinds = {
        "bsub": ("submit", bsub),
        "bjobs": ("find" if "-J" in argv else "status", bjobs),
        "bkill": ("cancel", bkill),
    }
    kind, act = kinds[name]
    return kind, lambda machine: act(machine, argv)


def bsub(machine, argv):
    """Options in the script count only when it comes from standard input; a script that is named is a command like any other."""
    import re

    try:
        given, words = options(argv, _VALUED, ("-x", "-H"))
        script = words[0] if words else f"{machine.folder}/stdin-{machine.state['next']}"
        if not words:
            text = sys.stdin.read()
            with open(script, "w", encoding="utf-8") as file:
                file.write(text)
            inside, _ = options(directives(text, "#BSUB"), _VALUED, ("-x", "-H"))
            given = {**inside, **given}
        elif not os.access(script, os.X_OK):
            return "", f"{script}: Permission denied. Job not submitted.\n", 255
    except ValueError as error:
        return "", f"{error}: Illegal option. Job not submitted.\n", 255
    name = given.get("-J", [script])[-1]
    if len(name) > 4094:
        return "", "Job name is too long. Job not submitted.\n", 255
    limit = given.get("-W", ["60"])[-1]
    if not re.fullmatch(r"(\d+:)?\d+", limit):
        return "", f"{limit}: Illegal job run limit specification. Job not submitted.\n", 255
    hours, _, minutes = limit.rpartition(":")
    out = (given.get("-oo") or given.get("-o") or [None])[-1]
    err = (given.get("-eo") or given.get("-e") or [out])[-1]
    number = machine.submit(
        name, script, out, err, (int(hours or 0) * 60 + int(minutes)) * 60, queue=given.get("-q", ["normal"])[-1],
        nodes=given.get("-nnodes", [None])[-1], slots=given.get("-n", [None])[-1], asked=given.get("-R", [None])[-1],
        project=given.get("-P", ["default"])[-1], variables={"LSB_JOBNAME": name, "LSB_HOSTS": "node1"},
    )  # fmt: skip
    queue = f"queue <{given['-q'][-1]}>" if "-q" in given else "default queue <normal>"
    return f"Job <{number}> is submitted to {queue}.\n", "", 0


def bjobs(machine, argv):
    given, words = options(argv, ("-o", "-J", "-u"), ("-a", "-json", "-w"))
    if "-json" not in given or "-o" not in given:
        return "", "the fake has bjobs -json -o only\n", 255
    fields = given["-o"][-1].split()
    wrong, records = "", []
    if "-J" in given:
        jobs = [job for job in machine.listed() if job["name"] == given["-J"][-1]]
        if not jobs:
            return (
                to_json({"COMMAND": "bjobs", "JOBS": 0, "RECORDS": []}, 2) + "\n",
                f"Job <{given['-J'][-1]}> is not found\n",
                255,
            )
        records = [_facts(job, fields) for job in jobs]
    else:
        for word in words:
            job = machine.known(word)
            if job is None:
                records.append({"JOBID": word, "ERROR": f"Job <{word}> is not found"})
                wrong = "all" if len(words) == 1 else wrong
            else:
                records.append(_facts(job, fields))
    text = to_json({"COMMAND": "bjobs", "JOBS": len(records), "RECORDS": records}, 2).replace("/", "\\/")
    return text + "\n", "", 255 if wrong or any("ERROR" in record for record in records) else 0


def _facts(job, fields):
    stat = job["lie"] or _STATES.get(job["state"]) or ("DONE" if job["code"] == 0 else "EXIT")
    facts = {
        "JOBID": str(job["number"]), "STAT": stat, "JOB_NAME": job["name"], "QUEUE": job["queue"], "EXIT_CODE": "", "EXIT_REASON": "",
        "PEND_REASON": "New job is waiting for scheduling;" if stat == "PEND" else "", "SUSPEND_REASON": "",
        "SUBMIT_TIME": time.strftime("%b %d %H:%M", time.localtime(job["submitted_s"])),
    }  # fmt: skip
    if stat == "EXIT":
        code = job["code"]
        facts["EXIT_CODE"] = "" if code is None else str(code if code >= 0 else 128 - code)
        facts["EXIT_REASON"] = _REASONS.get(job["why"], "")
    if stat in {"PSUSP", "SSUSP"}:
        facts["SUSPEND_REASON"] = (
            "The job was suspended by the user while pending;"
            if stat == "PSUSP"
            else "Host load exceeded the threshold;"
        )
    return {name.upper(): facts.get(name.upper(), "") for name in fields}


def bkill(machine, argv):
    _, words = options(argv, ("-s",), ("-r", "-d"))
    out, wrong, code = "", "", 0
    for word in words:
        if machine.known(word) is None:
            wrong, code = f"{wrong}Job <{word}>: No matching job found\n", 255
        elif machine.end(word, "cancelled"):
            out += f"Job <{word}> is being terminated\n"
        else:
            wrong, code = f"{wrong}Job <{word}>: Job has already finished\n", 255
    return out, wrong, code
