"""Triton kernels of a batch norm, with the addition and the ReLU that follow it, on channels-last activations.

An activation is a matrix here: a row for each image and pixel, a column for each channel. Rows are cut into equal
shares; a program reduces one share, and a second kernel the shares' results in their order. So no sum depends on which
program ended first (no atomics), and the same numbers come to the same bits on every card. All arithmetic is float32.

``units * ALIGN`` is the number of channels; ALIGN, its largest factor that is a power of two up to 16, is told to the
compiler, which joins neighbouring channels into wide loads by it. Widths are no other part of a kernel's type, so a few
variants serve all nets. Only constants are annotated: Triton takes an annotation for the type to compile for, and these
kernels are compiled for the types that a launch brings.
"""

import triton
import triton.language as tl

COUNTS = ("rows", "units", "share", "parts")
"""Arguments whose values are not compiled in."""


@triton.jit
def _column(units, ALIGN: tl.constexpr, CHANNELS: tl.constexpr):
    """This program's channels, which of them exist, and how many there are in all."""
    channels = units * ALIGN
    at = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    return at, at < channels, channels


@triton.jit
def _tile(first, rows, at, there, channels, ROWS: tl.constexpr):
    """Places of ``ROWS`` rows from ``first`` on in memory, and which of them exist."""
    row = first + tl.arange(0, ROWS)
    places = row.to(tl.int64)[:, None] * channels + at[None, :]
    return places, (row < rows)[:, None] & there[None, :]


@triton.jit
def _load(values, at, there):
    return tl.load(values + at, mask=there, other=0.0).to(tl.float32)


@triton.jit
def _not_negative(value):
    return tl.where(value < 0, 0.0, value)  # a maximum would turn NaN into 0


@triton.jit(do_not_specialize=COUNTS)
def moments(
    x, means, squares, rows, units, share, ALIGN: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr
):  # fmt: skip
    """Mean and sum of squared deviations of a share of rows, (shares, channels) each.

    Deviations are summed from the share's first row, so that a large mean costs no digits of the variance
    (Chan, Golub, LeVeque 1983, shifted data).
    """
    at, there, channels = _column(units, ALIGN, CHANNELS)
    first = tl.program_id(0) * share
    shift = _load(x, first.to(tl.int64) * channels + at, there)
    total = tl.zeros((ROWS, CHANNELS), tl.float32)
    squared = tl.zeros((ROWS, CHANNELS), tl.float32)
    for start in range(0, share, ROWS):
        places, inside = _tile(first + start, rows, at, there, channels, ROWS)
        apart = tl.where(inside, _load(x, places, inside) - shift[None, :], 0.0)
        total += apart
        squared += apart * apart
    all_of_it = tl.sum(total, axis=0)
    mean = all_of_it / tl.minimum(rows - first, share).to(tl.float32)
    out = tl.program_id(0) * channels + at
    tl.store(means + out, shift + mean, mask=there)
    tl.store(squares + out, _not_negative(tl.sum(squared, axis=0) - all_of_it * mean), mask=there)


@triton.jit(do_not_specialize=(*COUNTS, "momentum"))
def statistics(
    means, squares, mean, variance, running_mean, running_variance, rows, units, share, parts, momentum,
    ALIGN: tl.constexpr, PARTS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Mean and (biased) variance of all rows from those of the shares; running ones are moved on, unbiased."""
    at, there, channels = _column(units, ALIGN, CHANNELS)
    shift = _load(means, at, there)
    total = tl.zeros((PARTS, CHANNELS), tl.float32)
    squared = tl.zeros((PARTS, CHANNELS), tl.float32)
    for start in range(0, parts, PARTS):
        places, inside = _tile(start, parts, at, there, channels, PARTS)
        part = start + tl.arange(0, PARTS)
        weight = tl.minimum(rows - part * share, share).to(tl.float32)[:, None]
        apart = tl.where(inside, _load(means, places, inside) - shift[None, :], 0.0)
        total += weight * apart
        squared += _load(squares, places, inside) + tl.where(inside, weight * apart * apart, 0.0)
    all_of_it = tl.sum(total, axis=0)
    count = rows.to(tl.float32)
    deviation = _not_negative(tl.sum(squared, axis=0) - all_of_it * (all_of_it / count))
    found = shift + all_of_it / count
    tl.store(mean + at, found, mask=there)
    tl.store(variance + at, deviation / count, mask=there)
    kept_mean, kept_variance = _load(running_mean, at, there), _load(running_variance, at, there)
    unbiased = deviation / (count - 1)
    tl.store(running_mean + at, (1 - momentum) * kept_mean + momentum * found, mask=there)
    tl.store(running_variance + at, (1 - momentum) * kept_variance + momentum * unbiased, mask=there)


@triton.jit(do_not_specialize=(*COUNTS, "eps"))
def normalise(
    x, residual, y, mean, variance, weight, bias, rows, units, share, eps,
    RELU: tl.constexpr, RESIDUAL: tl.constexpr,
    ALIGN: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """y = relu((x - mean) / sqrt(variance + eps) * weight + bias + residual), the two parts where they are wanted."""
    at, there, channels = _column(units, ALIGN, CHANNELS)
    first = tl.program_id(0) * share
    centre, offset = _load(mean, at, there), _load(bias, at, there)
    scale = tl.rsqrt(_load(variance, at, there) + eps) * _load(weight, at, there)
    for start in range(0, share, ROWS):
        places, inside = _tile(first + start, rows, at, there, channels, ROWS)
        value = tl.fma(_load(x, places, inside) - centre[None, :], scale[None, :], offset[None, :])
        if RESIDUAL:
            value += _load(residual, places, inside)
        if RELU:
            value = _not_negative(value)
        tl.store(y + places, value.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _gradient_of_norm(
    grad, x, y, places, inside, centre, scale, offset, RELU: tl.constexpr, RESIDUAL: tl.constexpr
):  # fmt: skip
    """The gradient before ReLU: where its output is not above 0 there is none.

    With a residual the output is read; else it is computed again from x, which is read in any case.
    """
    found = _load(grad, places, inside)
    if RELU:
        output = _load(y, places, inside) if RESIDUAL else tl.fma(x - centre[None, :], scale[None, :], offset[None, :])
        found = tl.where(output <= 0, 0.0, found)
    return found


@triton.jit(do_not_specialize=(*COUNTS, "eps"))
def gradient_sums(
    grad, x, y, grad_residual, mean, variance, weight, bias, sums, products, rows, units, share, eps,
    RELU: tl.constexpr, RESIDUAL: tl.constexpr,
    ALIGN: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """A share's sums of the gradient before ReLU, and of its products with normalised x, (shares, channels) each.

    With a residual the gradient is written too: it is the residual's.
    """
    at, there, channels = _column(units, ALIGN, CHANNELS)
    first = tl.program_id(0) * share
    centre, offset = _load(mean, at, there), _load(bias, at, there)
    spread = tl.rsqrt(_load(variance, at, there) + eps)
    scale = spread * _load(weight, at, there)
    total = tl.zeros((ROWS, CHANNELS), tl.float32)
    product = tl.zeros((ROWS, CHANNELS), tl.float32)
    for start in range(0, share, ROWS):
        places, inside = _tile(first + start, rows, at, there, channels, ROWS)
        value = _load(x, places, inside)
        found = _gradient_of_norm(grad, value, y, places, inside, centre, scale, offset, RELU, RESIDUAL)
        if RESIDUAL:
            tl.store(grad_residual + places, found.to(grad_residual.dtype.element_ty), mask=inside)
        total += found
        product += found * ((value - centre[None, :]) * spread[None, :])
    out = tl.program_id(0) * channels + at
    tl.store(sums + out, tl.sum(total, axis=0), mask=there)
    tl.store(products + out, tl.sum(product, axis=0), mask=there)


@triton.jit(do_not_specialize=COUNTS)
def add_shares(
    sums, products, grad_bias, grad_weight, units, parts,
    ALIGN: tl.constexpr, PARTS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The shares' sums added up, (channels,) each."""
    at, there, channels = _column(units, ALIGN, CHANNELS)
    total = tl.zeros((PARTS, CHANNELS), tl.float32)
    product = tl.zeros((PARTS, CHANNELS), tl.float32)
    for start in range(0, parts, PARTS):
        places, inside = _tile(start, parts, at, there, channels, PARTS)
        total += _load(sums, places, inside)
        product += _load(products, places, inside)
    tl.store(grad_bias + at, tl.sum(total, axis=0), mask=there)
    tl.store(grad_weight + at, tl.sum(product, axis=0), mask=there)


@triton.jit(do_not_specialize=(*COUNTS, "eps"))
def input_gradient(
    grad, x, grad_x, mean, variance, weight, bias, grad_bias, grad_weight, rows, units, share, eps,
    RELU: tl.constexpr,
    ALIGN: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The gradient of x through the normalisation by a batch's own statistics (Ioffe and Szegedy 2015).

    With RELU, ``grad`` is the gradient behind it; else before.
    """
    at, there, channels = _column(units, ALIGN, CHANNELS)
    first = tl.program_id(0) * share
    centre, offset = _load(mean, at, there), _load(bias, at, there)
    spread = tl.rsqrt(_load(variance, at, there) + eps)
    scale = spread * _load(weight, at, there)
    count = rows.to(tl.float32)
    level, slope = _load(grad_bias, at, there) / count, _load(grad_weight, at, there) / count
    for start in range(0, share, ROWS):
        places, inside = _tile(first + start, rows, at, there, channels, ROWS)
        value = _load(x, places, inside)
        found = _gradient_of_norm(grad, value, grad, places, inside, centre, scale, offset, RELU, False)
        normalised = (value - centre[None, :]) * spread[None, :]
        found = (found - level[None, :] - normalised * slope[None, :]) * scale[None, :]
        tl.store(grad_x + places, found.to(grad_x.dtype.element_ty), mask=inside)
