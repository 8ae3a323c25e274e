"""What integer instructions do, on arrays with one number a thread; of floats, comparisons alone. Everything else, all
that computes with logits, is opaque: nobody knows its result.

A meaning takes the values of its sources as unsigned integers of 32 bits in 64, and returns a number for each target.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any  # of numpy: one number a thread, or one for all
Meaning = Callable[..., tuple[Array, ...]]
MASK = np.uint64(0xFFFFFFFF)
ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
WORD = np.uint64(32)


def u64(x: Any) -> Array:
    if isinstance(x, (np.ndarray, np.uint64)) and x.dtype == np.uint64:
        return x
    return np.uint64(x) if isinstance(x, int) else np.asarray(x).astype(np.uint64)


def signed(x: Array, bits: int = 32) -> Array:
    if bits == 64:
        return x.astype(np.int64)
    return x.astype(np.uint32).view(np.int32).astype(np.int64) if x.ndim else np.int64(np.uint32(x).view(np.int32))


def unsigned(x: Array) -> Array:
    return np.asarray(x).astype(np.int64).view(np.uint64) if np.ndim(x) else np.uint64(np.int64(x).view(np.uint64))


def floats(x: Array) -> Array:
    return np.asarray(x, np.uint64).astype(np.uint32).view(np.float32)


def bits(x: Array) -> Array:
    return np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)


def shifted(value: Array, by: Array, left: bool, arithmetic: bool = False) -> Array:
    """64 bits; 64 and more leave nothing, or the sign."""
    by = u64(by)
    held = np.minimum(by, np.uint64(63))
    if left:
        return np.where(by > 63, np.uint64(0), value << held)
    if arithmetic:
        return unsigned(signed(value, 64) >> held.astype(np.int64))
    return np.where(by > 63, np.uint64(0), value >> held)


def lookup3(table: int, a: Array, b: Array, c: Array, ones: Any) -> Array:
    """The bitwise function of three that LOP3's table gives."""
    result = u64(0)
    for i in range(8):
        if table >> i & 1:
            term = (a if i & 4 else ~a) & (b if i & 2 else ~b) & (c if i & 1 else ~c)
            result = result | term
    return result & ones


COMPARE: dict[str, Callable[[Array, Array], Array]] = {
    "LT": np.less, "LE": np.less_equal, "GT": np.greater, "GE": np.greater_equal, "EQ": np.equal, "NE": np.not_equal,
    "F": lambda a, b: np.zeros(np.broadcast(a, b).shape, bool),
    "T": lambda a, b: np.ones(np.broadcast(a, b).shape, bool),
}  # fmt: skip
COMBINE: dict[str, Callable[[Array, Array], Array]] = {
    "AND": np.logical_and, "OR": np.logical_or, "XOR": np.logical_xor,
}  # fmt: skip


def float_compare(name: str, a: Array, b: Array) -> Array:
    neither = ~(np.isnan(a) | np.isnan(b))
    if name in ("NUM", "NAN"):
        return neither if name == "NUM" else ~neither
    unordered = name.endswith("U") and name != "U"
    plain = name[:-1] if unordered else name
    result = COMPARE[plain](a, b)
    if plain == "NE" and not unordered:
        return result & neither
    return result | ~neither if unordered else result


def set_predicate(modifiers: list[str]) -> Meaning:
    """ISETP: with EX the second step of a comparison of 64 bits, whose first one is the last source."""
    name, combine = modifiers[0], COMBINE[next(m for m in modifiers if m in COMBINE)]
    width = 64 if {"S64", "U64"} & set(modifiers) else 32
    is_signed = not {"U32", "U64"} & set(modifiers)

    def compare(a: Array, b: Array, given: Array, low: Array | None = None) -> tuple[Array, ...]:
        if is_signed:
            a, b = signed(a, width), signed(b, width)
        if "EX" in modifiers and low is not None:
            strict = {"GE": "GT", "LE": "LT"}.get(name, name)
            found = (a == b) & low if name == "EQ" else (a != b) | low if name == "NE" else None
            if found is None:
                found = COMPARE[strict](a, b) | ((a == b) & low)
        else:
            found = COMPARE[name](a, b)
        return combine(found, given), combine(~found, given)

    return compare


def set_float_predicate(modifiers: list[str]) -> Meaning:
    name, combine = modifiers[0], COMBINE[next(m for m in modifiers if m in COMBINE)]

    def compare(a: Array, b: Array, given: Array) -> tuple[Array, ...]:
        found = float_compare(name, floats(a), floats(b))
        return combine(found, given), combine(~found, given)

    return compare


def permute(a: Array, selector: Array, b: Array) -> tuple[Array, ...]:
    source = (a & MASK) | (b & MASK) << WORD
    result = u64(0)
    for i in range(4):
        nibble = (u64(selector) >> np.uint64(4 * i)) & np.uint64(15)
        byte = (source >> ((nibble & np.uint64(7)) * np.uint64(8))) & np.uint64(0xFF)
        sign = np.where(byte & np.uint64(0x80), np.uint64(0xFF), np.uint64(0))
        result = result | np.where(nibble & np.uint64(8), sign, byte) << np.uint64(8 * i)
    return (result,)


def shift(modifiers: list[str]) -> Meaning:
    left = "L" in modifiers
    kind = next(m for m in modifiers if re.fullmatch(r"[US](32|64)", m))
    high, wraps = "HI" in modifiers, "W" in modifiers

    def funnel(low: Array, by: Array, above: Array) -> tuple[Array, ...]:
        value = (low & MASK) | (above & MASK) << WORD
        by = u64(by) & np.uint64(63 if kind.endswith("64") else 31) if wraps else u64(by)
        if kind.endswith("32") and not high:
            return ((shifted(low & MASK, by, left)) & MASK,) if left else (shifted(value, by, left) & MASK,)
        if high and not left and kind.endswith("32"):  # of the upper word alone
            if kind == "S32":
                return (unsigned(signed(above) >> np.minimum(by, np.uint64(31)).astype(np.int64)) & MASK,)
            return (np.where(by > 31, np.uint64(0), (above & MASK) >> np.minimum(by, np.uint64(31))),)
        result = shifted(value, by, left, arithmetic=kind.startswith("S"))
        return (result >> WORD if high else result & MASK,)

    return funnel


def multiply_add(modifiers: list[str]) -> Meaning:
    is_signed = "U32" not in modifiers

    def product(a: Array, b: Array) -> Array:
        return unsigned(signed(a) * signed(b)) if is_signed else (a & MASK) * (b & MASK)

    if "WIDE" in modifiers:

        def wide(a: Array, b: Array, c: Array, carry: Array | None = None) -> tuple[Array, ...]:
            p = product(a, b)
            result = p + c + (u64(0) if carry is None else u64(carry))
            return result, result < p

        return wide
    if "HI" in modifiers:
        return lambda a, b, c, carry=None: ((product(a, b) + c) >> WORD,)

    def low(a: Array, b: Array, c: Array, carry: Array | None = None) -> tuple[Array, ...]:
        total = (((a & MASK) * (b & MASK)) & MASK) + (c & MASK) + (u64(0) if carry is None else u64(carry))
        return total & MASK, total > MASK

    return low


def add3(*sources: Array) -> tuple[Array, ...]:
    """The sum of three words and of what comes in, and whether it exceeds one word, or two."""
    total = sum((u64(s) for s in sources), u64(0))
    return total & MASK, (total >> WORD) >= 1, (total >> WORD) >= 2


def scaled_add(modifiers: list[str]) -> Meaning:
    """LEA: (a << by) + b; HI: what of a, and of the word above it, is shifted beyond 32 bits, + b."""
    high, extends = "HI" in modifiers, "SX32" in modifiers

    def compute(a: Array, b: Array, above: Array, by: Array, carry: Array) -> tuple[Array, ...]:
        value = unsigned(signed(a)) if extends else (a & MASK) | (above & MASK) << WORD
        part = shifted(value, by, left=True)
        part = part >> WORD if high else part & MASK
        total = part + (b & MASK) + u64(carry)
        return total & MASK, total > MASK

    return compute


def least_or_most(modifiers: list[str]) -> Meaning:
    width = 64 if {"S64", "U64"} & set(modifiers) else 32
    is_unsigned = bool({"U32", "U64"} & set(modifiers))

    def choose(a: Array, b: Array, least: Array) -> tuple[Array, ...]:
        x, y = (a, b) if is_unsigned else (signed(a, width), signed(b, width))
        return (np.where(np.where(least, x < y, x > y), a, b),)

    return choose


def to_float(modifiers: list[str]) -> Meaning:
    """I2F; RP rounds up, as the reciprocals of integer division want it."""
    is_signed = not {"U32", "U64"} & set(modifiers)
    width = 64 if {"S64", "U64"} & set(modifiers) else 32

    def convert(a: Array) -> tuple[Array, ...]:
        exact = signed(a, width) if is_signed else u64(a)
        near = np.asarray(exact).astype(np.float32)
        if "RP" in modifiers:
            below = near.astype(np.float64) < np.asarray(exact).astype(np.float64)
            near = np.where(below, np.nextafter(near, np.float32(np.inf)), near).astype(np.float32)
        return (bits(near),)

    return convert


def to_integer(modifiers: list[str]) -> Meaning:
    width = 64 if {"S64", "U64"} & set(modifiers) else 32
    is_signed = not {"U32", "U64"} & set(modifiers)

    def convert(a: Array) -> tuple[Array, ...]:
        value = np.trunc(floats(a).astype(np.float64))
        low, top = (-(2.0 ** (width - 1)), 2.0 ** (width - 1) - 1) if is_signed else (0.0, 2.0**width - 1)
        held = np.clip(np.nan_to_num(value, nan=0.0), low, min(top, 2.0**63 - 1024))
        return (unsigned(held.astype(np.int64)) & (ALL if width == 64 else MASK),)

    return convert


def reciprocal(a: Array) -> tuple[Array, ...]:
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return (bits(np.float32(1) / floats(a)),)


def absolute(a: Array) -> tuple[Array, ...]:
    return (unsigned(np.abs(signed(a))) & MASK,)


def population(a: Array) -> tuple[Array, ...]:
    words = np.asarray(a & MASK)
    return (sum(((words >> np.uint64(i)) & np.uint64(1) for i in range(32)), u64(0)),)


def leading(modifiers: list[str]) -> Meaning:
    """FLO: the place of the highest bit; SH: how far it is from the top."""

    def find(a: Array) -> tuple[Array, ...]:
        value = np.asarray(a & MASK)
        if "U32" not in modifiers:
            value = np.where(signed(value) < 0, ~value & MASK, value)
        place = np.floor(np.log2(np.maximum(value, np.uint64(1)).astype(np.float64))).astype(np.int64)
        place = 31 - place if "SH" in modifiers else place
        return (np.where(value == 0, MASK, unsigned(place) & MASK), value != 0)

    return find


def extend(modifiers: list[str]) -> Meaning:
    """SGXT: the lowest bits, with their sign (U32: without)."""

    def compute(a: Array, width: Array) -> tuple[Array, ...]:
        away = np.uint64(32) - np.minimum(u64(width), np.uint64(32))
        up = (a << away) & MASK
        down = (up >> away) if "U32" in modifiers else unsigned(signed(up) >> away.astype(np.int64))
        return (down & MASK,)

    return compute


def mask_of(modifiers: list[str]) -> Meaning:
    """BMSK: ``width`` ones from ``start`` on."""

    def compute(start: Array, width: Array) -> tuple[Array, ...]:
        ones = shifted(np.uint64(1) + u64(0), np.minimum(u64(width), WORD), left=True) - np.uint64(1)
        return ((shifted(ones, u64(start), left=True)) & MASK,)

    return compute
