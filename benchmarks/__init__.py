"""What times and errors are measured with; run from the root of the checkout as ``python -m benchmarks.NAME``."""
