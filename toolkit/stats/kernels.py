"""Compiled loops of the bootstrap."""

import numpy as np
from numpy.typing import NDArray

from toolkit.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@compiled
def rank_correlations(order: Ints, group: Ints, pairs: Ints, weights: Ints, spearman: Floats, kendall: Floats) -> None:
    """Fill ``spearman`` and ``kendall``, both (pairs, b), for b resamples given as weights (b, n).

    Kendall's tau, the larger part of the work, is left out when ``kendall`` is empty (0, b).

    ``order`` (k, n) has the rows of each column by ascending value, ``group`` (k, n) the dense rank (0, 1, ...) of
    each row in its column. A weight counts how often a row was drawn, so that no resample is ever sorted: midranks
    are running sums in the order that is already known. Kendall's tau-b visits the rows by x and counts those
    below by y in a Fenwick tree: O(n log n). A column that is constant in a resample gives NaN.
    """
    b, n = weights.shape
    k = order.shape[0]
    drawn = np.empty((k, n), np.int64)  # rows with a weight, by ascending value
    rank = np.empty((k, n), np.float64)  # twice the centred midrank: an integer, so sums are exact
    spread = np.empty(k, np.float64)  # sum of squares of rank
    tied = np.empty(k, np.float64)  # pairs of draws with equal value
    below = np.empty(n + 1, np.int64)  # Fenwick tree over y's groups
    at = np.empty(n, np.int64)  # weight by y's group
    for r in range(b):
        w = weights[r]
        total = w.sum()
        all_pairs = total * (total - 1) / 2
        count = 0
        for c in range(k):
            count = 0
            seen = 0
            spread[c] = 0.0
            tied[c] = 0.0
            start = 0
            while start < n:
                size = 0
                stop = start
                here = group[c, order[c, start]]
                first = count
                while stop < n and group[c, order[c, stop]] == here:
                    row = order[c, stop]
                    if w[row] > 0:
                        drawn[c, count] = row
                        count += 1
                        size += w[row]
                    stop += 1
                value = 2.0 * seen + size - total
                for position in range(first, count):
                    rank[c, drawn[c, position]] = value
                spread[c] += size * value * value
                tied[c] += size * (size - 1) / 2
                seen += size
                start = stop
        for p in range(pairs.shape[0]):
            x = pairs[p, 0]
            y = pairs[p, 1]
            product = 0.0
            for position in range(count):
                row = drawn[x, position]
                product += w[row] * rank[x, row] * rank[y, row]
            scale = spread[x] * spread[y]
            spearman[p, r] = product / np.sqrt(scale) if scale > 0 else np.nan
            if kendall.shape[0] == 0:
                continue
            score = 0
            seen = 0
            below[:] = 0
            at[:] = 0
            start = 0
            while start < count:
                here = group[x, drawn[x, start]]
                stop = start
                while stop < count and group[x, drawn[x, stop]] == here:
                    row = drawn[x, stop]
                    level = group[y, row]
                    less = 0
                    node = level
                    while node > 0:
                        less += below[node]
                        node &= node - 1
                    score += w[row] * (2 * less + at[level] - seen)
                    stop += 1
                for position in range(start, stop):
                    row = drawn[x, position]
                    level = group[y, row]
                    at[level] += w[row]
                    seen += w[row]
                    node = level + 1
                    while node <= n:
                        below[node] += w[row]
                        node += node & -node
                start = stop
            untied = (all_pairs - tied[x]) * (all_pairs - tied[y])
            kendall[p, r] = score / np.sqrt(untied) if untied > 0 else np.nan


@compiled
def count_inversions(ranks: Ints, counts: Ints) -> None:
    """Fill ``counts`` (s,) with the inversions of each row of ``ranks`` (s, n), a permutation of 0..n-1 each."""
    s, n = ranks.shape
    tree = np.empty(n + 1, np.int64)
    for row in range(s):
        tree[:] = 0
        total = 0
        for seen in range(n):
            node = ranks[row, seen]
            smaller = 0
            while node > 0:
                smaller += tree[node]
                node &= node - 1
            total += seen - smaller
            node = ranks[row, seen] + 1
            while node <= n:
                tree[node] += 1
                node += node & -node
        counts[row] = total
