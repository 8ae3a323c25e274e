"""A run's generator to a file that leaves the run."""

from __future__ import annotations

import io
import json
from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor, nn

from amgan_fast.errors import InputError, in_one_line
from amgan_fast.files import check_writable, contents_of, whole_file
from amgan_fast.nn import Sampler, with_plain_layers
from amgan_fast.runs.checkpoint import Checkpoint
from amgan_fast.runs.config import Config
from amgan_fast.runs.generator_file import GeneratorFile
from amgan_fast.runs.sampler import find_checkpoint

FORMS = (".safetensors", ".pt2")


def export_generator(path: Path, out: Path, *, allow_code: Collection[str] = ()) -> None:
    """Write the averaged generator of a run to a file.

    - ``.safetensors``: what :func:`amgan_fast.load_generator` takes, the same generator to the bit
      (:class:`GeneratorFile`).
    - ``.pt2``: a program of :func:`torch.export.export`, which PyTorch runs without this package: (z, float32
      [N, latent_size]) -> images, float32 [N, C, H, W] in [-1, 1]; with predefined labels (z, labels, int64 [N]); any
      N. Its layers are PyTorch's own, so last digits may differ. Beside it in the archive is ``generator.json``, the
      fields of :class:`GeneratorFile`.

    Args:
        path: the run, or one of its checkpoints.
        out: a new file, whose suffix says which.
        allow_code: modules that the run may name code of: an own generator. A .safetensors file names it, too, and
            wants it where it is loaded; a .pt2 file has what it does, where torch can export that.

    Raises:
        InputError: ``path`` is no run, or ``out`` is there, cannot be written or has another suffix; or the generator
            cannot be exported.

    >>> from pathlib import Path
    >>> import amgan_fast
    >>> from amgan_fast.runs import export_generator
    >>> export_generator(Path("runs/digits"), Path("generator.safetensors"))
    >>> amgan_fast.load_generator("generator.safetensors").latent.size
    32
    """
    if out.suffix not in FORMS or out.exists():
        found = f"--out is {out}{', which exists' * out.exists()}"
        raise InputError(f"{found}, wanted a new name that ends in {' or '.join(FORMS)}")
    check_writable("--out", out)
    run, path = find_checkpoint(path)
    config, checkpoint = Config.load(run.config, allow_code=allow_code), Checkpoint.load(path)
    with contents_of(path):
        exported = GeneratorFile.of(config, checkpoint)
        sampler = exported.sampler()
    if out.suffix == FORMS[0]:
        exported.save(out)
    else:
        _save_program(out, sampler, exported)


class _Program(nn.Module):
    """A generator as others call it."""

    classes: Tensor

    def __init__(self, sampler: Sampler) -> None:
        super().__init__()
        self.generator = with_plain_layers(sampler.generator)
        self.register_buffer("classes", torch.eye(sampler.latent.num_labels or 0))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.generator(z if labels is None else torch.cat([z, self.classes[labels]], 1))


def _save_program(out: Path, sampler: Sampler, exported: GeneratorFile) -> None:
    latent, network = sampler.latent, _Program(sampler).eval().requires_grad_(False)
    fewest = 2 if _takes_statistics(network) else 1
    rows = torch.export.Dim("rows", min=fewest)
    inputs: tuple[Tensor, ...] = (torch.zeros(3, latent.size),)
    if latent.num_labels is not None:
        inputs += (torch.zeros(3, dtype=torch.int64),)
    try:
        with torch.no_grad():
            program = torch.export.export(network, inputs, dynamic_shapes=tuple({0: rows} for _ in inputs))
    except Exception as error:  # of a network's own code, of any kind
        raise InputError(f"the generator cannot be exported ({in_one_line(error)}), wanted .safetensors") from error
    if ours := sorted({str(node.target) for node in program.graph.nodes if "amgan_fast" in str(node.target)}):
        raise InputError(f"the generator has {ours[0]}, which PyTorch alone does not; wanted .safetensors")
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # where sources lie on this machine
    file = io.BytesIO()  # the archive would have the temporary name in it
    torch.export.save(program, file, extra_files={"generator.json": json.dumps(exported.description(), indent=2)})
    try:
        with whole_file(out) as temporary:
            temporary.write_bytes(file.getvalue())
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}), wanted a place for --out") from None


def _takes_statistics(network: nn.Module) -> bool:
    """Whether a sample depends on those it is made with, which there have to be then."""
    return any(getattr(layer, "running_mean", layer) is None for layer in network.modules())
