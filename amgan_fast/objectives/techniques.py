"""Techniques of [IG] that go with any objective: feature matching and historical averaging.

(The others are options of the objectives, label smoothing, or layers, :mod:`amgan_fast.nn`.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from amgan_fast.errors import found, shown
from amgan_fast.objectives.arguments import check_floats
from amgan_fast.objectives.gradients import loss_and_grad
from amgan_fast.option_checks import check_not_negative


def feature_matching(real_features: Tensor, fake_features: Tensor) -> Tensor:
    """||E f(x) - E f(g)||^2, of means over the batch, not of pairs of samples ([IG] section 3.1): the generator's loss.

    f is to be one function of an image: take the features of both with the discriminator in evaluation mode. Batch norm
    in training mode makes the means of two batches equal, each by itself, and the generator then learns nothing.

    Args:
        real_features: [N, ...], the discriminator's features of real samples, of any floating dtype; half precision is
            computed in float32.
        fake_features: [M, ...], of generated ones; M may differ from N.

    Raises:
        TypeError: what is no tensor, or of no floating dtype.
        ValueError: features of different shapes behind the first dimension.

    >>> import torch
    >>> from amgan_fast.objectives import feature_matching
    >>> feature_matching(torch.tensor([[0.0, 2.0], [2.0, 2.0]]), torch.tensor([[1.0, 5.0]]))  # means [1, 2] and [1, 5]
    tensor(9.)
    """
    check_floats(real_features=real_features, fake_features=fake_features)
    if real_features.ndim < 2 or real_features.shape[1:] != fake_features.shape[1:]:
        raise ValueError(
            f"real_features are {list(real_features.shape)} and fake_features {list(fake_features.shape)}, "
            "wanted [N, ...] and [M, ...] of the same shape behind the first dimension"
        )
    return (_batch_mean(real_features) - _batch_mean(fake_features)).square().sum()


def feature_matching_and_grad(real_features: Tensor, fake_features: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`feature_matching` and its gradient by ``fake_features``, ``(loss, grad)``, detached.

    >>> import torch
    >>> from amgan_fast.objectives import feature_matching_and_grad
    >>> feature_matching_and_grad(torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 5.0]]))
    (tensor(10.), tensor([[2., 6.]]))
    """
    check_floats(real_features=real_features, fake_features=fake_features)
    loss, grad = loss_and_grad(lambda generated: feature_matching(real_features.detach(), generated), fake_features)
    return loss, grad


class HistoricalAveraging:
    """The penalty weight * ||theta - mean of past theta||^2 on a player's parameters ([IG] section 3.3).

    In every training step, between ``backward`` and the optimizer's step::

        averaging.add_gradients()

    which compares the parameters with the mean of their values in all steps before (in the first there are none, and
    the penalty is 0) and then counts them in. The memory is one copy of the parameters, of half precision in float32;
    nothing waits for the device, and every step but the first can be captured in a CUDA graph.

    Args:
        parameters: tensors on one device, of any floating dtypes; those without a gradient get one.
        weight: finite and not negative.

    >>> import torch
    >>> from amgan_fast.objectives import HistoricalAveraging
    >>> theta = torch.zeros(1, requires_grad=True)
    >>> averaging = HistoricalAveraging([theta], weight=0.5)
    >>> averaging.add_gradients()  # counts theta = 0 in
    >>> with torch.no_grad():
    ...     theta += 3
    >>> averaging.penalty()  # 0.5 * (3 - 0)^2
    tensor(4.5000, dtype=torch.float64)
    >>> averaging.add_gradients()
    >>> theta.grad
    tensor([3.])
    """

    def __init__(self, parameters: Iterable[Tensor], weight: float = 1.0) -> None:
        check_not_negative("weight", weight)
        if isinstance(parameters, Tensor | str) or not isinstance(parameters, Iterable):
            raise TypeError(f"parameters is {found(parameters)}, wanted several tensors, as module.parameters()")
        self._parameters = list(parameters)
        for i, parameter in enumerate(self._parameters):
            check_floats(**{f"parameters[{i}]": parameter})
        if not self._parameters:
            raise ValueError("parameters is empty, wanted at least one tensor")
        self._weight = weight
        self._means = [torch.zeros_like(p, dtype=torch.promote_types(p.dtype, torch.float32)) for p in self._parameters]
        self._steps = torch.zeros((), dtype=torch.float64, device=self._parameters[0].device)
        self._started = False

    @torch.no_grad()
    def penalty(self) -> Tensor:
        """What the next :meth:`add_gradients` adds the gradient of: a scalar, detached."""
        squares = torch.stack([norm.double().square() for norm in torch._foreach_norm(self._differences())])
        return self._weight * squares.sum()

    @torch.no_grad()
    def add_gradients(self) -> None:
        """Add 2 * weight * (theta - mean) to the gradients, then theta to the mean."""
        differences = self._differences()
        torch._foreach_add_([_gradient(p) for p in self._parameters], differences, alpha=2 * self._weight)
        if not self._started:
            torch._foreach_copy_(self._means, self._parameters)
            self._started = True
        self._steps += 1
        torch._foreach_mul_(differences, self._steps.reciprocal().to(differences[0].dtype))
        torch._foreach_add_(self._means, differences)

    def state_dict(self) -> dict[str, Any]:
        """Tensors only: the number of steps, and the means in the order of the parameters."""
        return {"steps": self._steps, "means": self._means}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            TypeError: it is no such state.
            ValueError: it is that of other parameters.
        """
        if not (isinstance(state, Mapping) and state.keys() >= {"steps", "means"}):
            raise TypeError(f"state is {shown(state)}, wanted that of state_dict(), with steps and means")
        if not isinstance(state["means"], list | tuple):
            raise TypeError(f"means is {found(state['means'])}, wanted a list of tensors")
        check_floats(steps=state["steps"], **{f"means[{i}]": x for i, x in enumerate(state["means"])})
        shapes, wanted = ([list(x.shape) for x in means] for means in (state["means"], self._means))
        if shapes != wanted:
            raise ValueError(f"state has means of shapes {shapes}, wanted those of the parameters, {wanted}")
        torch._foreach_copy_(self._means, list(state["means"]))
        self._steps.copy_(state["steps"])
        self._started = bool(self._steps > 0)

    def _differences(self) -> list[Tensor]:
        """theta - mean; in the first step, 0."""
        return list(torch._foreach_sub(self._parameters, self._means if self._started else self._parameters))


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _batch_mean(features: Tensor) -> Tensor:
    return features.mean(0, dtype=torch.promote_types(features.dtype, torch.float32))
