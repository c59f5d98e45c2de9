"""Futures in asyncio: await one, gather many, or take each as it comes."""

import asyncio

import plait


@plait.python_app
def square(x):
    return x * x


async def main():
    print("one:", await square(7))
    print("many:", await asyncio.gather(*(square(x) for x in range(5))))
    total = 0
    for each in asyncio.as_completed([asyncio.wrap_future(square(x)) for x in range(100)]):
        total += await each
    print("as they come:", total)


with plait.load():
    asyncio.run(main())
