"""Classifier guidance in the generator's step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from amgan_fast import ops
from amgan_fast.evaluate.classifiers.weights_digest import weights_sha256
from amgan_fast.nn import Classifier
from amgan_fast.objectives import CLASS_CROSS_ENTROPY, Objective
from amgan_fast.objectives.arguments import check_realness
from amgan_fast.objectives.terms import given_or_dynamic
from amgan_fast.runs import StepOptions


class ClassifierGuidance:
    """weight * mean(w CE(y, C(g))) of generated images g under a frozen classifier C (Sauer et al., "StyleGAN-XL",
    arXiv 2202.00273; Lin et al., "Adversarial Flow Models", arXiv 2511.22475).

    The label y is the one that g was asked for, or its dynamic one, the discriminator's likeliest class. The weight w
    of a row is 1, or with ``guidance_rows="realness"`` sigmoid(d), d the discriminator's real/generated logit.

    Args:
        options: ``guidance`` is above 0.
        classifier: is put into evaluation mode and frozen.

    Raises:
        ValueError: the objective has no real/generated logit that the weights of rows could be made of.
    """

    @staticmethod
    def of(options: StepOptions, objective: Objective, classifier: Classifier | None) -> ClassifierGuidance | None:
        """None: there is none to be.

        Raises:
            ValueError: there is, and no classifier; or as the class.
        """
        if not options.guidance:
            return None
        if classifier is None:
            raise ValueError(f"guidance is {options.guidance} and guide is None, wanted the classifier that it is by")
        return ClassifierGuidance(options, objective, classifier)

    def __init__(self, options: StepOptions, objective: Objective, classifier: Classifier) -> None:
        self._by_realness = options.guidance_rows == "realness"
        if self._by_realness:
            check_realness(objective, "guidance_rows is 'realness', wanted 'all'")
        self._coefficients = CLASS_CROSS_ENTROPY.weighted(options.guidance).coefficients
        self._objective = objective
        self._classifier = classifier.eval().requires_grad_(False)
        self._classify: Callable[[Tensor], Tensor] = torch.compile(classifier) if options.compile else classifier

    def needs_logits(self, labels: Tensor | None) -> bool:
        """Whether the discriminator has a say in it."""
        return labels is None or self._by_realness

    def __call__(self, images: Tensor, logits: Tensor | None, labels: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """``(loss, class_logits, gradient)``: the classifier's logits with their graph, and the gradient by them.

        Args:
            images: generated ones as they are, float [N, C, H, W] in [-1, 1].
            logits: of the discriminator, [N, outputs]; None where it :meth:`needs_logits` not.
            labels: [N], what the images were asked for; None: dynamic ones.

        Raises:
            ValueError: labels are dynamic, and the objective has no class outputs.
        """
        row_weight = None
        if logits is not None:
            if labels is None:
                labels = self._dynamic(logits)
            if self._by_realness:
                # A logit that is not finite shows in the model's own loss, and ends the run with the name of it.
                row_weight = self._objective.realness(logits.detach()).sigmoid().nan_to_num(1.0)
        class_logits = self._classify(images)
        loss, gradient = ops.kplus1_loss_and_grad(
            class_logits.detach(),
            labels,
            self._coefficients,
            fake="zero",  # all columns are classes: R is over them all
            fake_labels=False,
            row_weight=row_weight,
        )
        return loss, class_logits, gradient

    def _dynamic(self, logits: Tensor) -> Tensor:
        classes = self._objective.class_logits(logits, self._classifier.num_classes)
        if classes is None:
            raise ValueError(f"guidance has dynamic labels, wanted given ones: {self._objective.name} has no classes")
        return given_or_dynamic(None, classes)

    def state_dict(self) -> dict[str, Any]:
        """Which classifier it is. Its weights stay as they are, and need not be saved with every checkpoint."""
        return {"classifier": weights_sha256(self._classifier)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """
        Raises:
            ValueError: it was another classifier.
        """
        if state != self.state_dict():
            raise ValueError("guidance_classifier has other weights than when the run began, wanted the same ones")
