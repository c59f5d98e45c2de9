"""The layout of a source does not count, what it says does."""

from __future__ import annotations

import ast
import types

import pytest

from plait.dataflow.memo_bytecode import assigned_by, code_form, globals_of

SOURCE = '''
def f(items, limit=3):
    """What it does."""
    found = [item
             for item in items
             if item and     # nothing empty
             item is not limit]

    try:
        while found and (
            found[0] in {"a", "b", "c"}
            or found[0] == limit
        ):
            found.pop()
    except (KeyError,
            IndexError) as error:
        raise ValueError("no") from error
    finally:
        print("done")
    class Inner:
        "A class."
        x = 1
        def g(self):
            self.y = lambda: (yield)
    with open("x") as a, \\
         open("y") as b:
        return (a or
                b and
                    not found or
                Inner)
'''


def function(source: str) -> types.CodeType:
    """The code of the first function in a source."""
    module = compile(source, "<test>", "exec", dont_inherit=True)
    return next(c for c in module.co_consts if isinstance(c, types.CodeType))


def test_layout_comments_and_docstrings_do_not_count():
    tree = ast.parse(SOURCE)
    form = code_form(function(SOURCE))
    assert code_form(function("\n\n# more\n" + SOURCE)) == form
    assert code_form(function(ast.unparse(tree))) == form
    assert code_form(function(SOURCE.replace('"""What it does."""', '"""Now said in another way."""'))) == form
    assert function(SOURCE).co_code != function(ast.unparse(tree)).co_code, (
        "the sample shows no trace of layout any more"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("limit=3", "bound=3"),
        ("item and ", "item or "),
        ("is not", "is"),
        ('"c"', '"d"'),
        ("or found[0]", "and found[0]"),
        ("found[0] ==", "found[1] =="),
        ("== limit", "!= limit"),
        ("found.pop()", "found.clear()"),
        ("KeyError,", "TypeError,"),
        ('"no"', '"yes"'),
        (" from error", ""),
        ('print("done")', "print('one')"),
        ("x = 1", "x = 2"),
        ("x = 1", "x = True"),
        ("x = 1", "x = 1.0"),
        ("(yield)", "None"),
        ("not found", "found"),
        ("a or", "a and"),
        ("b and", "b or"),
        ("while found and", "if found and"),
        ("def f", "async def f"),
        ('open("x")', 'open(file="x")'),
        ("(items, limit", "(items, /, limit"),
        ("(items, limit", "(items, *, limit"),
        ("(items, limit", "(*items, limit"),
    ],
)
def test_what_it_says_counts(old, new):
    assert old in SOURCE
    assert code_form(function(SOURCE.replace(old, new))) != code_form(function(SOURCE))


def test_where_a_handler_stands_counts():
    early = "def f():\n try:\n  a()\n  b()\n except E:\n  c()\n"
    late = "def f():\n a()\n try:\n  b()\n except E:\n  c()\n"
    assert code_form(function(early)) != code_form(function(late))


def test_jumps_in_a_circle_end():
    assert code_form(function("def f():\n while True:\n  pass\n")) != code_form(function("def f():\n pass\n"))


def test_globals_with_the_attributes_that_follow():
    found = globals_of(function("def f(x):\n y = np.linalg.norm(x.z)\n return [scale * len(v) for v in y.w]\n"))
    assert found == {("np", "linalg", "norm"), ("scale",), ("len",)}


def test_names_outside_of_it_that_a_function_assigns():
    text = "def f():\n global n, gone\n n += 1\n def g():\n  global m\n  m = read\n del gone\n return g\n"
    assert assigned_by(function(text)) == {"n", "m", "gone"}
