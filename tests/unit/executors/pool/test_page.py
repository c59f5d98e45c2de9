"""Both sides see one page; an anonymous file has a size and no name."""

from __future__ import annotations

import os

from plait.executors.pool.page import DATA, HELD, REVOKED_FROM, REVOKED_TO, STARTED, Page, anonymous_file
from plait.limits import PAGE_BYTES


def test_both_sides_see_it():
    fd = anonymous_file(PAGE_BYTES)
    worker, pool = Page(fd), Page(fd)
    os.close(fd)
    worker.numbers[STARTED] = 2**40
    pool.numbers[REVOKED_FROM], pool.numbers[REVOKED_TO] = 3, 9
    worker.data[:5] = b"abcde"
    worker.numbers[HELD] = 5 << 16 | 2
    assert (pool.numbers[STARTED], worker.numbers[REVOKED_FROM], worker.numbers[REVOKED_TO]) == (2**40, 3, 9)
    assert pool.outcomes() == (2, b"abcde")
    assert len(pool.data) == PAGE_BYTES - DATA
    worker.close()
    pool.close()


def test_a_new_page_says_nothing():
    fd = anonymous_file(PAGE_BYTES)
    page = Page(fd)
    os.close(fd)
    assert page.outcomes() == (0, b"")
    assert set(page.numbers) == {0}
    page.close()


def test_files_have_no_name_and_are_not_inherited():
    fd = anonymous_file(100)
    assert os.fstat(fd).st_size == 100
    assert os.fstat(fd).st_nlink == 0
    assert not os.get_inheritable(fd)
    os.close(fd)
