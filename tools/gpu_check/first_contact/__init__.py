"""What is measured first on a GPU that has met none of this: ``python -m tools.gpu_check.first_contact PART``."""
