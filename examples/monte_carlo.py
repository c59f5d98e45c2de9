"""π by throwing darts, until the estimate is good enough: the number of rounds is not known before."""

import plait


@plait.python_app
def throw(n, seed):
    """How many of n darts fall within the quarter of a circle."""
    import random

    dart = random.Random(seed).random
    return sum(dart() ** 2 + dart() ** 2 < 1 for _ in range(n))


@plait.python_app
def estimate(hits, n):
    pi = 4 * sum(hits) / n
    return pi, (pi * (4 - pi) / n) ** 0.5  # and its standard error


@plait.join_app
def improve(result, hits, n, wanted):
    """Throws twice as many each time; earlier hits count on."""
    if result[1] < wanted:
        return estimate(hits, n)
    more = [throw(10_000, seed) for seed in range(n // 10_000, 2 * n // 10_000)]
    hits = hits + more
    return improve(estimate(hits, 2 * n), hits, 2 * n, wanted)


with plait.load():
    start = [throw(10_000, seed) for seed in range(4)]
    pi, error = improve(estimate(start, 40_000), start, 40_000, 0.003).result()
    print(f"π is about {pi:.2f}, give or take {error:.3f}")
