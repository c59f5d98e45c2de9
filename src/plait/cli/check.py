"""``plait check``: whether a configuration can work on this machine, what it would submit, and, if that is wanted, a try."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from plait.cli.findings import Findings, look_at, look_at_folder
from plait.cli.main import DONE, FAILED, INTERRUPTED
from plait.configfile import system
from plait.configfile.rules import read_rules
from plait.errors import ConfigurationError

if TYPE_CHECKING:
    from plait.cli.dry_run import Submission


def check(
    file: str, *, submit: bool, timeout_s: float, as_json: bool, scripts: bool = True, rules: str | None = None
) -> int:
    """Looks at a configuration; returns the exit code.

    Args:
        file: the configuration.
        submit: whether to try it, with one block of each executor.
        timeout_s: how long that may take for each executor.
        as_json: whether to answer with data.
        scripts: whether to show what would be submitted.
        rules: file of administrators' rules to look at it under, instead of the machine's.

    Raises:
        ConfigurationError: the file is wrong, or not there.
    """
    from plait.config import Config

    if not os.path.isfile(file):
        raise ConfigurationError(f"check {file}: there is no such file; `plait init` writes one")
    if rules is not None:
        read_rules(rules)
        system.tried[:] = [rules]
    sys.path.insert(0, os.path.dirname(os.path.abspath(file)))  # as for a script beside it
    config = Config.from_toml(os.path.join(os.path.dirname(file) or os.curdir, os.path.basename(file)))
    findings = Findings()
    findings.ok("file", f"{file} can be read; executors {', '.join(executor.label for executor in config.executors)}")
    for path in system.files():
        findings.ok("rules", f"the rules in {path} are kept")
    look_at_folder(config, findings)
    submissions = {executor.label: look_at(executor, config, findings) for executor in config.executors}
    trials = None
    if not as_json:
        _print(findings, submissions if scripts else {})
    if submit and not findings.bad:
        from plait.cli.trial import try_out

        try:
            trials = try_out(config, timeout_s, _silently if as_json else _print_now)
        except KeyboardInterrupt:
            print("plait: interrupted; everything of the try was ended", file=sys.stderr)
            return INTERRUPTED
    if as_json:
        data = {
            "file": file,
            "findings": [asdict(each) for each in findings.those],
            "submissions": {label: asdict(each) for label, each in submissions.items() if each is not None},
            "trials": None if trials is None else [asdict(trial) for trial in trials],
        }
        print(json.dumps(data, indent=2))
    failed = findings.bad or (trials is not None and not all(trial.worked for trial in trials))
    if not as_json:
        print(_closing(findings, trials, submit=submit))
    return FAILED if failed else DONE


def _print_now(text: str) -> None:
    print(text, flush=True)


def _silently(*_: object) -> None:
    pass


def _print(findings: Findings, submissions: dict[str, Submission | None]) -> None:
    signs = {"ok": "ok      ", "warning": "warning ", "problem": "PROBLEM "}
    for each in findings.those:
        print(f"{signs[each.level]} {each.about}: {each.text}")
    for label, found in submissions.items():
        if found is None:
            continue
        print(f"\n{label}: a block would {'be submitted with' if found.argv else 'run this on each node'}\n")
        if found.argv:
            print(f"    {shlex.join(found.argv)}{' < the script' if found.stdin else ''}\n")
        for text in (found.script, *found.others):
            print("\n".join(f"    | {line}" for line in text.rstrip("\n").splitlines()) + "\n")


def _closing(findings: Findings, trials: Any, *, submit: bool) -> str:
    problems = sum(each.level == "problem" for each in findings.those)
    warnings = sum(each.level == "warning" for each in findings.those)
    if problems:
        return f"{problems} problem{'s' * (problems > 1)}" + (": nothing was submitted" if submit else "")
    if trials is not None and not all(trial.worked for trial in trials):
        return "The try failed."
    more = f", {warnings} warning{'s' * (warnings > 1)}" if warnings else ""
    return (
        ("It works" if trials is not None else "No problems") + more + ("" if submit else "; --submit tries it") + "."
    )
