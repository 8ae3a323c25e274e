"""The contract between a model's losses and who trains with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from amgan_fast.objectives.arguments import check_floats, check_labels
from amgan_fast.objectives.gradients import loss_and_grad
from amgan_fast.objectives.terms import Pair, Term
from amgan_fast.option_checks import check_count


class Objective(ABC):
    """The losses of a model's two players, as functions of the discriminator's logits [N, outputs].

    *real_labels*, *fake_labels* and *labels* are [N], int64 or int32, values 0..K-1. ``fake_labels=None`` and
    ``labels=None`` leave the generated rows to their dynamic labels, the likeliest class without gradient through the
    choice, where the model has a target class at all. Losses are scalars, means over the batch in nats, float64 for
    float64 logits and float32 for all others. Each has a form that returns its gradients too, detached and in the dtype
    of the logits, to be fed to ``torch.autograd.backward``; by default that is autograd's.

    Errors: ``ValueError`` for logits or labels of a wrong shape, ``TypeError`` for what is no tensor and for a wrong
    dtype, ``IndexError`` for a label out of range (on CUDA a device-side assertion).

    >>> import torch
    >>> from amgan_fast.objectives import Objective
    >>> class Hinge(Objective):
    ...     name = "hinge"
    ...     def outputs(self, num_classes):
    ...         return 1
    ...     def discriminator_loss(self, real_logits, real_labels, fake_logits, fake_labels=None):
    ...         return (1 - real_logits).relu().mean() + (1 + fake_logits).relu().mean()
    ...     def generator_loss(self, fake_logits, labels=None):
    ...         return -fake_logits.mean()
    >>> loss, grad = Hinge().generator_loss_and_grad(torch.tensor([[0.5], [-2.0]]))
    >>> loss, grad.tolist()
    (tensor(0.7500), [[-0.5], [-0.5]])
    """

    name: ClassVar[str]
    has_target_class: ClassVar[bool] = False
    """Whether the generator's loss has a target class, so that dynamic or given labels make a difference to it."""
    needs_unlabelled: ClassVar[bool] = False
    """Whether the discriminator sees only in :meth:`unlabelled_loss` what is real: train with both losses, on a data
    set without unlabelled samples with the labelled ones in both."""
    needs_pairs: ClassVar[bool] = False
    """Whether row i of the generated batch is compared with row i of the real one: both have as many rows, and the
    generator is trained with :meth:`paired_generator_loss` instead of :meth:`generator_loss`."""

    @property
    def has_unlabelled_loss(self) -> bool:
        """Whether there is an :meth:`unlabelled_loss`."""
        return False

    @property
    def needs_features(self) -> bool:
        """Whether the generator is trained on features of the discriminator, with
        :func:`amgan_fast.objectives.feature_matching`, instead of on logits with :meth:`generator_loss`."""
        return False

    @property
    def has_realness(self) -> bool:
        """Whether there is a :meth:`realness`."""
        return False

    @abstractmethod
    def outputs(self, num_classes: int) -> int:
        """The number of columns that the discriminator's logits have, of ``num_classes`` at least 1."""

    def build_head(self, features: int, num_classes: int) -> nn.Module:
        """The last layer of a discriminator, from features [N, ``features``] to the logits.

        >>> from amgan_fast.objectives import AMGAN
        >>> AMGAN().build_head(features=256, num_classes=10)
        Linear(in_features=256, out_features=11, bias=True)
        """
        return nn.Linear(features, self.outputs(num_classes))

    def class_logits(self, logits: Tensor, num_classes: int) -> Tensor | None:
        """The logits of the K real classes, [N, K], a view; None where the model has none."""
        return None

    @property
    def has_class_logits(self) -> bool:
        """Whether there are :meth:`class_logits`."""
        return False

    def realness(self, logits: Tensor) -> Tensor:
        """The real/generated logit d of every row, [N], with derivatives of any order: the larger, the more real.
        Penalties on the discriminator are penalties on d.

        It is b where the discriminator has one, of K+1 classes log D_r - log D_{K+1} = R - l_f, of ECGAN and of
        relativistic AM-GAN their logit d with the dynamic label, and of Omni-GAN the logit of "real" without that of
        "generated".

        Raises:
            ValueError: the model has no such logit.

        >>> import torch
        >>> from amgan_fast.objectives import ACGAN, AMGAN
        >>> AMGAN().realness(torch.tensor([[0.0, 0.0, 1.0]])).item()  # log 2 - 1
        -0.3068528175354004
        >>> ACGAN().realness(torch.tensor([[0.5, 0.0, 0.0]]))
        tensor([0.5000])
        """
        raise ValueError(f"{self.name} has no real/generated logit, wanted a model with has_realness")

    @abstractmethod
    def discriminator_loss(
        self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor, fake_labels: Tensor | None = None
    ) -> Tensor:
        """The discriminator's loss on a batch of real and one of generated rows, which may differ in size."""

    @abstractmethod
    def generator_loss(self, fake_logits: Tensor, labels: Tensor | None = None) -> Tensor:
        """The generator's loss on a batch of generated rows."""

    def paired_generator_loss(
        self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor, fake_labels: Tensor | None = None
    ) -> Tensor:
        """The generator's loss on a batch of generated rows, each beside a real one.

        Raises:
            ValueError: the model has no such loss.
        """
        raise ValueError(f"{self.name} has no loss of pairs, wanted a model with needs_pairs")

    def unlabelled_loss(self, unlabelled_logits: Tensor) -> Tensor:
        """What a batch of real rows without labels adds to the discriminator's loss.

        Raises:
            ValueError: the model has no such loss.
        """
        raise ValueError(f"{self.name} has no loss of unlabelled samples, wanted a model with has_unlabelled_loss")

    def discriminator_loss_and_grad(
        self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor, fake_labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``(loss, grad_real, grad_fake)``, detached."""
        check_floats(real_logits=real_logits, fake_logits=fake_logits)
        check_labels(real_labels=real_labels, fake_labels=fake_labels)
        loss, grad_real, grad_fake = loss_and_grad(
            lambda real, generated: self.discriminator_loss(real, real_labels, generated, fake_labels),
            real_logits,
            fake_logits,
        )
        return loss, grad_real, grad_fake

    def generator_loss_and_grad(self, fake_logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(loss, grad)``, detached."""
        check_floats(fake_logits=fake_logits)
        check_labels(labels=labels)
        loss, grad = loss_and_grad(lambda generated: self.generator_loss(generated, labels), fake_logits)
        return loss, grad

    def paired_generator_loss_and_grad(
        self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor, fake_labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """``(loss, grad_fake)``, detached."""
        check_floats(real_logits=real_logits, fake_logits=fake_logits)
        check_labels(real_labels=real_labels, fake_labels=fake_labels)
        loss, grad = loss_and_grad(
            lambda generated: self.paired_generator_loss(real_logits.detach(), real_labels, generated, fake_labels),
            fake_logits,
        )
        return loss, grad

    def unlabelled_loss_and_grad(self, unlabelled_logits: Tensor) -> tuple[Tensor, Tensor]:
        """``(loss, grad)``, detached."""
        check_floats(unlabelled_logits=unlabelled_logits)
        loss, grad = loss_and_grad(self.unlabelled_loss, unlabelled_logits)
        return loss, grad


class TermObjective(Objective):
    """A model that says once, for both forms of its losses, of which :mod:`.terms` they consist."""

    discriminator_term: Pair
    generator_term: Term | None
    """None: the generator is trained on features, or on pairs."""
    paired_generator_term: Pair | None
    unlabelled_term: Term | None
    _columns_per_class: ClassVar[int] = 1
    _first_class_column: ClassVar[int] = 0

    def __post_init__(self) -> None:
        """Called by the dataclasses that the models are, once their options are checked."""
        terms = {
            "discriminator_term": self._discriminator(),
            "generator_term": self._generator(),
            "paired_generator_term": self._paired_generator(),
            "unlabelled_term": self._unlabelled(),
        }
        for name, term in terms.items():
            object.__setattr__(self, name, term)  # the dataclasses are frozen

    @abstractmethod
    def _discriminator(self) -> Pair: ...

    @abstractmethod
    def _generator(self) -> Term | None: ...

    def _paired_generator(self) -> Pair | None:
        return None

    def _unlabelled(self) -> Term | None:
        return None

    def outputs(self, num_classes: int) -> int:
        check_count("num_classes", num_classes)
        return self._other_columns + num_classes * self._columns_per_class

    @property
    def _other_columns(self) -> int:
        """How many columns of the logits are not those of the classes."""
        return 1

    def _class_columns(self, num_classes: int) -> slice:
        """Those of the real classes."""
        return slice(self._first_class_column, self._first_class_column + num_classes)

    @property
    def has_unlabelled_loss(self) -> bool:
        return self.unlabelled_term is not None

    @property
    def needs_features(self) -> bool:
        return self.generator_term is None and not self.needs_pairs

    @property
    def has_class_logits(self) -> bool:
        return self._columns_per_class > 0

    def class_logits(self, logits: Tensor, num_classes: int) -> Tensor | None:
        if not self.has_class_logits:
            return None
        check_floats(logits=logits)
        outputs = self.outputs(num_classes)
        if logits.ndim != 2 or logits.size(1) != outputs:
            raise ValueError(
                f"logits are {list(logits.shape)}, wanted [N, {outputs}] of {self.name} with {num_classes} classes"
            )
        return logits[:, self._class_columns(num_classes)]

    def discriminator_loss(
        self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor, fake_labels: Tensor | None = None
    ) -> Tensor:
        self._check_logits(real_logits=real_logits, fake_logits=fake_logits)
        check_labels(real_labels=real_labels, fake_labels=fake_labels)
        return self.discriminator_term(real_logits, real_labels, fake_logits, fake_labels)

    def discriminator_loss_and_grad(
        self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor, fake_labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        self._check_logits(real_logits=real_logits, fake_logits=fake_logits)
        check_labels(real_labels=real_labels, fake_labels=fake_labels)
        return self.discriminator_term.and_grad(real_logits, real_labels, fake_logits, fake_labels)

    def generator_loss(self, fake_logits: Tensor, labels: Tensor | None = None) -> Tensor:
        self._check_logits(fake_logits=fake_logits)
        check_labels(labels=labels)
        return self._generator_of_logits()(fake_logits, labels)

    def generator_loss_and_grad(self, fake_logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._check_logits(fake_logits=fake_logits)
        check_labels(labels=labels)
        return self._generator_of_logits().and_grad(fake_logits, labels)

    def paired_generator_loss(
        self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor, fake_labels: Tensor | None = None
    ) -> Tensor:
        if self.paired_generator_term is None:
            return super().paired_generator_loss(real_logits, real_labels, fake_logits, fake_labels)
        self._check_logits(real_logits=real_logits, fake_logits=fake_logits)
        check_labels(real_labels=real_labels, fake_labels=fake_labels)
        return self.paired_generator_term(real_logits, real_labels, fake_logits, fake_labels)

    def paired_generator_loss_and_grad(
        self, real_logits: Tensor, real_labels: Tensor, fake_logits: Tensor, fake_labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if self.paired_generator_term is None:
            return super().paired_generator_loss_and_grad(real_logits, real_labels, fake_logits, fake_labels)
        self._check_logits(real_logits=real_logits, fake_logits=fake_logits)
        check_labels(real_labels=real_labels, fake_labels=fake_labels)
        loss, _, grad = self.paired_generator_term.and_grad(real_logits, real_labels, fake_logits, fake_labels)
        return loss, grad

    def unlabelled_loss(self, unlabelled_logits: Tensor) -> Tensor:
        if self.unlabelled_term is None:
            return super().unlabelled_loss(unlabelled_logits)
        self._check_logits(unlabelled_logits=unlabelled_logits)
        return self.unlabelled_term(unlabelled_logits)

    def unlabelled_loss_and_grad(self, unlabelled_logits: Tensor) -> tuple[Tensor, Tensor]:
        if self.unlabelled_term is None:
            return super().unlabelled_loss_and_grad(unlabelled_logits)
        self._check_logits(unlabelled_logits=unlabelled_logits)
        return self.unlabelled_term.and_grad(unlabelled_logits)

    def _check_logits(self, **logits: Tensor) -> None:
        check_floats(**logits)
        each = self._columns_per_class
        for name, x in logits.items():
            of_classes = x.size(1) - self._other_columns if x.ndim == 2 else -1
            if not (of_classes >= each and of_classes % each == 0 if each else of_classes == 0):
                of_classes_wanted = ("", " + num_classes", " + 2 * num_classes")[each]
                wanted = f"[N, {self._other_columns}{of_classes_wanted}]"
                raise ValueError(f"{name} are {list(x.shape)}, wanted {wanted} of {self.name}")

    def _generator_of_logits(self) -> Term:
        if self.generator_term is not None:
            return self.generator_term
        if self.needs_pairs:
            raise ValueError(
                f"{self.name}'s generator has no loss of generated rows alone, wanted paired_generator_loss"
            )
        raise ValueError(
            f"{self.name}'s generator has no loss of logits, wanted feature_matching(real_features, fake_features)"
        )
