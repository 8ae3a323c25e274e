"""``amgan-fast evaluate``"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from amgan_fast.cli.common import DataDir, Device, complain, errors_in_one_line
from amgan_fast.cli.output import PRINTED, Json, check_json, put_json, standard_output_for_results

_SOURCE, _CLASSIFIER, _REAL, _SCORES, _OUTPUT = "What to score", "The classifier", "Real data", "Scores", "Output"


def evaluate(
    run: Annotated[
        Path | None, typer.Option(help="the folder of a training run: its generator", rich_help_panel=_SOURCE)
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="a folder of images, flat or one subfolder a class", rich_help_panel=_SOURCE)
    ] = None,
    npz: Annotated[
        Path | None,
        typer.Option(
            help="uint8 [N, H, W, C] as arr_0, images or x, labels as arr_1, labels or y", rich_help_panel=_SOURCE
        ),
    ] = None,
    logits: Annotated[
        Path | None, typer.Option(help="a .npy [N, K], read as it is needed", rich_help_panel=_SOURCE)
    ] = None,
    probabilities: Annotated[
        Path | None,
        typer.Option(
            help="a .npy [N, K] of rows that sum to 1 (to 0.01), instead of logits; in --reference and --held-out too",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="classes: a .npy [N] in the order of --logits, --probabilities, --npz or the sorted names of a flat "
            "--images, or for these a .csv of lines file,label",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="how many to generate, with --run [default: 50,000]", rich_help_panel=_SOURCE),
    ] = None,
    skip_unreadable: Annotated[
        bool, typer.Option(help="leave out images that cannot be read, or are of another size", rich_help_panel=_SOURCE)
    ] = False,
    allow_empty: Annotated[
        bool, typer.Option(help="take a class folder without images for a class of none", rich_help_panel=_SOURCE)
    ] = False,
    classifier: Annotated[
        str | None,
        typer.Option(
            help="a file of train-classifier, module:function, or inception-v3; default: the run's own",
            rich_help_panel=_CLASSIFIER,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="torchvision's weights of inception-v3, .pth or .safetensors", rich_help_panel=_CLASSIFIER),
    ] = None,
    last_bias: Annotated[
        bool,
        typer.Option(
            help="the bias of inception-v3's last layer; the original Inception Score leaves it out",
            rich_help_panel=_CLASSIFIER,
        ),
    ] = True,
    resize: Annotated[
        Literal["none", "bilinear", "bicubic", "nearest"] | None,
        typer.Option(help="how images of another size are brought to the classifier's", rich_help_panel=_CLASSIFIER),
    ] = None,
    input_range: Annotated[
        Literal["signed", "unit", "byte", "imagenet"] | None,
        typer.Option(help="what module:function takes: [-1, 1], [0, 1], [0, 255], ...", rich_help_panel=_CLASSIFIER),
    ] = None,
    input_size: Annotated[
        int | None,
        typer.Option(min=1, help="height and width that module:function takes", rich_help_panel=_CLASSIFIER),
    ] = None,
    dtype: Annotated[
        Literal["float32", "float64", "bfloat16", "float16"],
        typer.Option(help="what the classifier computes in", rich_help_panel=_CLASSIFIER),
    ] = "float32",
    dataset: Annotated[
        str | None,
        typer.Option(help="reference and held-out images; default: the run's or classifier's", rich_help_panel=_REAL),
    ] = None,
    data_dir: DataDir = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="training set: images (folder, .npz), logits or class distribution (.npy), or the .json of its scores",
            rich_help_panel=_REAL,
        ),
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option(help="real samples to show beside: a folder, .npz or .npy of logits", rich_help_panel=_REAL),
    ] = None,
    splits: Annotated[
        int, typer.Option(min=1, help="of the Inception Score; its intervals rest on ten times as many blocks")
    ] = 10,
    contiguous: Annotated[
        bool, typer.Option(help="splits of consecutive samples, as in the original code, not filled in turn")
    ] = False,
    skip_non_finite: Annotated[
        bool, typer.Option(help="leave out rows of logits with NaN or infinity, and count them")
    ] = False,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="images or logits at a time [default: as memory suggests, at most 500]")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="processes that read images")] = 0,
    device: Device = "auto",
    json: Json = None,
    report: Annotated[Path | None, typer.Option(help="write a page, .html, with pictures in it")] = None,
) -> None:
    """Score samples, beside held-out real ones: Inception Score, AM Score and more, with their intervals.

    Ctrl-C prints what is known so far. Under torchrun the processes share the samples.
    """
    options = {name: value for name, value in locals().items() if name not in ("json", "device")}

    from rich.console import Console

    from amgan_fast.console import SampleProgress, print_evaluation
    from amgan_fast.device import resolve_device
    from amgan_fast.evaluate import (
        Evaluation,
        EvaluationError,
        EvaluationInterrupted,
        Request,
        check_report,
        evaluate_request,
        save_report,
    )
    from amgan_fast.processes import join_processes, local_device

    with errors_in_one_line():
        check_json(json)
        if report is not None:
            check_report(report)
        torch_device = local_device(resolve_device(device))
        with join_processes(torch_device) as share, SampleProgress(Console(stderr=True), share.rank == 0) as progress:
            evaluation: Evaluation | None
            stopped: EvaluationError | EvaluationInterrupted | None = None
            try:
                with standard_output_for_results():
                    evaluation = evaluate_request(Request(**options), torch_device, progress, share)
            except (EvaluationError, EvaluationInterrupted) as error:
                stopped, evaluation = error, error.evaluation
        if evaluation is not None and share.rank == 0:
            if report is not None:
                save_report(report, evaluation, ["amgan-fast", *sys.argv[1:]])
            if json is not None:
                put_json(json, evaluation.to_dict())
            if json != PRINTED:
                print_evaluation(Console(), evaluation)
        if isinstance(stopped, EvaluationInterrupted):
            complain("interrupted")
            raise typer.Exit(130)
        if stopped is not None:
            raise stopped
