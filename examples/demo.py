"""What is in Python's standard library? Every source file of the Python that runs this is read, on all cores.

    plait run --report demo-report.html examples/demo.py      # or: make demo

Python apps parse the files, bash apps run grep, sort, uniq and gzip on them, join apps decide while the run goes on which folders to
enter and which imports to follow. Nothing is downloaded. It leaves demo-calls.txt.gz, the names that the library calls and how often, and
what every run leaves, its folder in runinfo/, so that `plait explain` can answer.
"""

import os
import sysconfig
import tempfile
import time
from pathlib import Path

import plait

LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()
ARTEFACT = Path("demo-calls.txt.gz").resolve()
ROOTS = ("asyncio", "http.server", "json", "subprocess", "tkinter", "unittest")
FEW = 30  # a folder with more files than this is surveyed folder by folder
HANDFUL = 60  # files on one command line


# ------------------------------------------------------------------ one file
@plait.python_app
def measure(path):
    """Parses one file; what is remarkable in it."""
    import ast
    import warnings
    from pathlib import Path

    source = Path(path).read_bytes()
    facts = {"files": 1, "lines": source.count(b"\n"), "functions": 0, "documented": 0, "classes": 0, "unreadable": 0}
    longest = busiest = (0, "")
    try:
        with warnings.catch_warnings():  # old test files have old escapes in their strings
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError):  # the tests of the parser hold files that are wrong on purpose
        return {**facts, "unreadable": 1, "longest": longest, "busiest": busiest}

    branches = (ast.If, ast.For, ast.While, ast.ExceptHandler)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    place = "/".join(Path(path).parts[-2:])
    todo = [(tree, None)]
    decisions = {}
    while todo:
        node, function = todo.pop()
        if isinstance(node, functions):
            function = node
            facts["functions"] += 1
            facts["documented"] += ast.get_docstring(node, clean=False) is not None
            longest = max(longest, (node.end_lineno - node.lineno + 1, f"{node.name}() in {place}"))
        elif isinstance(node, ast.ClassDef):
            facts["classes"] += 1
        elif function is not None and isinstance(node, branches):
            decisions[function] = decisions.get(function, 0) + 1
        todo.extend((child, function) for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr))
    for function, count in decisions.items():
        busiest = max(busiest, (count, f"{function.name}() in {place}"))
    return {**facts, "longest": longest, "busiest": busiest}


@plait.python_app
def add_up(name, parts):
    """The facts of several files or folders as those of one."""
    counts = ("files", "lines", "functions", "documented", "classes", "unreadable")
    total = {key: sum(part[key] for part in parts) for key in counts}
    best = {key: max((part[key] for part in parts), default=(0, "")) for key in ("longest", "busiest")}
    return {**total, **best, "name": name}


# ------------------------------------------------------------------ one folder: the graph is decided here, while it runs
@plait.join_app
def survey(name, folder):
    """A small folder is measured at once; of a large one, each folder inside gets a survey of its own."""
    files = sources(folder)
    if len(files) <= FEW:
        return add_up(name, [measure(path) for path in files])
    here = [path for path in files if path.parent == folder]
    inside = sorted({path.relative_to(folder).parts[0] for path in files} - {path.name for path in here})
    return add_up(name, [measure(path) for path in here] + [survey(f"{name}.{each}", folder / each) for each in inside])


# ------------------------------------------------------------------ who imports whom: one step of the search at a time
@plait.python_app(cache=True)
def imports_of(path, package):
    """Names that a module imports when it is imported itself; imports inside functions do not count."""
    import ast
    from pathlib import Path

    names = set()
    todo = [ast.parse(Path(path).read_bytes())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.expr)):
            todo.extend(ast.iter_child_nodes(node))
    return names


@plait.join_app
def follow(root, found, known=frozenset(), step=0):
    """Follows imports until no new module turns up. ``found`` are the names that the step before has seen."""
    names = {".".join(name.split(".")[:n]) for each in found for name in each for n in range(1, name.count(".") + 2)}
    new = sorted(name for name in names if name in MODULES and name not in known)
    if not new:
        return reached(root, len(known) - 1, step - 1, sum(MODULES[name].stat().st_size for name in known))
    asked = [imports_of(MODULES[name], package_of(name)) for name in new]
    return follow(root, asked, known | set(new), step + 1)


@plait.python_app
def reached(root, modules, steps, size):
    return {"root": root, "modules": modules, "steps": steps, "size": size}


# ------------------------------------------------------------------ a chain of files through commands
@plait.bash_app
def list_calls(paths, outputs=()):
    """Each name that stands before a parenthesis, sorted."""
    import shlex

    files = " ".join(shlex.quote(str(path)) for path in paths)
    return f"export LC_ALL=C; cat {files} | grep -aoE '[A-Za-z_][A-Za-z0-9_]*[(]' | tr -d '(' | sort > {outputs[0]}"


@plait.bash_app
def count_calls(inputs=(), outputs=()):
    """Merges the sorted lists and counts: the most frequent first."""
    lists = " ".join(str(path) for path in inputs)
    return f"export LC_ALL=C; sort -m {lists} | uniq -c | sort -k1,1nr -k2 > {outputs[0]}"


@plait.bash_app
def compress(inputs=(), outputs=()):
    import shlex

    return f"gzip -9 -c {inputs[0]} > {shlex.quote(str(outputs[0]))}"


@plait.python_app
def most_called(n, inputs=()):
    """The first lines of the compressed file that are no keywords."""
    import gzip
    import itertools
    import keyword

    with gzip.open(inputs[0], "rt") as lines:
        pairs = (line.split() for line in lines)
        return list(itertools.islice(((name, int(count)) for count, name in pairs if not keyword.iskeyword(name)), n))


# ------------------------------------------------------------------ the driver
def sources(folder):
    """The library's own source files under a folder; what was installed later is not part of it."""
    found = []
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - {"site-packages", "dist-packages", "__pycache__"})
        found += [Path(base, name) for name in sorted(names) if name.endswith(".py")]
    return found


def module_name(path):
    parts = path.relative_to(LIBRARY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(module):
    """The package that relative imports in a module start from."""
    return module if MODULES[module].stem == "__init__" else module.rpartition(".")[0]


FILES = sources(LIBRARY)
MODULES = {module_name(path): path for path in FILES}


def main():
    begin = time.monotonic()
    print(f"Reading {len(FILES):,} source files in {LIBRARY}")
    with tempfile.TemporaryDirectory(prefix="plait-demo-") as scratch, plait.load():
        folders = sorted({path.relative_to(LIBRARY).parts[0] for path in FILES if path.parent != LIBRARY})
        surveys = [survey(name, LIBRARY / name) for name in folders]
        modules = add_up("(single files)", [measure(path) for path in FILES if path.parent == LIBRARY])
        everything = add_up("all", [*surveys, modules])  # futures inside a list are found, and waited for

        parts = [FILES[at : at + HANDFUL] for at in range(0, len(FILES), HANDFUL)]
        lists = [list_calls(part, outputs=[Path(scratch, f"{n:03d}.txt")]) for n, part in enumerate(parts)]
        counted = count_calls(inputs=[each.outputs[0] for each in lists], outputs=[Path(scratch, "calls.txt")])
        packed = compress(inputs=counted.outputs, outputs=[ARTEFACT])
        called = most_called(8, inputs=packed.outputs)

        searches = [follow(root, [[root]]) for root in ROOTS if root in MODULES]

        results = [each.result() for each in (*surveys, modules, everything, *searches, called)]  # the display goes on
        tasks = plait.dfk().task_count
    seconds = time.monotonic() - begin

    n = len(surveys) + 1
    show_folders(sorted(results[:n], key=lambda facts: -facts["lines"])[:10], results[n])
    show_imports(sorted(results[n + 1 : -1], key=lambda search: -search["modules"]))
    print("\nCalled most often: " + ", ".join(f"{name} ({count:,} times)" for name, count in results[-1]))
    size_kb = ARTEFACT.stat().st_size / 1000
    print(f"\n{tasks:,} tasks in {seconds:.1f} s. All names with their counts: {ARTEFACT.name} ({size_kb:,.0f} kB)")


def show_folders(rows, total):
    print(f"\n{'':<16}{'files':>7}{'lines':>11}{'functions':>11}{'documented':>12}   longest function")
    for row in [*rows, total]:
        share = f"{100 * row['documented'] / row['functions']:.0f} %" if row["functions"] else "-"
        lines, where = row["longest"]
        longest = f"{lines:,} lines, {where}" if lines else "-"
        print(f"{row['name']:<16}{row['files']:>7,}{row['lines']:>11,}{row['functions']:>11,}{share:>12}   {longest}")
    branches, where = total["busiest"]
    print(f"\nMost branches in one function: {branches:,}, {where}")
    if total["unreadable"]:
        print(f"Not Python for this Python: {total['unreadable']} files, such as the parser's own tests")


def show_imports(searches):
    print("\nWhat an import brings with it, imports inside functions aside:")
    for each in searches:
        amount = f"{each['modules']:4} more modules, {each['size'] / 1000:6,.0f} kB of source"
        print(f"  import {each['root']:<12} {amount}, in {each['steps']} steps")


main()
