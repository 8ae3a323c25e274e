"""A last layer that compares embeddings with a proxy of every class, on the unit sphere."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from amgan_fast.precision import at_least_float32, without_autocast


class ProxyHead(nn.Module):
    """Features [N, F] -> [b | K cosines | embedding], [N, 1 + K + d]: a real/generated logit, the cosines of the row's
    embedding with one learned proxy for each class, and the embedding itself, of length 1.

    b and the embedding are linear in the features. Vectors are normalized and compared in float32 (float64 stays), also
    under autocast: bfloat16 has two numbers between a cosine of 0.99 and 1. Proxies start in uniform directions.
    Source: Kang et al., arXiv 2111.01118, section 3.

    Args:
        features: F.
        num_classes: K.
        embedding_size: d.

    >>> import torch
    >>> from amgan_fast.nn import ProxyHead
    >>> rows = ProxyHead(features=8, num_classes=3, embedding_size=4)(torch.randn(5, 8))
    >>> rows.shape
    torch.Size([5, 8])
    >>> rows[:, 4:].norm(dim=1).allclose(torch.ones(5))
    True
    """

    def __init__(self, features: int, num_classes: int, embedding_size: int) -> None:
        super().__init__()
        self.realness = nn.Linear(features, 1)
        self.embedding = nn.Linear(features, embedding_size)
        self.proxies = nn.Parameter(torch.empty(num_classes, embedding_size))
        nn.init.normal_(self.proxies)

    def forward(self, features: Tensor) -> Tensor:
        b, embedding = (at_least_float32(layer(features)) for layer in (self.realness, self.embedding))
        with without_autocast(features.device):
            embedding = normalize(embedding)
            cosines = embedding @ normalize(at_least_float32(self.proxies)).T
            return torch.cat([b, cosines, embedding], 1)

    def extra_repr(self) -> str:
        return "num_classes={}, embedding_size={}".format(*self.proxies.shape)
