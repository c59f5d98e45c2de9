"""Commands, one after the other, tied together by the files that they write and read."""

import tempfile
from pathlib import Path

import plait

TEXT = "the quick brown fox jumps over the lazy dog\nthe dog sleeps\nthe fox does not\n"


@plait.bash_app
def words(inputs=(), outputs=()):
    return f"tr -s ' ' '\\n' < {inputs[0]} > {outputs[0]}"


@plait.bash_app
def count(inputs=(), outputs=()):
    return f"LC_ALL=C sort {inputs[0]} | uniq -c | sort -k1,1nr -k2 > {outputs[0]}"


@plait.bash_app
def first(n, inputs=(), stdout=None):
    return f"head -n {n} {inputs[0]}"


with tempfile.TemporaryDirectory() as folder, plait.load():
    text = Path(folder, "text.txt")
    text.write_text(TEXT)

    listed = words(inputs=[plait.File(text)], outputs=[Path(folder, "words.txt")])
    counted = count(inputs=listed.outputs, outputs=[Path(folder, "counts.txt")])  # waits for the file
    top = first(2, inputs=counted.outputs, stdout=(Path(folder, "top.txt"), "w"))

    print("exit status", top.result())
    for line in Path(folder, "top.txt").read_text().splitlines():
        number, word = line.split()
        print(word, number)
