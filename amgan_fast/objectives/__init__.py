"""What each model minimises, as objects that turn logits into losses.

Use with your own networks (``D`` has ``objective.outputs(num_classes)`` outputs)::

    objective = objectives.AMGAN()
    objective.discriminator_loss(D(x), y, D(G(z).detach())).backward()
    objective.generator_loss(D(G(z))).backward()

| model | discriminator's logits | sources |
|---|---|---|
| :class:`GAN` | b, real or generated | [GAN] |
| :class:`GANStar` | b, and the K classes behind it | [AM] |
| :class:`CatGAN` | the K classes | [CAT] |
| :class:`LabelGAN` | the K classes, and the generated one | [AM] eq. 2 and 5 |
| :class:`ACGAN` | b, and the K classes behind it | [AC] |
| :class:`ACGANStar` | b, and the K classes behind it | [AM] |
| :class:`ACGANStarPlus` | b, and the K classes behind it | [AM] section 5.3 |
| :class:`AMGAN` | the K classes, and the generated one | [AM] eq. 14 and 15 |
| :class:`ImprovedGAN` | the K classes, and the generated one | [IG] |
| :class:`RelativisticAMGAN` | the K classes, and the generated one | [RP], [R3] on [AM]'s classes |
| :class:`RpGAN` | the K classes, and the generated one | [RP], [R3] |
| :class:`ADCGAN` | b, and two logits of each of K classes | [ADC] |
| :class:`TACGAN` | b, and K classes of each of two heads | [TAC] |
| :class:`ECGAN` | the K classes | [EC] |
| :class:`OmniGAN` | the K classes, real, generated | [OMNI] |
| :class:`MultiHinge` | the K classes, and the generated one | [MH] |
| :class:`ReACGAN` | b, K cosines, and an embedding | [RE] |

What they are made of, members of the family of row losses, is named here too, as :class:`RowLoss` constants and
functions. :func:`feature_matching` and :class:`HistoricalAveraging` go with any model,
:func:`gradient_penalty`, :func:`finite_difference_penalty` and :class:`LeCam` with one that has an
:meth:`Objective.realness`.

Sources: Zhou et al., "Activation Maximization Generative Adversarial Nets", ICLR 2018, arXiv 1703.02000 [AM], and
the authors' published code [REP]; Zhou, Zhang, Wang, "Inception Score, Label Smoothing, Gradient Vanishing and the
-log(D(x)) Alternative", 2017 [LS]; Goodfellow et al., "Generative Adversarial Networks", arXiv 1406.2661 [GAN];
Salimans et al., "Improved Techniques for Training GANs", arXiv 1606.03498 [IG]; Odena et al., "Conditional Image
Synthesis with Auxiliary Classifier GANs", arXiv 1610.09585 [AC]; Springenberg, "Unsupervised and Semi-supervised
Learning with Categorical Generative Adversarial Networks", arXiv 1511.06390 [CAT]; Jolicoeur-Martineau, "The
relativistic discriminator: a key element missing from standard GAN", arXiv 1807.00734 [RP]; Huang et al., "The GAN is
dead; long live the GAN! A Modern Baseline GAN", arXiv 2501.05441 [R3]; Hou et al., "Conditional GANs with Auxiliary
Discriminative Classifier", arXiv 2107.10060 [ADC]; Gong et al., "Twin Auxiliary Classifiers GAN", arXiv 1907.02690
[TAC]; Chen et al., "A Unified View of cGANs with and without Classifiers", arXiv 2111.01035 [EC]; Zhou et al.,
"Omni-GAN: On the Secrets of cGANs and Beyond", arXiv 2011.13074 [OMNI]; Kavalerov, Czaja, Chellappa,
"cGANs with Multi-Hinge Loss", arXiv 1912.04216 [MH]; Kang et al., "Rebooting ACGAN: Auxiliary Classifier GANs with
Stable Training", arXiv 2111.01118 [RE]; Dai et al., "Good Semi-supervised Learning that
Requires a Bad GAN", arXiv 1705.09783 [BAD].
"""

from amgan_fast.objectives.base import Objective
from amgan_fast.objectives.binary import ACGAN, GAN, ACGANStar, ACGANStarPlus, GANStar
from amgan_fast.objectives.catgan import CatGAN
from amgan_fast.objectives.ecgan import ECGAN
from amgan_fast.objectives.gradient_penalties import finite_difference_penalty, gradient_penalty
from amgan_fast.objectives.kplus1 import AMGAN, ImprovedGAN, LabelGAN
from amgan_fast.objectives.lecam import LeCam
from amgan_fast.objectives.losses import (
    CLASS_CROSS_ENTROPY,
    CLASS_CROSS_ENTROPY_TO_UNIFORM,
    CLASS_LOG_ODDS,
    REAL_LOG_ODDS,
    Coefficients,
    RowLoss,
    binary_cross_entropy,
    class_cross_entropy,
    generated_row,
    non_saturating_generator,
    real_row,
    saturating_generator,
)
from amgan_fast.objectives.multi_hinge import MultiHinge
from amgan_fast.objectives.omnigan import OmniGAN
from amgan_fast.objectives.own import own_objective
from amgan_fast.objectives.reacgan import ReACGAN
from amgan_fast.objectives.relativistic import RelativisticAMGAN, RpGAN
from amgan_fast.objectives.techniques import HistoricalAveraging, feature_matching, feature_matching_and_grad
from amgan_fast.objectives.two_classifiers import ADCGAN, TACGAN

MODELS: dict[str, type[Objective]] = {
    model.name: model
    for model in (
        GAN,
        GANStar,
        CatGAN,
        LabelGAN,
        ACGAN,
        ACGANStar,
        ACGANStarPlus,
        AMGAN,
        ImprovedGAN,
        RelativisticAMGAN,
        RpGAN,
        ADCGAN,
        TACGAN,
        ECGAN,
        OmniGAN,
        MultiHinge,
        ReACGAN,
    )
}
"""Models by the name that ``amgan-fast train --model`` takes.

>>> from amgan_fast.objectives import MODELS
>>> MODELS["acgan"](auxiliary_weight=0.1).outputs(num_classes=10)
11
"""

__all__ = [
    "ACGAN",
    "ADCGAN",
    "AMGAN",
    "CLASS_CROSS_ENTROPY",
    "CLASS_CROSS_ENTROPY_TO_UNIFORM",
    "CLASS_LOG_ODDS",
    "ECGAN",
    "GAN",
    "MODELS",
    "REAL_LOG_ODDS",
    "TACGAN",
    "ACGANStar",
    "ACGANStarPlus",
    "CatGAN",
    "Coefficients",
    "GANStar",
    "HistoricalAveraging",
    "ImprovedGAN",
    "LabelGAN",
    "LeCam",
    "MultiHinge",
    "Objective",
    "OmniGAN",
    "ReACGAN",
    "RelativisticAMGAN",
    "RowLoss",
    "RpGAN",
    "binary_cross_entropy",
    "class_cross_entropy",
    "feature_matching",
    "feature_matching_and_grad",
    "finite_difference_penalty",
    "generated_row",
    "gradient_penalty",
    "non_saturating_generator",
    "own_objective",
    "real_row",
    "saturating_generator",
]
