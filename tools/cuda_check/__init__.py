"""What the compiler makes of the CUDA kernels, for every architecture: ``python -m tools.cuda_check``."""
