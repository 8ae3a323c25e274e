"""What trains does so wherever it is called."""

from __future__ import annotations

import torch

with_gradients = torch.inference_mode(False)
"""A decorator: gradients are recorded inside, also where the caller has ``torch.no_grad`` or ``torch.inference_mode``
around it; behind it, all is as the caller has it."""
