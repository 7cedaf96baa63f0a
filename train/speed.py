"""How fast is it, as a share of what the hardware could do (MFU, model FLOPs utilisation).

A token costs 6 operations per weight that multiplies it (2 forward, 4 backward; the embedding is a look-up) and, in
attention, 12 x layers x width x T / 2: half, since a query looks only at what came before. Recomputed activations do
not count, as is the custom. Attention within short documents needs less than this, so MFU is flattered by them, as it
is in every published figure that counts this way. Held against torch's own count of operations by a test.
"""

from __future__ import annotations

import torch

from train.model import ModelShape

# dense bfloat16, from NVIDIA's data sheets (the sparse figures there are twice these)
PEAKS = {"H200": 989e12, "H100": 989e12, "GH200": 989e12, "A100": 312e12, "B200": 2250e12}


def multiplying_weights(shape: ModelShape) -> int:
    """Weights of the matrices that every token goes through: all but the embedding and the norms."""
    width = shape.dim // shape.heads
    attention = shape.dim * width * (2 * shape.heads + 2 * shape.kv_heads)
    return shape.layers * (attention + 2 * shape.dim * shape.ffn) + shape.dim * shape.vocab_size


def flops_per_token(shape: ModelShape, length: int) -> float:
    """Operations of one training step per token, in rows of `length` tokens."""
    return 6 * multiplying_weights(shape) + 6 * shape.layers * shape.dim * length


def peak_flops(device: torch.device) -> float | None:
    """Operations per second that the device could do in bfloat16; None where that is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for card, peak in PEAKS.items() if card in name), None)


def utilisation(shape: ModelShape, length: int, tokens_per_second: float, devices: int, peak: float) -> float:
    """MFU, 0 to 1: what was done as a share of what `devices` of that peak could do."""
    return flops_per_token(shape, length) * tokens_per_second / (devices * peak)
