"""Flux: flux batch, flux jobs, flux cancel.

From the manual pages of flux-core 0.70 (https://flux-framework.readthedocs.io/projects/flux-core/en/latest/man1/: flux-batch, flux-jobs, flux-cancel) and
RFC 19 (job ids), 21 (job states) and 36 (directives in scripts, https://flux-framework.readthedocs.io/projects/flux-rfc/en/latest/spec_36.html).
"""

from __future__ import annotations

from machine import directives, options, to_json

_DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUED = (
    "-N", "--nodes", "-n", "--nslots", "-c", "--cores-per-slot", "-g", "--gpus-per-slot", "-t", "--time-limit", "-q", "--queue", "-B", "--bank",
    "--job-name", "--output", "--error", "--setattr", "--requires", "--dependency", "--cwd", "-o", "--setopt",
)  # fmt: skip
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}


def command(name, argv):
    del name
    what, rest = argv[0], argv[1:]
    if what == "batch":
        return "submit", lambda machine: batch(machine, rest)
    if what == "cancel":
        return "cancel", lambda machine: cancel(machine, rest)
    if what == "jobs":
        return "find" if any(word.startswith("--name") for word in rest) else "status", lambda machine: jobs(
            machine, rest
        )
    return "other", lambda _: ("", f"flux: '{what}' is not a flux command.  See 'flux --help'\n", 1)


def f58(number):
    """Of a job's number, which is large: the low bits are not a counter."""
    text, rest = "", number << 24 | 0x5ABCDE
    while rest:
        rest, digit = divmod(rest, 58)
        text = _DIGITS[digit] + text
    return f"ƒ{text}"


def number_of(word):
    """The job's number; None for what is no id of this instance."""
    value = 0
    for digit in word.lstrip("ƒf"):
        if digit not in _DIGITS:
            return None
        value = value * 58 + _DIGITS.index(digit)
    return value >> 24


def batch(machine, argv):
    import re

    try:
        given, words = options(argv, _VALUED, ("--exclusive", "-x"))
        with open(words[0], encoding="utf-8") as file:
            inside, _ = options(directives(file.read(), "#flux:"), _VALUED, ("--exclusive", "-x"))
    except ValueError as error:
        return "", f"flux-batch: error: unrecognized arguments: {error}\n", 2
    except OSError as error:
        return "", f"flux-batch: ERROR: {error}\n", 1
    given = {**inside, **given}
    if "--nodes" not in given and "--nslots" not in given:
        return "", "flux-batch: ERROR: Number of slots to allocate must be specified\n", 1
    limit = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)", given.get("--time-limit", ["0"])[-1])
    if limit is None:
        return "", "flux-batch: ERROR: invalid Flux standard duration\n", 1
    number = machine.submit(
        given.get("--job-name", [words[0]])[-1], words[0], given.get("--output", [None])[-1], given.get("--error", [None])[-1],
        float(limit[1]) * _UNITS[limit[2]], queue=given.get("--queue", ["batch"])[-1], bank=given.get("--bank", [None])[-1], given=given,
        variables={"FLUX_JOB_NNODES": given.get("--nodes", ["1"])[-1]},
    )  # fmt: skip
    return f"{f58(number)}\n", "", 0


def jobs(machine, argv):
    given, words = options(argv, ("--name", "--count", "-c", "--user"), ("-a", "--json", "-n"))
    if "--json" not in given:
        return "", "the fake has flux jobs --json only\n", 1
    wrong, found = "", []
    if words:
        for word in words:
            job = machine.known(number_of(word))
            if job is None:
                wrong += f"JobID {word} unknown\n"
            else:
                found.append(_facts(job))
    else:
        found = [
            _facts(job)
            for job in machine.listed()
            if job["name"] == given["--name"][-1] and ("-a" in given or job["state"] != "ended")
        ]
    if len(words) == 1:  # one id is answered with an object, several with an array
        return (to_json(found[0]) + "\n" if found else ""), wrong, 1 if wrong else 0
    return to_json({"jobs": found}) + "\n", wrong, 1 if wrong else 0


def _facts(job):
    states = {
        "queued": "SCHED",
        "held": "DEPEND",
        "running": "RUN",
        "suspended": "RUN",
        "exiting": "CLEANUP",
        "ended": "INACTIVE",
    }
    facts = {
        "id": job["number"] << 24 | 0x5ABCDE, "userid": 1000, "urgency": 0 if job["state"] == "held" else 16, "priority": 16,
        "t_submit": job["submitted_s"], "state": job["lie"] or states[job["state"]], "name": job["name"], "ntasks": 1, "ncores": 1,
        "duration": job["limit_s"], "nnodes": 1, "annotations": {}, "exception": {"occurred": False},
    }  # fmt: skip
    if facts["state"] == "INACTIVE":
        code = job["code"]
        facts["returncode"] = -128 if code is None else code
        facts["result"] = "COMPLETED" if code == 0 else "FAILED"
        facts["success"] = code == 0
        if job["why"] == "walltime":
            facts["result"] = "TIMEOUT"
            facts["exception"] = {
                "occurred": True,
                "severity": 0,
                "type": "timeout",
                "note": "resource allocation expired",
            }
        elif job["why"]:
            facts["result"] = "CANCELED"
            facts["exception"] = {"occurred": True, "severity": 0, "type": "cancel", "note": ""}
        facts["status"] = facts["result"]
    return facts


def cancel(machine, argv):
    _, words = options(argv, ("-m", "--message"))
    wrong = ""
    for word in words:
        number = number_of(word)
        if machine.known(number) is None:
            wrong += f"flux-cancel: ERROR: {word}: unknown job id\n"
        elif not machine.end(number, "cancelled"):
            wrong += f"flux-cancel: ERROR: {word}: job is inactive\n"
    return "", wrong, 1 if wrong else 0
