"""LeCam regularization of a discriminator (Tseng et al., "Regularizing Generative Adversarial Networks under Limited
Data", arXiv 2104.03310)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from amgan_fast.errors import shown
from amgan_fast.objectives.arguments import check_floats
from amgan_fast.option_checks import check_that

_SOON_FORGOTTEN = 10  # steps: the first averages weigh as many, whatever the decay


class LeCam:
    """E (d(x) - a_g)^2 + E (d(g) - a_r)^2, with d the real/generated logit, and a_r and a_g moving averages of its mean
    over real and over generated rows: no row is to be further from the other kind than that is on average. This is the
    formula of the paper; its code takes max(0, d(x) - a_g) and max(0, a_r - d(g)) instead of the differences.

    In every step :meth:`update` with the means of this step's rows, then :meth:`penalty`. The averages begin as the
    first means, and those of the first steps are soon forgotten: in step t, from 0, the decay is at most t / (t + 10).

    Args:
        decay: of the averages, a step, in [0, 1).
        device: of the averages.

    >>> import torch
    >>> from amgan_fast.objectives import LeCam
    >>> lecam, d_real, d_fake = LeCam(), torch.tensor([1.0, 3.0]), torch.tensor([-1.0])
    >>> lecam.update(torch.stack([d_real.mean(), d_fake.mean()]))
    >>> lecam.penalty(d_real, d_fake)  # (2^2 + 4^2) / 2 + 3^2
    tensor(19.)
    """

    def __init__(self, decay: float = 0.99, device: torch.device | str = "cpu") -> None:
        check_that(0 <= decay < 1, "decay", decay, "a number in [0, 1)")
        self._decay = decay
        self._averages = torch.zeros(2, device=device)
        self._steps = torch.zeros((), device=device)

    @torch.no_grad()
    def update(self, means: Tensor) -> None:
        """
        Args:
            means: [2], of d over the real and over the generated rows.
        """
        decay = torch.clamp(self._steps / (self._steps + _SOON_FORGOTTEN), max=self._decay)
        self._averages.lerp_(means.to(self._averages.dtype), 1 - decay)
        self._steps += 1

    def penalty(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        """
        Args:
            d_real: [N], floating point.
            d_fake: [M].
        """
        check_floats(d_real=d_real, d_fake=d_fake)
        real, generated = self._averages.clone()  # which the next step writes to before backward may be done
        return (d_real - generated).square().mean() + (d_fake - real).square().mean()

    def state_dict(self) -> dict[str, Any]:
        """Tensors only."""
        return {"averages": self._averages, "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            TypeError: it is no such state.
        """
        if not (isinstance(state, Mapping) and state.keys() >= {"averages", "steps"}):
            raise TypeError(f"state is {shown(state)}, wanted that of state_dict(), with averages and steps")
        self._averages.copy_(state["averages"])
        self._steps.copy_(state["steps"])
