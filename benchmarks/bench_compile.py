"""Whether torch.compile pays for the softmax of users over the catalog, forward and backward.

    .venv/bin/python benchmarks/bench_compile.py --users 1024 --items 3255

The same batches, with their different numbers of pairs, go through the loss as it is and compiled in turn, in rounds;
told are milliseconds a step (of processor time; on CUDA of the clock, the device waited for), the median of the rounds'
ratios, the seconds that compiling takes, and after how many steps it has paid for itself. Propagation is a library call
that a compiler does not touch, and is left out.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from figures import keep, takes_json
from torch.nn.functional import normalize

from recsys.losses import softmax_loss


def loss(users: torch.Tensor, items: torch.Tensor, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
    """As a training step computes it."""
    cosines = normalize(users) @ normalize(items).T
    return softmax_loss(cosines / 0.2, user, item, log_inclusion=torch.zeros(len(items), device=items.device))


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1024)
    parser.add_argument("--items", type=int, default=3255)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    takes_json(parser)
    given = parser.parse_args()
    torch.set_num_threads(1)
    random = torch.Generator().manual_seed(0)
    users, items = (
        torch.randn(n, given.dim, generator=random).to(given.device).requires_grad_()
        for n in (given.users, given.items)
    )
    sizes = [100 * given.users + 37 * number for number in range(3)]
    batches = [
        tuple(torch.randint(high, (n,), generator=random).to(given.device) for high in (given.users, given.items))
        for n in sizes
    ]

    cuda = given.device.startswith("cuda")
    clock = time.perf_counter if cuda else time.process_time

    def spent(function: Callable[..., torch.Tensor]) -> float:
        started = clock()
        for user, item in batches:
            function(users, items, user, item).backward()
        if cuda:
            torch.cuda.synchronize()
        return (clock() - started) / len(batches)

    compiled = torch.compile(loss, dynamic=True)
    started = time.perf_counter()
    spent(compiled)
    compiling = time.perf_counter() - started
    torch.testing.assert_close(compiled(users, items, *batches[0]), loss(users, items, *batches[0]))
    spent(loss)
    pairs = [(spent(loss), spent(compiled)) for _ in range(given.rounds)]
    eager, fast = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    pays = f"after {compiling / (eager - fast):.0f} steps" if eager > fast else "never"
    print(
        f"as it is {1000 * eager:.1f} ms, compiled {1000 * fast:.1f} ms a step: {ratio:.2f} x; "
        f"compiling {compiling:.1f} s, paid {pays}"
    )
    keep(given, {"eager_s": eager, "compiled_s": fast, "ratio": ratio, "compiling_s": compiling})


if __name__ == "__main__":
    main()
