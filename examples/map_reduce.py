"""Many calls as one batch, then a tree of sums."""

import plait


@plait.python_app
def digits(n):
    """Sum of the digits of 2 to the power of n."""
    return sum(map(int, str(2**n)))


@plait.python_app
def add(parts):
    return sum(parts)


with plait.load():
    values = plait.map(digits, range(1000))
    while len(values) > 1:  # each sum waits for ten others
        values = [add(values[at : at + 10]) for at in range(0, len(values), 10)]
    print("sum of all digits of 2**0 … 2**999:", values[0].result())
