"""What a run does beside being exact: it learns, it stops when it should, it ends in the right words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainerd.contracts.pages import Order
from trainerd.training import trainer
from trainerd.training.checkpoints.verify import list_checkpoints, read_manifest
from trainerd.training.product import publish_model

TINY = """
name: tiny
data:
  kind: synthetic
  samples: 512
  inputs: {shape: [16]}
  targets: {shape: [1]}
  split: {val: 0.25, seed: 0}
  batch_size: 32
model: {name: mlp, args: {hidden: [32, 32]}}
loss: {name: mse}
optimizer: {name: adamw, lr: 1e-3}
trainer: {max_epochs: 12, device: cpu, log_every_steps: 4}
checkpoint: {every_steps: 10, every_minutes: null, keep_periodic: 2}
resources: {cpus: 1}
"""


def test_the_loss_falls(make_run: Callable[..., Any]) -> None:
    run = make_run(TINY)
    assert run.train() == 0
    losses = [line["loss"] for line in run.metrics() if line["split"] == "val"]
    assert losses[-1] < 0.8 * losses[0]


def test_a_run_leaves_the_checkpoints_that_it_promised(make_run: Callable[..., Any]) -> None:
    """12 epochs of 12 steps: the last state, the best one by val_loss, the two newest periodic ones."""
    run = make_run(TINY)
    run.train()
    manifests = [read_manifest(path) for path in list_checkpoints(run.directory.checkpoints)]
    best_step = run.events("finishing")[-1]["monitor"]["best_step"]
    assert {manifest.step for manifest in manifests} == {144, 140, 130, best_step}
    assert [manifest.step for manifest in manifests if manifest.periodic] == [140, 130]


def test_early_stopping_ends_the_run_and_restores_the_best_weights(make_run: Callable[..., Any]) -> None:
    stopping = ("trainer.max_epochs=500", "optimizer.lr=0.02", "early_stopping={patience: 4, min_delta: 0.0}")
    run = make_run(TINY, overrides=stopping)
    assert run.train() == 0
    finishing = run.events("finishing")[-1]
    assert finishing["reason"] == "early_stopping"
    assert finishing["epoch"] == finishing["monitor"]["best_epoch"] + 4
    assert finishing["model"]["step"] == finishing["monitor"]["best_step"]
    best = run.directory.checkpoint(finishing["monitor"]["best_step"]) / "model.safetensors"
    assert run.directory.model.read_bytes() == best.read_bytes()


def test_a_run_without_validation_trains_to_its_last_epoch(make_run: Callable[..., Any]) -> None:
    run = make_run(TINY, overrides=("data.split=null", "trainer.max_epochs=2"))
    assert run.train() == 0
    assert run.events("finishing")[-1]["monitor"] is None
    assert all(event["val_loss"] is None for event in run.events("epoch"))
    assert all(line["split"] == "train" for line in run.metrics())


def test_a_loss_that_diverges_ends_the_run_and_is_never_saved(make_run: Callable[..., Any]) -> None:
    run = make_run(TINY, overrides=("optimizer={name: sgd, lr: 1e20}", "checkpoint.every_steps=1"))
    assert run.train() == 1
    finishing = run.events("finishing")[-1]
    assert (finishing["state"], finishing["reason"]) == ("failed", "diverged")
    assert "at step" in finishing["error"]
    for path in list_checkpoints(run.directory.checkpoints):
        assert "NaN" not in (path / "training.json").read_text()


def test_an_error_in_a_users_model_is_named_and_left_to_the_supervisor(
    make_run: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "broken_nets.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.layer = torch.nn.Linear(16, 1)\n        self.calls = 0\n"
        "    def forward(self, x):\n        self.calls += 1\n"
        "        if self.calls > 5: raise RuntimeError('the sixth batch')\n        return self.layer(x)\n"
    )
    run = make_run(TINY, overrides=("model={target: 'broken_nets:Net'}",))
    assert run.train() == 1
    finishing = run.events("finishing")[-1]
    assert finishing["state"] == "crashed"
    assert finishing["error"] == "RuntimeError: the sixth batch"


@pytest.mark.parametrize("batch_sizes", [("32", "1"), ("16", "2"), ("8", "4")])
def test_accumulation_gives_the_gradient_of_the_whole_group(
    make_run: Callable[..., Any], batch_sizes: tuple[str, str]
) -> None:
    """384 training samples: the same groups of samples, however they are cut into batches, give the same losses."""
    batch, accumulate = batch_sizes
    whole = make_run(TINY, name="whole", overrides=("trainer.max_epochs=1",))
    parts = make_run(
        TINY,
        name="parts",
        overrides=("trainer.max_epochs=1", f"data.batch_size={batch}", f"trainer.accumulate={accumulate}"),
    )
    whole.train()
    parts.train()
    expected = [line["loss"] for line in whole.metrics() if line["split"] == "train"]
    assert [line["loss"] for line in parts.metrics() if line["split"] == "train"] == pytest.approx(expected, rel=1e-5)


def test_bf16_trains_on_the_cpu(make_run: Callable[..., Any]) -> None:
    run = make_run(TINY, overrides=("trainer.precision=bf16", "trainer.max_epochs=3"))
    assert run.train() == 0


def test_a_plateau_lowers_the_learning_rate_and_survives_a_resume(make_run: Callable[..., Any]) -> None:
    plateau = (
        "schedule={name: plateau, args: {patience: 1, factor: 0.5}}",
        "optimizer.lr=0.05",
        "trainer.max_epochs=30",
    )
    whole, stopped = make_run(TINY, name="whole", overrides=plateau), make_run(TINY, overrides=plateau)
    whole.train()
    stopped.train_until(200, Order.STOP)
    stopped.train()
    rates = [line["lr"] for line in whole.metrics() if line["split"] == "train"]
    assert rates[-1] < rates[0]
    assert stopped.metrics() == whole.metrics()


def test_a_state_that_no_checkpoint_can_hold_is_refused_before_the_first_step(
    make_run: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "complex_nets.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Linear):\n"
        "    def __init__(self):\n        super().__init__(16, 1)\n"
        "        self.register_buffer('phase', torch.zeros(2, dtype=torch.complex64))\n"
    )
    run = make_run(TINY, overrides=("model={target: 'complex_nets:Net'}",))
    assert run.train() == 1
    finishing = run.events("finishing")[-1]
    assert finishing["state"] == "failed"
    assert finishing["error"] == "phase: a torch.complex64 cannot be kept in a checkpoint"
    assert run.events("first_step") == []


def test_the_lines_that_lead_to_a_divergence_are_kept(make_run: Callable[..., Any]) -> None:
    run = make_run(TINY, overrides=("optimizer={name: sgd, lr: 30.0}", "trainer.log_every_steps=1"))
    assert run.train() == 1
    steps = [line["step"] for line in run.metrics() if line["split"] == "train"]
    assert steps == list(range(1, steps[-1] + 1))
    assert run.events("finishing")[-1]["error"].endswith(f"at step {steps[-1] + 1}")


def test_a_best_checkpoint_that_went_bad_costs_the_best_weights_but_not_the_run(
    make_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = ("trainer.max_epochs=500", "optimizer.lr=0.02", "early_stopping={patience: 4}")
    run = make_run(TINY, overrides=stopping)

    def damage_and_publish(trained: Any) -> Any:
        best = run.directory.checkpoint(trained.standing.best_step) / "model.safetensors"
        best.write_bytes(best.read_bytes()[:-1])
        return publish_model(trained)

    monkeypatch.setattr(trainer, "publish_model", damage_and_publish)
    assert run.train() == 0
    finishing = run.events("finishing")[-1]
    assert finishing["model"]["step"] == finishing["step"]
    assert "is damaged" in run.events("warning")[0]["message"]


def test_a_run_that_diverges_keeps_its_best_state(make_run: Callable[..., Any], tmp_path: Path) -> None:
    """It is never started again, so nothing would find the best state a second time."""
    (tmp_path / "late_nets.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Linear):\n"
        "    def __init__(self):\n        super().__init__(16, 1)\n        self.calls = 0\n"
        "    def forward(self, x):\n        self.calls += self.training\n"
        "        return super().forward(x) * (float('nan') if self.calls > 80 else 1.0)\n"
    )
    run = make_run(TINY, overrides=("model={target: 'late_nets:Net'}", "checkpoint.every_steps=null"))
    assert run.train() == 1
    finishing = run.events("finishing")[-1]
    assert finishing["reason"] == "diverged"
    kept = [read_manifest(path).step for path in list_checkpoints(run.directory.checkpoints)]
    assert finishing["monitor"]["best_step"] in kept


@pytest.mark.parametrize(
    ("order", "told"),
    [
        (Order.STOP, ["stopped"]),
        (Order.STOP_WITHOUT_CHECKPOINT, ["stopped"]),
        (Order.PAUSE, ["paused"]),
        (Order.INTERRUPT, []),
    ],
)
def test_the_journal_says_that_an_order_has_been_obeyed(
    make_run: Callable[..., Any], order: Order, told: list[str]
) -> None:
    run = make_run(TINY)
    assert run.train_until(17, order) == 75
    obeyed = [*run.events("stopped"), *run.events("paused")]
    assert [(event["event"], event["step"]) for event in obeyed] == [(name, 17) for name in told]


def test_a_metric_may_give_a_number(make_run: Callable[..., Any], tmp_path: Path) -> None:
    """The check cannot follow `.item()`, so it admits such a metric; the first validation must not end the run."""
    (tmp_path / "number_metric.py").write_text(
        "def error(output, target):\n    return (output - target).abs().mean().item()\n"
    )
    run = make_run(TINY + 'metrics: [{target: "number_metric:error"}]\n', overrides=("trainer.max_epochs=1",))

    assert run.train() == 0

    [validation] = [line for line in run.metrics() if line["split"] == "val"]
    assert 0 < validation["error"] < 10


def test_an_optimizer_whose_state_no_checkpoint_can_hold_ends_the_run_at_once(
    make_run: Callable[..., Any], tmp_path: Path
) -> None:
    """Not hours later, at the first checkpoint: an optimizer has its state from the first step on."""
    (tmp_path / "hoarding.py").write_text(
        "import torch\nclass Hoarding(torch.optim.SGD):\n"
        "    def step(self, closure=None):\n"
        "        super().step()\n"
        "        self.state[self.param_groups[0]['params'][0]]['seen'] = object()\n"
    )
    text = TINY.replace("{name: adamw, lr: 1e-3}", '{target: "hoarding:Hoarding", lr: 1e-3}')
    run = make_run(text, overrides=("checkpoint.every_steps=null",))

    assert run.train() == 1

    [end] = run.events("finishing")
    assert (end["state"], end["step"]) == ("failed", 1)
    assert "seen: a builtins.object" in end["error"]
