"""Random streams: each purpose has its own, and it is the one that published figures were drawn from."""

import hashlib

import pytest
import torch

from amgan_fast.seeds import Purpose, derive_seed, random_stream

TEXTS = {
    Purpose.NETWORKS: "networks",
    Purpose.LAYERS_OF_PROCESS: "layers of process 3",
    Purpose.LAYERS_OF_RESUMED_PROCESS: "layers of process 3 of 4 from step 200",
    Purpose.LATENT: "latent",
    Purpose.REGULARIZATION: "regularization",
    Purpose.FIRST_BATCH: "first batch",
    Purpose.ORDER: "order",
    Purpose.UNLABELLED_ORDER: "unlabelled order",
    Purpose.LABELLED: "labelled",
    Purpose.AUGMENTATION: "augmentation",
    Purpose.SCORES_ON_THE_WAY: "scores on the way",
    Purpose.OWN_METRICS: "own metrics",
    Purpose.PICTURES: "pictures",
    Purpose.EVALUATION: "evaluation",
    Purpose.SHEETS: "sheets",
    Purpose.MS_SSIM: "ms-ssim",
}
NUMBERS = {
    Purpose.LAYERS_OF_PROCESS: {"rank": 3},
    Purpose.LAYERS_OF_RESUMED_PROCESS: {"rank": 3, "ranks": 4, "step": 200},
}


@pytest.mark.parametrize("purpose", Purpose, ids=lambda purpose: purpose.name.lower())
def test_a_purpose_draws_what_it_drew_in_published_runs(purpose):
    digest = hashlib.sha256(f"7/{TEXTS[purpose]}".encode()).hexdigest()
    assert derive_seed(7, purpose, **NUMBERS.get(purpose, {})) == int(digest[:16], 16) // 2


def test_seeds_differ_by_purpose():
    seeds = {derive_seed(seed, purpose) for seed in (0, 1) for purpose in (Purpose.LATENT, Purpose.ORDER)}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_purpose_with_numbers_wants_them():
    with pytest.raises(KeyError, match="rank"):
        derive_seed(0, Purpose.LAYERS_OF_PROCESS)


def test_a_stream_begins_at_the_seed_of_its_purpose():
    want = torch.Generator().manual_seed(derive_seed(5, Purpose.SHEETS))
    assert torch.equal(torch.rand(9, generator=random_stream(5, Purpose.SHEETS)), torch.rand(9, generator=want))
