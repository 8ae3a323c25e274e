"""All that takes a GPU, in one report: ``python -m tools.gpu_check``."""
