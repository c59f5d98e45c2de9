"""HTCondor: condor_submit, condor_q, condor_history, condor_rm.

From its manual, version 24 (https://htcondor.readthedocs.io/en/latest/man-pages/: condor_submit, condor_q, condor_history, condor_rm) and the appendix
"Job ClassAd Attributes" (https://htcondor.readthedocs.io/en/latest/classad-attributes/job-classad-attributes.html).
"""

from __future__ import annotations

import time

from machine import options, to_json

_STATUS = {"queued": 1, "running": 2, "removed": 3, "ended": 4, "held": 5, "exiting": 6, "suspended": 7}


def command(name, argv):
    if name == "condor_submit":
        return "submit", lambda machine: submit(machine, argv)
    if name == "condor_rm":
        return "cancel", lambda machine: remove(machine, argv)
    queue = name == "condor_q"
    kind = "find" if "-constraint" in argv else "status" if queue else "history"
    return kind, lambda machine: look(machine, argv, queue)


def submit(machine, argv):
    import re

    _, words = options(argv, ("-name", "-pool"), ("-terse",))
    try:
        said = description(words[0])
    except OSError as error:
        return "", f"\nERROR: Can't open submit file {words[0]!r}: {error.strerror}\n", 1
    except ValueError as error:
        return "", f"\nERROR: Parse error in expression: \n\t{error}\n", 1
    wall = re.search(r"> (\d+)", said.get("periodic_remove", ""))
    number = machine.submit(
        said.get("+plaitjob", "").strip('"'), said["executable"], said.get("output"), said.get("error"), int(wall[1]) if wall else 0,
        leave="leave_in_queue" in said, said=said, reason="",
    )  # fmt: skip
    return f"{number}.0 - {number}.0\n", "", 0


def description(path):
    """The commands of a submit description: names are in any case, the last of a name counts, and ``queue`` comes at the end."""
    import re

    said, queued = {}, False
    with open(path, encoding="utf-8") as file:
        for line in file.read().splitlines():
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            if re.fullmatch(r"\s*queue(\s+\d+)?\s*", line, re.IGNORECASE):
                queued = True
                continue
            name, equals, value = line.partition("=")
            if not equals or not re.fullmatch(r"\s*\+?[A-Za-z_][\w.]*\s*", name) or queued:
                raise ValueError(line)
            said[name.strip().lower()] = value.strip()
    if not queued:
        raise ValueError("no 'queue' command")
    return said


def look(machine, argv, queue):
    given, words = options(argv, ("-attributes", "-constraint", "-limit", "-match"), ("-json", "-nobatch", "-allusers"))
    if "-json" not in given:
        return "", "the fake has -json only\n", 1
    if "-constraint" in given:
        import re

        names = re.findall(r'PlaitJob == "([^"]*)"', given["-constraint"][-1])
        jobs = [job for job in machine.listed() if job["name"] in names]
    else:
        jobs = [machine.known(word.split(".")[0]) for word in words]
    ads = [_ad(job, given["-attributes"][-1].split(",")) for job in jobs if job is not None and _in_queue(job) == queue]
    if not ads:
        return "", "", 0  # no job, no text: not even an empty list
    return "[\n" + ",\n".join(to_json(ad, 2) for ad in ads) + "\n]\n", "", 0


def _in_queue(job):
    """Jobs leave the queue when they end: those that did their work only when ``leave_in_queue`` lets them."""
    return job["state"] != "ended" or bool(job["lie"]) or (job["leave"] and not job["why"])


def _ad(job, wanted):
    status = job["lie"] or (3 if job["state"] == "ended" and job["why"] else _STATUS[job["state"]])
    ad = {
        "ClusterId": job["number"],
        "ProcId": 0,
        "JobStatus": status,
        "PlaitJob": job["name"],
        "EnteredCurrentStatus": int(time.time()),
    }
    if status == 4:
        ad |= {"ExitBySignal": job["code"] < 0, "CompletionDate": int(job["ended_s"])}
        ad |= {"ExitSignal": -job["code"]} if job["code"] < 0 else {"ExitCode": job["code"]}
    if status == 3:
        ad["RemoveReason"] = {
            "walltime": f"The job attribute PeriodicRemove expression '{job['said'].get('periodic_remove')}' evaluated to TRUE",
            "administrator": "via condor_rm (by user root)",
        }.get(job["why"], "via condor_rm (by user user)")
    if status == 5:
        ad |= {"HoldReason": "via condor_hold (by user root)", "HoldReasonCode": 1}
    return {name: ad[name] for name in wanted if name in ad}


def remove(machine, argv):
    given, words = options(argv, ("-constraint",), ("-forcex",))
    out, wrong, code = "", "", 0
    for word in words:
        job = machine.known(word.split(".")[0])
        if job is None or not (_in_queue(job)):
            wrong, code = f"{wrong}Job {word} not found\n", 1
        elif "-forcex" in given:
            if job["state"] != "removed":
                wrong, code = f"{wrong}Job {word} not in the X state\n", 1
                continue
            job["stuck"], job["state"] = "forced", "running"
            machine.end(job["number"], "cancelled")
            out += f"Job {word} removed locally (remote state unknown)\n"
        elif job["state"] == "ended":
            job["why"] = "cancelled"
            out += f"Job {word} marked for removal\n"
        else:
            machine.end(job["number"], "cancelled")
            out += f"Job {word} marked for removal\n"
    return out, wrong, code
