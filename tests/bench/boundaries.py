"""The table of `lrsearch.sequential`: `python -m tests.bench.boundaries`.

The looks of a comparison share a probability of error of .04. Look k, at the share t_k of the
seeds, gets c·(t_k³ - t_(k-1)³) of it. The constant c is the .04 quantile of the smallest ratio of
the p-value of a look to its share, over normal differences with mean 0. The script prints one c
per number of seeds.
"""

import sys

import numpy as np
from scipy import stats

from lrsearch.sequential import ALPHA_OF_LOOKS, CONSTANTS, looks_at, shares

DRAWS, CHUNK = 2_000_000, 20_000


def constants(seeds, draws=DRAWS):
    """Return the constant c by number of seeds."""
    rng = np.random.default_rng(20261129)
    most = max(seeds)
    smallest = {n: np.empty(draws) for n in seeds}
    for start in range(0, draws, CHUNK):
        x = rng.normal(size=(min(CHUNK, draws - start), most))
        total, squares = x.cumsum(axis=1), (x * x).cumsum(axis=1)
        p = {}
        for n in {look for each in seeds for look in looks_at(each)}:
            mean = total[:, n - 1] / n
            variance = (squares[:, n - 1] - n * mean**2) / (n - 1)
            p[n] = 2 * stats.t.sf(np.abs(mean) / np.sqrt(variance / n), n - 1)
        for each in seeds:
            ratios = [p[n] / w for n, w in zip(looks_at(each), shares(each), strict=True)]
            smallest[each][start : start + len(x)] = np.min(ratios, axis=0)
    return {n: float(np.quantile(found, ALPHA_OF_LOOKS)) for n, found in smallest.items()}


if __name__ == "__main__":
    asked = [int(word) for word in sys.argv[1:]] or range(3, len(CONSTANTS) + 3)
    print(", ".join(f"{c:.4f}" for c in constants(list(asked)).values()))
