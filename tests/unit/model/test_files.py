from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from plait.model.files import File, as_file


@pytest.mark.parametrize(
    ("url", "scheme", "netloc", "path", "filename"),
    [
        ("a/b.txt", "file", "", "a/b.txt", "b.txt"),
        ("/a/b.txt", "file", "", "/a/b.txt", "b.txt"),
        ("file:///a/b.txt", "file", "", "/a/b.txt", "b.txt"),
        ("https://host:8/a/b.txt?q=1", "https", "host:8", "/a/b.txt", "b.txt"),
        ("a#b", "file", "", "a#b", "a#b"),
        ("a?b", "file", "", "a?b", "a?b"),
    ],
)
def test_parts(url, scheme, netloc, path, filename):
    file = File(url)
    assert (file.url, file.scheme, file.netloc, file.path, file.filename) == (url, scheme, netloc, path, filename)


def test_paths_and_files_are_names_too():
    assert File(Path("a/b")).url == "a/b"
    assert File(File("a/b")).url == "a/b"


@pytest.mark.parametrize("wrong", ["", b"a"])
def test_what_is_no_name_is_refused(wrong):
    with pytest.raises(ValueError, match="expected a path or a URL"):
        File(wrong)


def test_what_is_neither_is_named():
    with pytest.raises(TypeError, match=r"File\(3\): expected a path or a URL"):
        File(3)


def test_it_stands_where_a_path_is_expected(tmp_path):
    path = tmp_path / "x"
    path.write_text("text")
    file = File(path)
    with open(file) as stream:
        assert stream.read() == "text"
    assert os.fspath(file) == str(file) == file.filepath == str(path)


def test_a_remote_file_has_a_path_once_it_was_copied():
    file = File("https://host/a/b.txt")
    with pytest.raises(ValueError, match="no local copy"):
        file.filepath
    file.local_path = "/tmp/b.txt"
    assert file.filepath == "/tmp/b.txt"
    assert "local_path=/tmp/b.txt" in repr(file)
    clean = file.cleancopy()
    assert clean.url == file.url
    assert clean.local_path is None
    assert type(clean) is File


def test_it_can_be_sent():
    file = File("https://host/a?q")
    file.local_path = "x"
    twin = pickle.loads(pickle.dumps(file))
    assert vars(twin) == vars(file)


def test_as_file():
    file = File("a")
    assert as_file(file) is file
    assert as_file("a").url == as_file(Path("a")).url == "a"
    with pytest.raises(TypeError, match=r"not int \(3\)"):
        as_file(3)


def test_a_colon_in_a_path_makes_no_url_of_it():
    file = File(Path("chr1:100-200.bam"))
    assert (file.scheme, file.filepath, file.filename) == ("file", "chr1:100-200.bam", "chr1:100-200.bam")
    assert file.cleancopy().filepath == "chr1:100-200.bam"


class Sample(File):
    def __init__(self, name, kind):
        super().__init__(f"/data/{name}.{kind}")
        self.kind = kind


def test_a_clean_copy_of_a_derived_file_is_the_same_file():
    sample = Sample("a", "csv")
    sample.local_path = "copy"
    clean = sample.cleancopy()
    assert (type(clean), clean.filepath, clean.kind, sample.local_path) == (Sample, "/data/a.csv", "csv", "copy")
