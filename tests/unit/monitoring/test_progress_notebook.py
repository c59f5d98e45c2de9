from __future__ import annotations

from plait.monitoring.progress import Progress, Row
from plait.monitoring.progress_notebook import NotebookProgress, html_of


class Cell:
    """What IPython's display gives back."""

    def __init__(self, text):
        self.texts = [text]

    def update(self, shown):
        self.texts.append(shown._repr_html_())


def look(waiting, done, name="f"):
    row = Row(name, waiting, 0, done, 0, 0, 2.0)
    return Progress(1.0, row, (row,))


def make():
    cells = []
    return cells, NotebookProgress(lambda text: cells.append(Cell(text)) or cells[-1])


def test_one_output_is_updated():
    cells, notebook = make()
    notebook.show(look(5, 0))
    notebook.show(look(3, 2))
    assert len(cells) == 1
    assert len(cells[0].texts) == 2


def test_later_work_gets_an_output_of_its_own():
    cells, notebook = make()
    notebook.show(look(5, 0))
    notebook.show(look(0, 5))
    notebook.show(look(0, 5))
    assert [len(cell.texts) for cell in cells] == [2]
    notebook.show(look(4, 5))
    assert [len(cell.texts) for cell in cells] == [2, 1]


def test_the_closing_line_stays_beneath_the_table():
    cells, notebook = make()
    notebook.show(look(0, 5))
    notebook.hide()
    notebook.finish("5 done <all>")
    assert cells[0].texts[-1].endswith("<p>5 done &lt;all&gt;</p>")
    assert "<table>" in cells[0].texts[-1]


def test_nothing_is_shown_before_the_first_task_or_without_a_sentence():
    cells, notebook = make()
    empty = Row("all", 0, 0, 0, 0, 0, None)
    notebook.show(Progress(1.0, empty, ()))
    notebook.finish("")
    assert cells == []


def test_names_are_escaped():
    assert "<b>" not in html_of(look(1, 1, name="<b>")).replace("<b style", "")
