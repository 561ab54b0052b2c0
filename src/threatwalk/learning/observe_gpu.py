"""What the set network sees of a GpuEnv's walks, as tensors on its device: observe.py's numbers."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from threatwalk.learning.env_gpu import GpuEnv, spans
from threatwalk.learning.features import GROUP_OF, GROUPS, KINDS
from threatwalk.learning.observe import ENDLESS, LOOK, POOLS, Lexicon, Vocabulary, counts_width
from threatwalk.learning.stepping import NO_BUDGET


@dataclass(frozen=True)
class DeviceLexicon:
    """Lexicon and vocabulary on a device.  All int32: kinds (N,), indptr (N + 1,), columns, groups (V,),
    group_of (kinds,): the group of each kind
    """

    kinds: Tensor
    indptr: Tensor
    columns: Tensor
    groups: Tensor
    group_of: Tensor

    @classmethod
    def of(cls, lexicon: Lexicon, vocabulary: Vocabulary, device: str | torch.device) -> "DeviceLexicon":
        group_of = np.array([GROUP_OF[kind] for kind in KINDS])
        arrays = (lexicon.kinds, lexicon.indptr, lexicon.columns, vocabulary.groups, group_of)
        return cls(*(torch.from_numpy(a.astype(np.int32)).to(device) for a in arrays))


@dataclass(frozen=True)
class Seen:
    """observe.Observation as tensors: pooled (B, POOLS, V), counts (B, C) float32; mask (B,) int32."""

    pooled: Tensor
    counts: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Kept:
    """What an observer keeps of each pool between its calls, so that it reads only what joined.  int32

    total (B, POOLS, V / 4): how many of the samples read carry each word, four words in one number (none
    exceeds max(LOOK) < 256); members (B, POOLS): the samples read of each group, likewise
    by_kind (B, POOLS, kinds): all samples; seen (B, POOLS): how many those are; since: GpuEnv.begun then
    """

    total: Tensor
    members: Tensor
    by_kind: Tensor
    seen: Tensor
    since: Tensor


class Observer:
    """Sees all walks of an environment. With kernels, in one place: the next call writes over what this one saw.

    The trailhead's pool is counted when a walk begins; to that of the whole set, what joined is added, until
    the set must be thinned otherwise; the newest are counted at every call.
    """

    def __init__(self, env: GpuEnv, lexicon: DeviceLexicon, *, dtype: torch.dtype = torch.float32) -> None:
        """`dtype` of the pooled words: where it is narrower than float32, they are rounded to it."""
        self._env = env
        self._lexicon = lexicon
        self._dtype = dtype
        self._looks = torch.tensor(LOOK, dtype=torch.int32, device=env.device)
        if env.kernels:
            self._kept, self._seen = self._nothing()

    def __call__(self) -> Seen:
        if self._env.kernels:
            from threatwalk.learning import env_kernels  # noqa: PLC0415 - needs Triton

            env_kernels.observe(self._env, self._lexicon, self._looks, self._kept, self._seen)
            return self._seen
        pooled, by_kind = self._pools()
        kinds = torch.log1p(by_kind.reshape(len(self._env), -1).to(torch.float64))
        counts = torch.cat([kinds, self._progress()], dim=1).to(torch.float32)
        return Seen(pooled.to(self._dtype), counts, self._env.open())

    def _nothing(self) -> tuple[Kept, Seen]:
        size, words = len(self._env), len(self._lexicon.groups)

        def zeros(*shape: int, dtype: torch.dtype = torch.int32) -> Tensor:
            return torch.zeros((size, *shape), dtype=dtype, device=self._env.device)

        kept = Kept(
            zeros(POOLS, -(-words // 4)),
            zeros(POOLS),
            zeros(POOLS, len(KINDS)),
            zeros(POOLS),
            zeros(POOLS),
        )
        width = counts_width(self._env.filters)
        return kept, Seen(zeros(POOLS, words, dtype=self._dtype), zeros(width, dtype=torch.float32), zeros())

    def _pools(self) -> tuple[Tensor, Tensor]:
        env = self._env
        none, one = torch.zeros_like(env.count), torch.ones_like(env.count)
        ranges = ((none, one), (none, env.count), (env.count - env.new, env.new))
        pooled, by_kind = [], []
        for (start, length), look in zip(ranges, LOOK, strict=True):
            walk, position = spans(start, length)
            sample = env.order[walk, position].to(torch.int64)
            cell = walk * len(KINDS) + self._lexicon.kinds[sample]
            by_kind.append(torch.bincount(cell, minlength=len(env) * len(KINDS)).reshape(len(env), -1))
            stride = (length.clamp(min=1) + look - 1) // look
            keep = (position - start[walk]) % stride[walk] == 0
            pooled.append(self._pool(walk[keep], sample[keep]))
        return torch.stack(pooled, dim=1), torch.stack(by_kind, dim=1)

    def _pool(self, walk: Tensor, sample: Tensor) -> Tensor:
        """The share of samples that carry each word, within the word's group of kinds.  (B, V)"""
        known, walks = self._lexicon, len(self._env)
        words = len(known.groups)
        low = known.indptr[sample]
        owner, at = spans(low, known.indptr[sample + 1] - low)
        total = torch.bincount(walk[owner] * words + known.columns[at], minlength=walks * words)
        group = walk * len(GROUPS) + known.group_of[known.kinds[sample]]
        members = torch.bincount(group, minlength=walks * len(GROUPS)).clamp(min=1).to(torch.float32)
        share = members.reshape(walks, -1)[:, known.groups]
        return total.reshape(walks, words).to(torch.float32) / share

    def _progress(self) -> Tensor:
        """observe._progress, of walks that may ask every filter."""
        env = self._env
        limited = env.budget_left != NO_BUDGET
        left = torch.where(limited, torch.log1p(env.budget_left.clamp(min=0).to(torch.float64)), ENDLESS)
        size = env.count.to(torch.float64)
        step = env.steps.to(torch.float64) / 5
        rest = torch.stack(
            [step, torch.log1p(size), torch.log1p(env.new.to(torch.float64)), limited, left], dim=1
        )
        asked = env.watermark / size[:, None]
        return torch.cat(
            [torch.log1p(env.pending.to(torch.float64)), asked, torch.ones_like(asked), rest], dim=1
        )
