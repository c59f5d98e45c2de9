"""Every module has its test file in the same place under tests/unit, and every test file there has its module.

`src/plait/executors/pool/core.py` is tested by `tests/unit/executors/pool/test_core.py`; more may stand beside it, by aspect:
`test_core_properties.py`.
"""

from __future__ import annotations

import ast

from tests.support import ROOT, SRC

UNIT = ROOT / "tests" / "unit"

# Modules without a test file of their own, each with the reason.
TESTED_ELSEWHERE = {
    "__init__.py": "tests/architecture/test_public_names.py",
    "__main__.py": "one call of the command line",
    "testing/crash_matrix.py": "tests/contract/: a suite is tested by running it",
    "testing/executor_contract.py": "tests/contract/",
    "testing/provider_contract.py": "tests/contract/",
    "testing/tasks.py": "bodies of tasks of both",
    "compat/parsl/__main__.py": "one call of compat/parsl/run.py; tests/scenario/test_parsl_programs.py",
}


def modules() -> set[str]:
    """Paths of modules that need a mirror. The `__init__` of a folder only passes names on."""
    return {
        path
        for path in (file.relative_to(SRC).as_posix() for file in SRC.rglob("*.py"))
        if path not in TESTED_ELSEWHERE and not path.endswith("/__init__.py") and not only_names(path)
    }


def only_names(path: str) -> bool:
    """Whether a module of `compat/` only passes names on too; tests/scenario/test_parsl_names.py asks for each of them."""
    module = ast.parse((SRC / path).read_text(encoding="utf-8"))
    defines = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return path.startswith("compat/") and not any(isinstance(node, defines) for node in ast.walk(module))


def mirror(module: str) -> str:
    folder, _, name = module.rpartition("/")
    return f"{folder}/test_{name.lstrip('_')}".lstrip("/")


def test_every_module_has_its_test():
    missing = sorted(m for m in modules() if not (UNIT / mirror(m)).is_file())
    assert missing == [], (
        "modules without tests/unit/…/test_<name>.py; exceptions go into TESTED_ELSEWHERE, with the reason"
    )


def test_no_test_is_an_orphan():
    stems = {mirror(m).removesuffix(".py") for m in modules()}
    orphans = [
        path
        for path in sorted(file.relative_to(UNIT).as_posix() for file in UNIT.rglob("test_*.py"))
        if not any(path == f"{stem}.py" or path.startswith(f"{stem}_") for stem in stems)
    ]
    assert orphans == [], "test files whose module is gone or was renamed"


def test_exceptions_are_still_needed():
    needless = [
        m for m in TESTED_ELSEWHERE if m != "__main__.py" and (not (SRC / m).exists() or (UNIT / mirror(m)).exists())
    ]
    assert needless == []
