"""A graph that decides itself while it runs: sorting by splitting, until the parts are small."""

import random

import plait


@plait.join_app
def sort(numbers):
    if len(numbers) <= 100:
        return small(numbers)  # the future of another app
    pivot = numbers[len(numbers) // 2]
    return merge(
        sort([n for n in numbers if n < pivot]),
        [n for n in numbers if n == pivot],
        sort([n for n in numbers if n > pivot]),
    )


@plait.python_app
def small(numbers):
    return sorted(numbers)


@plait.python_app
def merge(before, same, after):
    return before + same + after


with plait.load():
    numbers = random.Random(1).choices(range(10_000), k=5_000)
    print("sorted:", sort(numbers).result() == sorted(numbers))
    print("tasks:", plait.dfk().task_count)
