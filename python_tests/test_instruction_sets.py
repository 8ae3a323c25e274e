"""The kernels of every instruction set that this CPU runs: the choice is made when a process starts, so each of them
gets a process of its own, with all losses at a few shapes and the tests of what vector code gets wrong. The set in use
here has no need of those: it is the one that they run with in their own files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import amgan_fast

HERE = Path(__file__).parent
ORDER = ("DEFAULT", "AVX2", "AVX512")
TESTS = (
    "test_kplus1.py::test_dynamic_label_is_the_lowest_index_of_the_maximum",
    "test_kplus1.py::test_infinitely_negative_logits",
    "test_kplus1.py::test_nan_stays_in_its_row",
    "test_kplus1.py::test_tiny_losses_and_gradients_are_relatively_accurate",
    "test_entropy.py::test_extremes_in_closed_form",
    "test_entropy.py::test_nan_stays_in_its_row",
    "test_hinge.py",
    "test_scores.py::test_sums_equal_reference",
    "test_scores.py::test_one_hot_rows_and_gaps_of_1e4",
    "test_scores.py::test_a_row_that_is_not_finite_spoils_its_block_alone",
    "test_scores.py::test_probabilities_equal_scipy",
    "test_leaky_dropout.py::test_the_mask_is_that_of_philox",
    "test_leaky_dropout.py::test_forward_and_backward_are_of_the_state_that_forward_returns",
    "test_leaky_dropout.py::test_kept_elements_are_leaky_relu_and_dropped_ones_0",
    "test_leaky_dropout.py::test_the_smallest_numbers_keep_their_side",
    "test_leaky_dropout.py::test_any_layout",
    "test_batch_norm.py::test_values_and_gradients_are_those_of_float64",
    "test_batch_norm.py::test_a_constant_channel_has_variance_0",
    "test_batch_norm.py::test_a_first_row_far_off_costs_no_digits",
    "test_accuracy.py::test_each_row",
    "test_accuracy.py::test_sums_over_many_rows",
    "test_accuracy.py::test_mean_over_many_rows",
    "test_accuracy.py::test_relative_error_of_a_probability",
    "test_accuracy.py::test_exponentials_beyond_the_range_are_zero",
    "test_accuracy.py::test_true_class_gradient_of_a_confident_row_in_half_precision",
    "test_accuracy.py::test_the_float64_exponential_has_no_bias",
    "test_second_derivatives.py::test_every_reduction",
    "test_second_derivatives.py::test_nearly_certain_rows_are_relatively_accurate",
    "test_second_derivatives.py::test_an_impossible_class_has_no_part",
    "test_second_derivatives.py::test_what_is_not_finite_stays_in_its_row",
    "test_non_finite.py::test_it_shows_in_every_result_of_its_row",
    "test_non_finite.py::test_it_shows_whatever_the_coefficients_and_the_labels",
    "test_non_finite.py::test_it_shows_in_the_sums_of_its_block",
    "test_non_finite.py::test_minus_infinity_gives_what_the_formulas_give",
)

CHECK = """
import sys
import pytest
import torch
import amgan_fast
torch.set_num_threads(1)
capability = amgan_fast.build_info()["cpu_capability"]
assert capability == sys.argv[1], f"running {capability}"

from checking import check_loss
from sample_inputs import DTYPES, LOSSES, Sampler

for case in LOSSES:
    for dtype in DTYPES:
        for classes, rows in ((1, 3), (2, 5), (10, 63), (17, 257), (64, 9), (65, 9), (1001, 5)):
            for fake in case.fake_modes():
                check_loss(case, Sampler(rows, classes, fake, dtype), "none")
                check_loss(case, Sampler(rows, classes, fake, dtype), "mean")
if sys.argv[2:]:
    sys.exit(pytest.main([*sys.argv[2:], "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-m", "not cuda"]))
"""


def start(capability: str | None, *command: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if k != "ATEN_CPU_CAPABILITY"}
    if capability is not None:
        environment["ATEN_CPU_CAPABILITY"] = capability.lower()
    package = str(Path(amgan_fast.__file__).parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE), package, environment.get("PYTHONPATH", "")])
    # Not from the checkout's root, whose amgan_fast may lack the compiled module.
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=HERE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(capability: str | None, *command: str) -> subprocess.CompletedProcess[str]:
    process = start(capability, *command)
    output, errors = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


@pytest.fixture(scope="module")
def best() -> str:
    """The set chosen when nothing overrides it."""
    result = run(None, "-c", "import amgan_fast; print(amgan_fast.build_info()['cpu_capability'])")
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.fixture(scope="module")
def processes(best: str) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """One for every set that was built and that the CPU runs, all started at once."""
    built = [name for name in ORDER if name in amgan_fast.build_info()["cpu_builds"]]
    in_use = amgan_fast.build_info()["cpu_capability"]
    tests = [str(HERE / test) for test in TESTS]
    runnable = built[: built.index(best) + 1]
    started = {name: start(name, "-c", CHECK, name, *(tests if name != in_use else [])) for name in runnable}
    yield started
    for process in started.values():
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@pytest.mark.parametrize("capability", ORDER)
def test_kernels_are_correct_with(capability, processes, best):
    if capability not in amgan_fast.build_info()["cpu_builds"]:
        pytest.skip(f"no kernels for {capability} on this architecture")
    if capability not in processes:
        pytest.skip(f"the CPU does not run {capability}, only {best}")
    output, errors = processes[capability].communicate()
    assert processes[capability].returncode == 0, f"{output[-6000:]}\n{errors[-3000:]}"
    assert " passed" in output or capability == amgan_fast.build_info()["cpu_capability"]
