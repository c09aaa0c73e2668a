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
    are running sums in the order that is already known. A column that is constant in a resample gives NaN.
    """
    b, n = weights.shape
    k = order.shape[0]
    drawn = np.empty((k, n), np.int64)  # rows with a weight, by ascending value
    rank = np.empty((k, n), np.float64)  # twice the centred midrank: an integer, so sums are exact
    spread = np.empty(k, np.float64)  # sum of squares of rank
    tied = np.empty(k, np.float64)  # pairs of draws with equal value
    below = np.empty(n + 1, np.int64)
    at = np.empty(n, np.int64)
    for r in range(b):
        w = weights[r]
        total = w.sum()
        all_pairs = total * (total - 1) / 2
        count = 0
        for c in range(k):
            count, spread[c], tied[c] = _midranks(order[c], group[c], w, total, drawn[c], rank[c])
        for p in range(pairs.shape[0]):
            x, y = pairs[p]
            product = 0.0
            for position in range(count):
                row = drawn[x, position]
                product += w[row] * rank[x, row] * rank[y, row]
            scale = spread[x] * spread[y]
            spearman[p, r] = product / np.sqrt(scale) if scale > 0 else np.nan
            if kendall.shape[0]:
                score = _concordance(group[x], group[y], drawn[x, :count], w, below, at)
                untied = (all_pairs - tied[x]) * (all_pairs - tied[y])
                kendall[p, r] = score / np.sqrt(untied) if untied > 0 else np.nan


@compiled
def _midranks(order: Ints, group: Ints, w: Ints, total: int, drawn: Ints, rank: Floats) -> tuple[int, float, float]:
    """Fill ``drawn`` and ``rank`` of one column; returns rows drawn, the ranks' sum of squares, and tied pairs."""
    count, seen, start = 0, 0, 0
    spread, tied = 0.0, 0.0
    while start < len(order):
        size, stop, first = 0, start, count
        here = group[order[start]]
        while stop < len(order) and group[order[stop]] == here:
            row = order[stop]
            if w[row] > 0:
                drawn[count] = row
                count += 1
                size += w[row]
            stop += 1
        value = 2.0 * seen + size - total
        for position in range(first, count):
            rank[drawn[position]] = value
        spread += size * value * value
        tied += size * (size - 1) / 2
        seen += size
        start = stop
    return count, spread, tied


@compiled
def _concordance(group_x: Ints, group_y: Ints, drawn: Ints, w: Ints, below: Ints, at: Ints) -> int:
    """Concordant minus discordant pairs of draws: rows are visited by x, and those below by y are counted.

    ``below`` is a Fenwick tree over y's groups (Fenwick 1994), ``at`` the weight in each of them: O(n log n).
    """
    score, seen, start = 0, 0, 0
    below[:] = 0
    at[:] = 0
    while start < len(drawn):
        here = group_x[drawn[start]]
        stop = start
        while stop < len(drawn) and group_x[drawn[stop]] == here:
            row = drawn[stop]
            less = 0
            node = group_y[row]
            while node > 0:
                less += below[node]
                node &= node - 1
            score += w[row] * (2 * less + at[group_y[row]] - seen)
            stop += 1
        for position in range(start, stop):
            row = drawn[position]
            at[group_y[row]] += w[row]
            seen += w[row]
            node = group_y[row] + 1
            while node < len(below):
                below[node] += w[row]
                node += node & -node
        start = stop
    return score


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
