"""Compiled loops of the bootstrap."""

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from toolkit.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bits = NDArray[np.uint64]
Bools = NDArray[np.bool_]

BITS_UP_TO = 768
"""Rows up to which pairs are counted as bits, 64 at once; of more, a tree is faster and needs less memory."""


@intrinsic
def count_ones(_context: Any, _word: Any) -> Any:
    """Bits that are set in a word of 64, by the processor's own instruction."""
    return types.int64(types.uint64), lambda _, builder, __, words: builder.ctpop(words[0])


@compiled
def rank_correlations(
    order: Ints, group: Ints, below: Bits, same: Bits, pairs: Ints, weights: Ints, spearman: Floats, kendall: Floats
) -> None:
    """Fill ``spearman`` and ``kendall``, both (pairs, b), for b resamples given as weights (b, n).

    Kendall's tau, the larger part of the work, is left out when ``kendall`` is empty (0, b).

    ``order`` (k, n) has the rows of each column by ascending value, ``group`` (k, n) the dense rank (0, 1, ...) of
    each row in its column; ``below`` and ``same`` are `rows_below_and_tied` (empty without Kendall). A weight
    counts how often a row was drawn, so that no resample is ever sorted: midranks are running sums in the order that is
    already known. A column that is constant in a resample gives NaN.
    """
    b, n = weights.shape
    k = order.shape[0]
    drawn = np.empty((k, n), np.int64)  # rows with a weight, by ascending value
    rank = np.empty((k, n), np.float64)  # twice the centred midrank: an integer, so sums are exact
    spread = np.empty(k, np.float64)  # sum of squares of rank
    tied = np.empty(k, np.float64)  # pairs of draws with equal value
    lower = np.empty(n + 1, np.int64)
    at = np.empty(n, np.int64)
    ties = np.empty((k, n), np.bool_)
    for c in range(k):
        ties[c] = np.bincount(group[c])[group[c]] > 1
    for r in range(b):
        w = weights[r]
        total = w.sum()
        all_pairs = total * (total - 1) / 2
        rows = np.flatnonzero(w).astype(np.uint64)
        digits = _binary_digits(w) if kendall.shape[0] else np.empty((0, 0), np.uint64)
        count = 0
        for c in range(k):
            count, spread[c], tied[c] = _midranks(order[c], group[c], w, total, drawn[c], rank[c])
        for p in range(pairs.shape[0]):
            x, y = pairs[p]
            scale = spread[x] * spread[y]
            spearman[p, r] = _product(drawn[x, :count], w, rank[x], rank[y]) / np.sqrt(scale) if scale > 0 else np.nan
            if kendall.shape[0]:
                if below.shape[2]:
                    apart = all_pairs - tied[x]
                    score = _ordered(below[x], below[y], same[y], ties[y], rows, w, digits) - apart
                else:
                    score = _concordance(group[x], group[y], drawn[x, :count], w, lower, at)
                untied = (all_pairs - tied[x]) * (all_pairs - tied[y])
                kendall[p, r] = score / np.sqrt(untied) if untied > 0 else np.nan


@compiled
def _product(drawn: Ints, w: Ints, x: Floats, y: Floats) -> float:
    """Sum over the rows ``drawn`` of the product of ``x`` and ``y`` (n,), each as often as it was drawn."""
    product = 0.0
    for row in drawn:
        product += w[row] * x[row] * y[row]
    return product


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


def rows_below_and_tied(group: Ints) -> tuple[Bits, Bits]:
    """The rows whose dense rank in ``group`` (k, n) is below that of each row, and those that share it, as bits.

    Both are (k, n, words): row j is bit j % 64 of word j // 64. Of more than `BITS_UP_TO` rows there are none.
    """
    k, n = group.shape
    if n > BITS_UP_TO:
        return np.empty((k, n, 0), np.uint64), np.empty((k, n, 0), np.uint64)
    room = np.zeros((2, k, n, -(-n // 64) * 8), np.uint8)
    for c, ranks in enumerate(group):
        for bits, chosen in zip(room[:, c], (ranks < ranks[:, None], ranks == ranks[:, None]), strict=True):
            packed = np.packbits(chosen, axis=1, bitorder="little")
            bits[:, : packed.shape[1]] = packed
    below, same = room.view(np.uint64)
    return below, same


@compiled
def _binary_digits(w: Ints) -> Bits:
    """Weights (n,) by binary digit: the rows whose weight has a 1, 2, 4, ... in it, as bits; (digits, words).

    There are 3, 6, 9, ... digits: loops over three at once are fast, and a resample has few weights above 7.
    """
    most, count = w.max(), 3
    while most >> count:
        count += 3
    digits = np.zeros((count, (len(w) + 63) // 64), np.uint64)
    for row in range(len(w)):
        for digit in range(count):
            digits[digit, row // 64] |= np.uint64((w[row] >> digit) & 1) << np.uint64(row % 64)
    return digits


@compiled
def _ordered(below_x: Bits, below_y: Bits, same_y: Bits, ties_y: Bools, rows: Bits, w: Ints, digits: Bits) -> int:
    """Pairs of draws that are apart in x: those in the same order in y count twice, those equal in y once."""
    ordered = 0
    for first in range(0, len(digits), 3):
        ordered += _ordered_by(below_x, below_y, same_y, ties_y, rows, w, digits[first : first + 3]) << first
    return ordered


@compiled
def _ordered_by(below_x: Bits, below_y: Bits, same_y: Bits, ties_y: Bools, rows: Bits, w: Ints, three: Bits) -> int:
    """The same where the weight of the second of a pair is what its ``three`` digits (3, words) say."""
    ordered = 0
    for row in rows:
        ones, twos, fours = 0, 0, 0
        for word in range(three.shape[1]):
            both = below_x[row, word] & below_y[row, word]
            ones += count_ones(both & three[0, word])
            twos += count_ones(both & three[1, word])
            fours += count_ones(both & three[2, word])
        found = 2 * (ones + 2 * twos + 4 * fours)
        if ties_y[row]:
            for word in range(three.shape[1]):
                both = below_x[row, word] & same_y[row, word]
                found += count_ones(both & three[0, word])
                found += 2 * count_ones(both & three[1, word])
                found += 4 * count_ones(both & three[2, word])
        ordered += w[row] * found
    return ordered


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
