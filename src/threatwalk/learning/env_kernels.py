"""GpuEnv's step, start and pools as Triton kernels: one program a walk, blocks of questions and pivots.

A program reads its walk's questions in canonical order, a block of them at once, spreads the pivots
that answer them over blocks, and drops what the walk holds (a table of marks, two bits a sample) or
what stands earlier in the same block. So what is found joins in the order in which BatchEnv adds it.
Tables of a block against another are summed over their first axis: over the second, lanes must shuffle.
Sums of eq. (4) are in float64 and not fused, so that they come out bit for bit as NumPy's.
"""

# ruff: noqa: N803 - Triton's constants are in capitals, as everywhere
# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call"
# (a kernel is compiled by Triton from its text; its arguments are pointers, numbers and constants)

from typing import TYPE_CHECKING, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from threatwalk.learning.env import Ended
from threatwalk.learning.observe import ENDLESS
from threatwalk.learning.stepping import NO_BUDGET
from threatwalk.params import Pay

if TYPE_CHECKING:
    from threatwalk.learning.env_gpu import GpuEnv
    from threatwalk.learning.observe_gpu import DeviceLexicon, Kept, Seen


class Shape(NamedTuple):
    """How a kernel is cut: what it reads in one block, and the warps that share the work."""

    block: int
    warps: int


STEP = Shape(
    32, 1
)  # questions or pivots. One warp a walk: one in a hundred asks thousands of questions, and others run meanwhile
RESET = Shape(128, 4)  # samples
POOL = Shape(4, 2)  # samples, of 64 words each

_POLICY = tl.constexpr(int(Ended.POLICY))
_NOTHING_NEW = tl.constexpr(int(Ended.NOTHING_NEW))
_STEP_LIMIT = tl.constexpr(int(Ended.STEP_LIMIT))
_BUDGET = tl.constexpr(int(Ended.BUDGET))
_NOTHING_TO_ASK = tl.constexpr(int(Ended.NOTHING_TO_ASK))
_REACHED = tl.constexpr(int(Ended.REACHED))
_FLOOR = tl.constexpr(int(Ended.FLOOR))
_ENDLESS = tl.constexpr(int(NO_BUDGET))
_ENDLESS_LOG = tl.constexpr(ENDLESS)
_WORDS = tl.constexpr(64)  # the most words of a sample (features)


def step(env: "GpuEnv", actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """GpuEnv.step: reward, added, lookups."""
    reward, added, lookups = (torch.empty_like(like) for like in (env.level, env.count, env.count))
    t = env.tables
    _step[(len(env),)](
        actions, env.order, env.marks, env.watermark, env.pending,
        env.goal, env.count, env.hits, env.steps, env.new, env.lookups, env.budget_left, env.level, env.ended,
        reward, added, lookups,
        t.takes, t.indptr, t.found, t.first_day, t.first_group, t.other_day,
        t.goal_size, t.group, t.day, t.limit, env.rule,
        t.samples, env.capacity, env.marks.shape[1], env.walk.steps,
        FILTERS=env.filters, F=triton.next_power_of_2(env.filters), IN_TURN=env.in_turn, CUT=env.cut, AUDIT=env.audit,
        GAIN=env.reward.pay is Pay.GAIN, BLOCK=STEP.block, num_warps=STEP.warps, enable_fp_fusion=False,
    )  # fmt: skip
    return reward, added, lookups


def reset(env: "GpuEnv", which: Tensor, goals: Tensor, trailheads: Tensor, budget: Tensor) -> None:
    """GpuEnv.reset."""
    t = env.tables
    _reset[(len(env),)](
        which, goals, trailheads, budget, env.order, env.marks, env.watermark, env.pending,
        env.goal, env.count, env.hits, env.steps, env.new, env.lookups, env.budget_left, env.level, env.ended,
        env.begun, t.takes, t.goal_indptr, t.goal_found, t.goal_size, t.limit, env.rule,
        env.capacity, env.marks.shape[1], env.walk.steps,
        FILTERS=env.filters, F=triton.next_power_of_2(env.filters), BLOCK=RESET.block, num_warps=RESET.warps,
        enable_fp_fusion=False,
    )  # fmt: skip


def observe(env: "GpuEnv", lexicon: "DeviceLexicon", looks: Tensor, kept: "Kept", seen: "Seen") -> None:
    """Observer's numbers, written in place where a walk went on."""
    words, kinds, width = len(lexicon.groups), len(lexicon.group_of), seen.counts.shape[1]
    cells = kept.total.shape[2]
    _pools[seen.pooled.shape[:2]](
        env.order, env.count, env.new, env.begun, looks,
        lexicon.kinds, lexicon.indptr, lexicon.columns, lexicon.groups, lexicon.group_of,
        kept.total, kept.members, kept.by_kind, kept.seen, kept.since, seen.pooled, seen.counts,
        env.capacity, words, cells, kinds, width,
        KINDS=triton.next_power_of_2(kinds), SAMPLES=POOL.block, PART=64 * POOL.warps, BLOCK=32,
        num_warps=POOL.warps,
    )  # fmt: skip
    block = 64
    _progress[(triton.cdiv(len(env), block),)](
        env.watermark, env.pending, env.steps, env.count, env.new, env.budget_left, seen.counts, seen.mask,
        len(env), width, len(looks) * kinds,
        FILTERS=env.filters, F=triton.next_power_of_2(env.filters), BLOCK=block, num_warps=4,
    )  # fmt: skip


@triton.jit
def _range(place, ends, LAST: tl.constexpr):
    """The number of the range that holds each place, of ranges that follow each other; LAST beyond them."""
    return tl.minimum(tl.sum((ends[:, None] <= place[None, :]).to(tl.int32), axis=0), LAST)


@triton.jit
def _level(hits, count, size, excess):
    """Eq. (4), clipped."""
    value = (hits.to(tl.float64) - excess * (count - hits).to(tl.float64)) / size.to(tl.float64)
    return tl.maximum(value, -1.0)


@triton.jit
def _ending(pending, steps, new, left, count, level, limit, end_at, step_limit):
    """In the order of `analysis.walk`; the later assignment wins."""
    ended = tl.where(tl.max(pending, axis=0) > 0, 0, _NOTHING_TO_ASK)
    ended = tl.where(steps >= step_limit, _STEP_LIMIT, ended)
    ended = tl.where(new == 0, _NOTHING_NEW, ended)
    ended = tl.where(left <= 0, _BUDGET, ended)
    ended = tl.where(count > limit, _FLOOR, ended)
    return tl.where((end_at > 0) & (tl.abs(level) >= end_at), _REACHED, ended)


@triton.jit
def _step(
    actions, order, marks, watermark, pending,
    goal, count, hits, steps, new, lookups, budget_left, level, ended,
    out_reward, out_added, out_lookups,
    takes, indptr, found, first_day, first_group, other_day,
    goal_size, group, day, limit, rule,
    samples, capacity, words, step_limit,
    FILTERS: tl.constexpr, F: tl.constexpr, IN_TURN: tl.constexpr, CUT: tl.constexpr, AUDIT: tl.constexpr,
    GAIN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    walk = tl.program_id(0)
    running = tl.load(ended + walk) == 0
    action = tl.where(running, tl.load(actions + walk), 0)
    f = tl.arange(0, F)
    there = f < FILTERS
    open_ = tl.load(pending + walk * FILTERS + f, mask=there, other=0)
    row = order + walk.to(tl.int64) * capacity
    table = marks + walk.to(tl.int64) * words
    lane = tl.arange(0, BLOCK)
    mark = tl.load(watermark + walk * FILTERS + f, mask=there, other=0)
    g = tl.load(goal + walk)
    most = tl.load(limit + g)
    own_group = tl.load(group + g)
    own_day = tl.load(day + g)
    count_before = tl.load(count + walk)
    left = tl.load(budget_left + walk)
    n = count_before
    h = tl.load(hits + walk)
    asked = 0
    room = capacity
    if CUT:
        room = tl.minimum(most + 1, capacity)
    turns = 1
    if IN_TURN:
        turns = FILTERS
    for turn in range(turns):
        chosen = ((action >> f) & 1) != 0
        if IN_TURN:
            chosen = chosen & (f == turn)
        shown = n
        questions = tl.where(chosen, open_, 0)
        before = tl.cumsum(questions, axis=0) - questions
        done = tl.minimum(questions, tl.maximum(left - before, 0))
        length = tl.where(questions > 0, n - mark, 0)
        q_end = tl.cumsum(length, axis=0)
        q_start = q_end - length
        total = tl.sum(length, axis=0)
        gained = tl.zeros([F], dtype=tl.int32)
        accepted = 0
        q0 = 0
        while (q0 < total) & (accepted < left) & (n < room):
            q = q0 + lane
            filter_ = _range(q, q_end, F - 1)
            position = q + tl.gather(mark - q_start, filter_, axis=0)
            sample = tl.load(row + position, mask=q < total, other=0)
            took = (tl.load(takes + sample, mask=q < total, other=0) >> filter_) & 1
            within = (took != 0) & (accepted + tl.cumsum(took, axis=0) <= left)
            accepted += tl.sum(took, axis=0)
            cell = indptr + filter_.to(tl.int64) * (samples + 1) + sample
            low = tl.load(cell, mask=within, other=0)
            size = tl.load(cell + 1, mask=within, other=0) - low
            e_end = tl.cumsum(size, axis=0)
            pivots = tl.sum(size, axis=0)
            shift = low - (e_end - size)
            e0 = 0
            while (e0 < pivots) & (n < room):
                e = e0 + lane
                real = e < pivots
                edge = e + tl.gather(shift, _range(e, e_end, BLOCK - 1), axis=0)
                x = tl.load(found + edge, mask=real, other=0)
                if AUDIT:
                    first = tl.load(first_day + edge, mask=real, other=0) <= own_day
                    first = first & (tl.load(first_group + edge, mask=real, other=0) != own_group)
                    real = real & (first | (tl.load(other_day + edge, mask=real, other=0) <= own_day))
                bits = tl.load(table + x // 16, mask=real, other=0) >> (2 * (x % 16))
                fresh = real & ((bits & 1) == 0)
                key = tl.where(fresh, x, -1 - lane)  # what is not fresh is equal to nothing
                same = (key[:, None] == key[None, :]) & (lane[:, None] < lane[None, :])
                fresh = fresh & (tl.sum(same.to(tl.int32), axis=0) == 0)
                place = n + tl.cumsum(fresh.to(tl.int32), axis=0) - 1
                fresh = fresh & (place < room)
                tl.store(row + place, x, mask=fresh)
                tl.atomic_or(table + x // 16, 1 << (2 * (x % 16)), mask=fresh, sem="relaxed")
                t = tl.load(takes + x, mask=fresh, other=0)
                gained += tl.sum((t[:, None] >> f[None, :]) & 1, axis=0)
                h += tl.sum((fresh & ((bits & 2) != 0)).to(tl.int32), axis=0)
                n += tl.sum(fresh.to(tl.int32), axis=0)
                tl.debug_barrier()  # the next block reads marks and samples of this one
                e0 += BLOCK
            q0 += BLOCK
        open_ += gained - done
        mark = tl.where(chosen, shown, mark)
        once = tl.sum(done, axis=0)
        asked += once
        left -= tl.where(left == _ENDLESS, 0, once)
    stop = action == 0
    worth = _level(h, n, tl.load(goal_size + g), tl.load(rule))
    taken = tl.load(steps + walk) + 1
    ending = _ending(open_, taken, n - count_before, left, n, worth, most, tl.load(rule + 1), step_limit)
    earned = worth
    if GAIN:
        earned = worth - tl.load(level + walk)
    tl.store(out_reward + walk, tl.where(stop, 0.0, earned))
    tl.store(out_added + walk, n - count_before)
    tl.store(out_lookups + walk, asked)
    moved = running & (action != 0)
    tl.store(pending + walk * FILTERS + f, open_, mask=there & moved)
    tl.store(watermark + walk * FILTERS + f, mark, mask=there & moved)
    tl.store(count + walk, n, mask=moved)
    tl.store(hits + walk, h, mask=moved)
    tl.store(steps + walk, taken, mask=moved)
    tl.store(lookups + walk, tl.load(lookups + walk) + asked, mask=moved)
    tl.store(budget_left + walk, left, mask=moved)
    tl.store(level + walk, worth, mask=moved)
    tl.store(new + walk, n - count_before, mask=running)
    tl.store(ended + walk, tl.where(stop, _POLICY, ending).to(tl.uint8), mask=running)


@triton.jit
def _reset(
    which, goals, trailheads, budget, order, marks, watermark, pending,
    goal, count, hits, steps, new, lookups, budget_left, level, ended,
    begun, takes, goal_indptr, goal_found, goal_size, limit, rule,
    capacity, words, step_limit,
    FILTERS: tl.constexpr, F: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    walk = tl.program_id(0)
    if tl.load(which + walk) != 0:
        row = order + walk.to(tl.int64) * capacity
        table = marks + walk.to(tl.int64) * words
        lane = tl.arange(0, BLOCK)
        old = tl.load(count + walk)
        for at in range(0, old, BLOCK):  # every mark is one of a sample held or one of the goal
            x = tl.load(row + at + lane, mask=at + lane < old, other=0)
            tl.store(table + x // 16, 0, mask=at + lane < old)
        g = tl.load(goal + walk)
        end = tl.load(goal_indptr + g + 1)
        for at in range(tl.load(goal_indptr + g), end, BLOCK):
            x = tl.load(goal_found + at + lane, mask=at + lane < end, other=0)
            tl.store(table + x // 16, 0, mask=at + lane < end)
        tl.debug_barrier()
        g = tl.load(goals + walk)
        trailhead = tl.load(trailheads + walk)
        h = 0
        end = tl.load(goal_indptr + g + 1)
        for at in range(tl.load(goal_indptr + g), end, BLOCK):
            x = tl.load(goal_found + at + lane, mask=at + lane < end, other=-1)
            tl.atomic_or(table + x // 16, 2 << (2 * (x % 16)), mask=at + lane < end, sem="relaxed")
            h += tl.sum((x == trailhead).to(tl.int32), axis=0)
        tl.atomic_or(table + trailhead // 16, 1 << (2 * (trailhead % 16)), sem="relaxed")
        f = tl.arange(0, F)
        there = f < FILTERS
        open_ = tl.where(there, (tl.load(takes + trailhead) >> f) & 1, 0)
        left = tl.load(budget + walk)
        worth = _level(h, 1, tl.load(goal_size + g), tl.load(rule))
        ending = _ending(open_, 0, 1, left, 1, worth, tl.load(limit + g), tl.load(rule + 1), step_limit)
        tl.store(row, trailhead)
        tl.store(pending + walk * FILTERS + f, open_, mask=there)
        tl.store(watermark + walk * FILTERS + f, tl.zeros([F], dtype=tl.int32), mask=there)
        tl.store(goal + walk, g)
        tl.store(count + walk, 1)
        tl.store(hits + walk, h)
        tl.store(steps + walk, 0)
        tl.store(begun + walk, tl.load(begun + walk) + 1)
        tl.store(new + walk, 1)
        tl.store(lookups + walk, 0)
        tl.store(budget_left + walk, left)
        tl.store(level + walk, worth)
        tl.store(ended + walk, ending.to(tl.uint8))


@triton.jit
def _pools(
    order, count, new, begun, looks,
    kinds, indptr, columns, groups, group_of,
    total, members, by_kind, seen, since, pooled, counts,
    capacity, words, cells, kind_count, width,
    KINDS: tl.constexpr, SAMPLES: tl.constexpr, PART: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    walk = tl.program_id(0)
    pool = tl.program_id(1)
    at_pool = walk.to(tl.int64) * tl.num_programs(1) + pool
    row = order + walk.to(tl.int64) * capacity
    length = tl.load(count + walk)
    if pool == 0:
        length = 1
    if pool == 2:
        added = tl.load(new + walk)
        row += length - added
        length = added
    look = tl.load(looks + pool)
    stride = (tl.maximum(length, 1) + look - 1) // look
    now = tl.load(begun + walk)
    first = tl.load(seen + at_pool)
    # what was pooled stays pooled while it is the same walk, thinned alike; the newest are always others
    goes_on = (tl.load(since + at_pool) == now) & ((tl.maximum(first, 1) + look - 1) // look == stride)
    goes_on = goes_on & (pool != 2)
    if goes_on & (first == length):
        return
    first = tl.where(goes_on, first, 0)
    own_total = total + at_pool * cells
    part = tl.arange(0, PART)
    if first == 0:
        for at in range(0, cells, PART):
            tl.store(own_total + at + part, tl.zeros([PART], dtype=tl.int32), mask=at + part < cells)
        tl.debug_barrier()

    lane = tl.arange(0, BLOCK)
    k = tl.arange(0, KINDS)
    of_kind = tl.load(by_kind + at_pool * kind_count + k, mask=(k < kind_count) & (first > 0), other=0)
    for at in range(first, length, BLOCK):
        sample = tl.load(row + at + lane, mask=at + lane < length, other=0)
        kind = tl.load(kinds + sample, mask=at + lane < length, other=-1)
        of_kind += tl.sum((kind[:, None] == k[None, :]).to(tl.int32), axis=0)
    tl.store(by_kind + at_pool * kind_count + k, of_kind, mask=k < kind_count)
    logs = tl.log(1 + of_kind.to(tl.float64)).to(tl.float32)
    tl.store(counts + walk.to(tl.int64) * width + pool * kind_count + k, logs, mask=k < kind_count)

    some = tl.arange(0, SAMPLES)
    slot = tl.arange(0, _WORDS)
    read = tl.load(members + at_pool, mask=first > 0, other=0)
    for at in range((first + stride - 1) // stride * stride, length, SAMPLES * stride):
        place = at + some * stride
        inside = place < length
        sample = tl.load(row + place, mask=inside, other=0)
        own = tl.load(group_of + tl.load(kinds + sample, mask=inside, other=0), mask=inside, other=0)
        read += tl.sum(tl.where(inside, 1 << (8 * own), 0), axis=0)
        low = tl.load(indptr + sample, mask=inside, other=0)
        end = tl.load(indptr + sample + 1, mask=inside, other=0)
        real = low[:, None] + slot[None, :] < end[:, None]
        word = tl.load(columns + low[:, None] + slot[None, :], mask=real, other=0)
        tl.atomic_add(own_total + word // 4, 1 << (8 * (word % 4)), mask=real, sem="relaxed")
    tl.store(members + at_pool, read)
    tl.store(seen + at_pool, length)
    tl.store(since + at_pool, now)
    tl.debug_barrier()

    byte = tl.arange(0, 4)
    for at in range(0, cells, PART):
        cell = at + part
        four = tl.load(
            own_total + cell, mask=cell < cells, other=0, cache_modifier=".cg"
        )  # where atomics add
        carry = (four[:, None] >> (8 * byte[None, :])) & 255
        v = 4 * cell[:, None] + byte[None, :]
        share = (read >> (8 * tl.load(groups + v, mask=v < words, other=0))) & 255
        value = tl.div_rn(carry.to(tl.float32), tl.maximum(share, 1).to(tl.float32))
        tl.store(pooled + at_pool * words + v, value.to(pooled.dtype.element_ty), mask=v < words)


@triton.jit
def _progress(
    watermark, pending, steps, count, new, budget_left, counts, open_filters,
    walks, width, offset,
    FILTERS: tl.constexpr, F: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    walk = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = walk < walks
    f = tl.arange(0, F)
    there = here[:, None] & (f < FILTERS)[None, :]
    at = walk[:, None] * FILTERS + f[None, :]
    row = counts + walk.to(tl.int64) * width + offset
    cell = row[:, None] + f[None, :]
    open_ = tl.load(pending + at, mask=there, other=0)
    size = tl.load(count + walk, mask=here, other=1).to(tl.float64)
    asked = tl.load(watermark + at, mask=there, other=0).to(tl.float64) / size[:, None]
    tl.store(cell, tl.log(1 + open_.to(tl.float64)).to(tl.float32), mask=there)
    tl.store(cell + FILTERS, asked.to(tl.float32), mask=there)
    tl.store(cell + 2 * FILTERS, tl.full([BLOCK, F], 1.0, tl.float32), mask=there)
    row += 3 * FILTERS
    tl.store(row, (tl.load(steps + walk, mask=here, other=0).to(tl.float64) / 5).to(tl.float32), mask=here)
    tl.store(row + 1, tl.log(1 + size).to(tl.float32), mask=here)
    newest = tl.load(new + walk, mask=here, other=0).to(tl.float64)
    tl.store(row + 2, tl.log(1 + newest).to(tl.float32), mask=here)
    left = tl.load(budget_left + walk, mask=here, other=0)
    limited = left != _ENDLESS
    tl.store(row + 3, limited.to(tl.float32), mask=here)
    lookups = tl.log(1 + tl.maximum(left, 0).to(tl.float64)).to(tl.float32)
    tl.store(row + 4, tl.where(limited, lookups, _ENDLESS_LOG), mask=here)
    bits = tl.sum(tl.where(open_ > 0, 1 << f[None, :], 0), axis=1)
    tl.store(open_filters + walk, bits, mask=here)
