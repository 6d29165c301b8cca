"""What the demo adds to trainctl's own summary: how much of the noise is gone, and where the metrics lie."""

from __future__ import annotations

from typing import Any


def describe_run(run: dict[str, Any], noisy_error: float) -> str:
    """The report of a run, given as `trainctl show -o json` prints it, on data whose noisy input has `noisy_error`.

    `noisy_error` and the monitored loss are mean squared errors of the same validation patches.
    """
    directory = run["run_dir"]
    facts = {
        "metrics": f"{directory}/metrics.jsonl",
        "curves": f".venv/bin/tensorboard --logdir {directory}/tensorboard",
    }
    if run["monitor"]:
        best = run["monitor"]["best"]
        noise = f"error {noisy_error:.4f} before, {best:.4f} after denoising ({best / noisy_error:.0%})"
        facts = {"noise": noise, **facts}
    return "\n".join(f"  {name:<10} {fact}" for name, fact in facts.items())
