"""What a decoder layer does between its products, each in one pass over memory.

`kernels.c` is compiled when the package is installed, if gcc is there. It computes bf16 on a CPU,
in fp32 inside; everything else, and everything without it, is computed by torch's operations here,
with the same results up to rounding.
"""

from __future__ import annotations

import ctypes
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

LIBRARY = Path(__file__).with_name("libkernels.so")
_POINTERS = {  # of each function; what follows them are sizes, and the epsilon of `normed`
    "normed": (3, 2),
    "normed_back": (5, 2),
    "gated": (2, 2),
    "gated_back": (3, 2),
    "heads": (4, 7),
    "causal": (1, 4),
    "causal_back": (2, 4),
}


@cache
def compiled() -> Any:
    """The compiled functions, or None where there are none of this source that load."""
    try:
        library = ctypes.CDLL(str(LIBRARY))
        source = zlib.crc32(LIBRARY.with_name("kernels.c").read_bytes())
        library.source.restype = ctypes.c_uint32
    except (OSError, AttributeError):
        return None
    if library.source() != source:
        return None
    for name, (pointers, sizes) in _POINTERS.items():
        function = getattr(library, name)
        function.restype = None
        epsilon = [ctypes.c_float] if name == "normed" else []
        function.argtypes = [ctypes.c_void_p] * pointers + [ctypes.c_int64] * sizes + epsilon
    return library


def normed(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x (M, d) over its root mean square, and one over that (M, 1) in fp32."""
    if (library := _for(x)) is not None:
        y, scale = torch.empty_like(x), x.new_empty(len(x), 1, dtype=torch.float32)
        rows, width = x.shape
        library.normed(*_at(x, y, scale), rows, width, eps)
        return y, scale
    wide = x.to(torch.float32, copy=True)
    scale = wide.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
    return wide.mul_(scale).to(x.dtype), scale


def normed_back(dn: Tensor, n: Tensor, scale: Tensor, more: Tensor) -> Tensor:
    """The gradient (M, d) of the x of `normed`, and `more` (M, d) added."""
    if (library := _for(dn, n, more, fp32=(scale,))) is not None:
        rows, width = n.shape
        dx = torch.empty_like(n)
        library.normed_back(*_at(dn, n, scale, more, dx), rows, width)
        return dx
    along = (dn * n).mean(-1, keepdim=True, dtype=torch.float32).to(dn.dtype)
    return torch.addcmul(more, torch.addcmul(dn, n, along, value=-1), scale.to(dn.dtype))


def gated(both: Tensor) -> Tensor:
    """silu of the first half of (M, 2 f) times the second: (M, f)."""
    if (library := _for(both)) is not None:
        inner = both.new_empty(len(both), both.shape[1] // 2)
        library.gated(*_at(both, inner), *inner.shape)
        return inner
    gate, up = both.chunk(2, dim=-1)
    return nn.functional.silu(gate) * up


def gated_back(dinner: Tensor, both: Tensor) -> Tensor:
    """The gradient (M, 2 f) of the argument of `gated`."""
    dboth = torch.empty_like(both)
    if (library := _for(dinner, both)) is not None:
        library.gated_back(*_at(dinner, both, dboth), *dinner.shape)
        return dboth
    gate, up = both.chunk(2, dim=-1)
    dgate, dup = dboth.chunk(2, dim=-1)
    torch.mul(dinner, nn.functional.silu(gate), out=dup)
    torch.ops.aten.silu_backward.grad_input(dinner * up, gate, grad_input=dgate)
    return dboth


def heads(both: Tensor, cos: Tensor, sin: Tensor, sizes: tuple[int, int, int, int]) -> Tensor:
    """All heads (H, B, S, size) of what their products gave (B * T, H * size), zeros after T.

    `sizes` are B, S, H and how many of the first heads are turned by their places, with tables
    (T, size) in fp32 (Su et al., 2021).
    """
    rows, room, every, turning = sizes
    length, size = cos.shape
    y = both.new_empty(every, rows, room, size)
    y[:, :, length:] = 0
    if (library := _for(both, fp32=(cos, sin))) is not None:
        library.heads(*_at(both, cos, sin, y), every, turning, size, rows, length, room, False)
        return y
    x = both.view(rows, length, every, size).permute(2, 0, 1, 3)
    turned(x[:turning], cos.to(x.dtype), sin.to(x.dtype), y[:turning, :, :length])
    y[turning:, :, :length] = x[turning:]
    return y


def heads_back(dy: Tensor, cos: Tensor, sin: Tensor, turning: int) -> Tensor:
    """The gradient (B * T, H * size) of the argument of `heads`."""
    every, rows, room, size = dy.shape
    length = len(cos)
    dboth = dy.new_empty(rows * length, every * size)
    sin = -torch.cat([sin[:, size // 2 :], sin[:, : size // 2]], dim=1)  # of the other half
    if (library := _for(dy, fp32=(cos, sin))) is not None:
        library.heads(*_at(dboth, cos, sin, dy), every, turning, size, rows, length, room, True)
        return dboth
    into, own = dboth.view(rows, length, every, size).permute(2, 0, 1, 3), dy[:, :, :length]
    turned(own[:turning], cos.to(dy.dtype), sin.to(dy.dtype), into[:turning])
    into[turning:] = own[turning:]
    return dboth


def causal(scores: Tensor, first: int) -> Tensor:
    """Softmax of (N, rows, columns), row i over its first `first` + i + 1 columns.

    It may be written over the scores.
    """
    if (library := _for(scores)) is not None:
        count, rows, columns = scores.shape
        library.causal(*_at(scores), count * rows, rows, first, columns)
        return scores
    hidden = torch.full(scores.shape[1:], -torch.inf, dtype=scores.dtype).triu_(first + 1)
    return torch.softmax(scores.add_(hidden), -1)


def causal_back(grads: Tensor, weights: Tensor, first: int) -> Tensor:
    """The gradient of the argument of `causal`, which gave the weights, from that of the weights.

    It may be written over the latter.
    """
    if (library := _for(grads, weights)) is not None:
        count, rows, columns = grads.shape
        library.causal_back(*_at(grads, weights), count * rows, rows, first, columns)
        return grads
    return torch._softmax_backward_data(grads, weights, -1, weights.dtype)


def turned(x: Tensor, cos: Tensor, sin: Tensor, y: Tensor | None = None) -> Tensor:
    """Rotary embedding (Su et al., 2021) of x (..., T, size), by tables that broadcast.

    It is written into y, where there is one.
    """
    half, y = x.shape[-1] // 2, torch.empty(x.shape, dtype=x.dtype) if y is None else y
    torch.mul(x, cos, out=y)
    y[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
    y[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return y


def _for(*bf16: Tensor, fp32: tuple[Tensor, ...] = ()) -> Any:
    """The compiled functions, if they can read these tensors of these types."""
    fits = all(
        t.dtype is dtype and t.device.type == "cpu" and t.is_contiguous()
        for group, dtype in ((bf16, torch.bfloat16), (fp32, torch.float32))
        for t in group
    )
    return compiled() if fits else None


def _at(*tensors: Tensor) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]
