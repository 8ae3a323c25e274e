"""What lies between two samples of a generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from amgan_fast.data import to_uint8
from amgan_fast.drawing import save_sheet
from amgan_fast.metrics import finite


@dataclass(frozen=True, eq=False)
class Interpolation:
    """Images along straight lines in latent space: Odena et al., arXiv 1610.09585 [AC] section 4.5 and figure 8."""

    images: Tensor
    """[R, S, C, H, W] as the generator gives them, on the CPU: R lines of S steps, both ends included."""
    changes: Tensor
    """float64 [R, S - 1]: mean absolute difference between an image and the next, in the images' unit. A generator
    that remembers single images stays and jumps; one that has learnt what lies between changes evenly."""

    def to_dict(self) -> dict:
        """Without the images; None is what is no number."""
        return finite({"changes": self.changes.tolist()})


@torch.no_grad()
def interpolate_latents(
    generator: Callable[[Tensor], Tensor],
    start: Tensor,
    end: Tensor,
    *,
    steps: int = 10,
    condition: Tensor | None = None,
) -> Interpolation:
    """Generate images on the way from ``start`` to ``end``.

    The way is a straight line, as in [AC]. Half way between two independent draws from N(0, I), z is shorter by
    sqrt(2) than any the generator was trained with: images there may look more alike than samples do.

    Args:
        generator: [N, D + L] -> images [N, C, H, W], in evaluation mode.
        start: z of the first image of each row, [R, D], R at least 1.
        end: z of the last one, as ``start``.
        steps: images of a row, at least 2.
        condition: [R, L], what the generator takes behind z, the same all along a row: the one-hot label of
            predefined labels. None: nothing.

    Raises:
        ValueError: shapes that do not fit, or ``steps`` below 2.

    >>> import torch
    >>> from amgan_fast.evaluate import interpolate_latents
    >>> generator = torch.nn.Unflatten(1, (1, 1, 2))
    >>> lines = interpolate_latents(generator, torch.zeros(1, 2), torch.ones(1, 2), steps=5)
    >>> lines.images.shape, lines.changes.tolist()
    (torch.Size([1, 5, 1, 1, 2]), [[0.25, 0.25, 0.25, 0.25]])
    """
    if start.ndim != 2 or not len(start):
        raise ValueError(f"start is {list(start.shape)}, wanted [R, D] with R at least 1")
    if end.shape != start.shape:
        raise ValueError(f"end is {list(end.shape)}, wanted {list(start.shape)} as start")
    if condition is not None and (condition.ndim != 2 or len(condition) != len(start)):
        raise ValueError(f"condition is {list(condition.shape)}, wanted [{len(start)}, L]")
    if steps < 2:
        raise ValueError(f"steps is {steps}, wanted at least 2")
    weight = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)[:, None]
    inputs = torch.lerp(start[:, None], end[:, None], weight)
    if condition is not None:
        inputs = torch.cat([inputs, condition[:, None].expand(-1, steps, -1).to(inputs)], 2)
    images = generator(inputs.flatten(0, 1)).unflatten(0, (len(start), steps)).cpu()
    return Interpolation(images, images.double().diff(dim=1).abs().flatten(2).mean(2))


def save_interpolation(path: Path, interpolation: Interpolation) -> None:
    """Draw the images, a line of the latent space a row; images are in [-1, 1).

    >>> from pathlib import Path
    >>> import torch
    >>> from amgan_fast.evaluate import interpolate_latents, save_interpolation
    >>> generator = torch.nn.Unflatten(1, (1, 2, 2))
    >>> save_interpolation(Path("lines.png"), interpolate_latents(generator, torch.zeros(3, 4), torch.ones(3, 4)))
    """
    save_sheet(path, to_uint8(interpolation.images))
