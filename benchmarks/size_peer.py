"""scatter 0.1.4 of PyPI at work: pushing versions of a function, or following them.

    python -P benchmarks/size_peer.py push URL NAME
    python -P benchmarks/size_peer.py follow URL NAME

Run in an environment that has it (`peers`). `push` takes files from stdin, one a line: it tracks
the function NAME of each and pushes it, by value, as from a notebook. `follow` gets it, updates it
as its pages say, and prints a line for each update.
"""

import asyncio
import importlib.util
import sys

import cloudpickle

import scatter


def push(url: str, name: str) -> None:
    """Push the function of each file."""
    scatter.init(prefix="bench", redis_url=url)
    for line in sys.stdin:
        spec = importlib.util.spec_from_file_location("bench_theirs", line.strip())
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        cloudpickle.register_pickle_by_value(module)
        try:
            scatter.track(getattr(module, name)).push()
        except Exception as error:
            print(f"cannot be pushed: {type(error).__name__}: {error}", flush=True)
            continue
        print("pushed", flush=True)


async def follow(url: str, name: str) -> None:
    """Follow the function until this process is ended."""
    scatter.init(prefix="bench", redis_url=url, auto_updates=True)
    function = scatter.get(name)
    seen = None
    while True:
        if function.loaded_version != seen:
            seen = function.loaded_version
            print(seen, flush=True)
        await asyncio.sleep(0.001)


if __name__ == "__main__":
    if sys.argv[1] == "push":
        push(*sys.argv[2:])
    else:
        asyncio.run(follow(*sys.argv[2:]))
