"""What stands on which line, for every way in which TOML can say it."""

from __future__ import annotations

import pytest

from plait.configfile import toml
from plait.errors import ConfigurationError

TEXT = '''# a comment with a [table] and a = 1
retries = 1
a.b."c d" = 2

[[executors]]
type = "x"   # provider = 3
text = """
lines = 1
[not.a.table]
"""
raw = \'\'\'
x = 1\'\'\'
list = [
    1,  # one
    { deep = "}" , more = [
        "]",
    ] },
]
[executors.provider]
partition = "a\\"b = 1"
"quoted key" = 5
env = {A = 1, B.c = 2}

  [executors.provider.launcher]
  type = \'[[executors]]\'

[[ executors ]]
type = "y"
[[executors.things]]
n = 1
[[executors.things]]
n = 2
'''


def test_every_value_has_its_line():
    document = toml.parse(TEXT, "f")
    lines = toml.Lines(TEXT).of
    where = {toml.show(path): line for path, line in lines.items()}
    assert where["retries"] == 2
    assert where['a.b."c d"'] == 3
    assert where["executors[0]"] == 5
    assert where["executors[0].type"] == 6
    assert where["executors[0].text"] == 7
    assert where["executors[0].raw"] == 11
    assert where["executors[0].list[0]"] == 14
    assert where["executors[0].list[1].deep"] == 15
    assert where["executors[0].list[1].more[0]"] == 16
    assert where["executors[0].provider"] == 19
    assert where["executors[0].provider.partition"] == 20
    assert where['executors[0].provider."quoted key"'] == 21
    assert where["executors[0].provider.env.B.c"] == 22
    assert where["executors[0].provider.launcher.type"] == 25
    assert where["executors[1].type"] == 28
    assert where["executors[1].things[1].n"] == 32
    assert leaves(document) <= set(lines)


def leaves(value, path=()):
    """The paths of everything in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = {path} if path else set()
    for key, inner in items:
        found |= leaves(inner, (*path, key))
    return found - {("executors",), ("executors", 0, "things"), ("executors", 1, "things")}


def test_the_nearest_line_around():
    lines = toml.Lines(TEXT)
    assert lines.find(("executors", 0, "provider", "account")) == 19
    assert lines.find(("nothing",)) == 0


def test_a_document_that_is_none_names_file_and_line():
    for text in ("a = 1\nb = \n", "a = 1\n[b\n"):
        with pytest.raises(ConfigurationError, match=r"plait\.toml: this is no TOML: .*line 2"):
            toml.parse(text, "plait.toml")


def test_the_readers_of_old_and_new_pythons_agree():
    text = TEXT.replace("a.b", "d = 2026-11-23\ninf = inf\nhex = 0xff\nb = true\na.b")
    assert toml._parse_slowly(text, "f") == toml.parse(text, "f")
    with pytest.raises(ConfigurationError, match=r"f: this is no TOML: .*line 2"):
        toml._parse_slowly("a = 1\nb = \n", "f")


def test_a_text_that_is_no_toml_gives_no_lines_but_no_error_either():
    for text in ("a", "[a", "a = [", 'a = "', "a = {"):
        assert toml.Lines(text).find(("b",)) == 0


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere.toml: this file cannot be read \(No such file"):
        toml.read_text(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigurationError, match=r"a\0b: this file cannot be read \(embedded null byte"):
        toml.read_text("a\0b")
    with pytest.raises(ConfigurationError, match=r"^'': this file cannot be read"):
        toml.read_text("")
    (tmp_path / "x.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigurationError, match=r"x.toml: this is no TOML"):
        toml.read_text(tmp_path / "x.toml")


def test_the_mark_with_which_some_editors_begin_a_file_is_no_part_of_it(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xef\xbb\xbfa = 1\r\n")
    assert toml.parse(toml.read_text(tmp_path / "x.toml"), "x.toml") == {"a": 1}
