"""Optimizers are fused where torch can, take what their signatures say, and refuse what the loop cannot give."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainerd.contracts.errors import SpecificationRefused
from trainerd.contracts.spec import Optimizer
from trainerd.training.components import import_from
from trainerd.training.optimizers import build_optimizer, direct_step, is_fused


@pytest.fixture
def user_optimizers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's optims.py, with one that takes no weight decay and one that takes anything."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "optims", raising=False)
    import_from(tmp_path)
    (tmp_path / "optims.py").write_text(
        "import torch\n"
        "class Plain(torch.optim.Optimizer):\n"
        "    def __init__(self, params, lr):\n"
        "        super().__init__(params, {'lr': lr})\n"
        "class Open(torch.optim.AdamW):\n"
        "    def __init__(self, params, **kwargs):\n"
        "        super().__init__(params, **kwargs)\n"
    )


def build(model: nn.Module | None = None, **spec: Any) -> torch.optim.Optimizer:
    return build_optimizer(Optimizer.model_validate(spec), nn.Linear(2, 2) if model is None else model)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"name": "adamw", "lr": 0.5, "weight_decay": 0.25, "args": {"betas": [0.5, 0.75], "eps": 1e-4}},
            {"lr": 0.5, "weight_decay": 0.25, "betas": (0.5, 0.75), "eps": 1e-4, "fused": True},
        ),
        (
            {"name": "sgd", "lr": 0.5, "args": {"momentum": 0.9, "nesterov": True}},
            {"lr": 0.5, "weight_decay": 0.0, "momentum": 0.9, "nesterov": True, "fused": True},
        ),
        (
            {"target": "torch.optim:RMSprop", "lr": 0.5, "weight_decay": 0.25, "args": {"alpha": 0.5}},
            {"lr": 0.5, "weight_decay": 0.25, "alpha": 0.5},
        ),
    ],
)
def test_the_group_holds_what_the_configuration_says(spec: dict[str, Any], expected: dict[str, Any]) -> None:
    optimizer = build(**spec)
    (group,) = optimizer.param_groups
    assert {name: group[name] for name in expected} == expected
    assert is_fused(optimizer) == ("fused" in expected)


def test_complex_parameters_are_trained_without_the_fused_kernel() -> None:
    model = nn.ParameterList([nn.Parameter(torch.zeros(2, dtype=torch.complex64))])
    assert not is_fused(build(model, name="adamw"))


def test_a_target_gets_lr_and_weight_decay_where_it_takes_them(user_optimizers: None) -> None:
    assert build(target="optims:Plain", lr=0.5).param_groups[0]["lr"] == 0.5
    (group,) = build(target="optims:Open", lr=0.5, weight_decay=0.25).param_groups
    assert (group["lr"], group["weight_decay"]) == (0.5, 0.25)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"name": "adam"}, r"optimizer\.name: .* did you mean adamw"),
        ({"name": "adamw", "args": {"lr": 1.0}}, r"optimizer\.args\.lr: .* did you mean optimizer\.lr"),
        ({"name": "adamw", "args": {"betas": [0.9]}}, r"optimizer\.args\.betas"),
        ({"name": "sgd", "args": {"nesterov": True}}, r"optimizer\.args: sgd.* fails: ValueError: Nesterov"),
        ({"target": "torch.nn:Linear"}, r"optimizer\.target: .*\(expected a torch\.optim\.Optimizer subclass"),
        ({"target": "torch.optim:LBFGS"}, r"optimizer\.target: .* needs a closure"),
        ({"target": "torch.optim:Adam", "args": {"momentun": 1}}, r"optimizer\.args\.momentun: .* takes no argument"),
        ({"target": "optims:Plain", "weight_decay": 0.1}, r"optimizer\.weight_decay: .* takes no weight_decay"),
    ],
)
def test_a_mistake_is_located(user_optimizers: None, spec: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecificationRefused, match=said):
        build(**spec)


def test_a_model_without_parameters_cannot_be_trained() -> None:
    with pytest.raises(SpecificationRefused, match="model: the model has no parameters"):
        build(nn.ReLU(), name="adamw")


def test_a_direct_step_is_the_step_without_its_profiler_range() -> None:
    """Bit for bit the same update; and should torch wrap it otherwise one day, this says so."""
    directly, wrapped = nn.Linear(3, 2), nn.Linear(3, 2)
    wrapped.load_state_dict(directly.state_dict())
    optimizers = [torch.optim.AdamW(model.parameters(), fused=True) for model in (directly, wrapped)]
    steps = [direct_step(optimizers[0]), optimizers[1].step]
    for _ in range(3):
        for model, step in zip((directly, wrapped), steps, strict=True):
            model(torch.ones(4, 3)).square().sum().backward()
            step()
    assert torch.equal(directly.weight, wrapped.weight)
    with torch.profiler.profile() as profile:
        steps[0]()
    assert not any("Optimizer.step" in event.key for event in profile.key_averages())


def test_an_optimizer_with_a_hook_keeps_its_whole_step() -> None:
    calls: list[str] = []
    optimizer = torch.optim.SGD(torch.nn.Linear(3, 2).parameters())
    optimizer.register_step_post_hook(lambda *_: calls.append("hook"))
    direct_step(optimizer)()
    assert calls == ["hook"]
