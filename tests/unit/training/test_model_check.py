"""A model that cannot meet its loss is refused before any step; one that needs values is only warned of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sample_shapes import Shape

from trainerd.contracts.errors import Finding
from trainerd.contracts.spec import RunSpec
from trainerd.data import open_source
from trainerd.training.components import import_from
from trainerd.training.model_check import check_components, check_model

DATA = {"kind": "synthetic", "samples": 70, "inputs": {"shape": [16]}, "targets": {"shape": [1]}, "batch_size": 32}
INPUTS, TARGETS = Shape((16,)), Shape((1,))
LINEAR = {"in_features": 16, "out_features": 1}
CLASS_INDEX = Shape((), torch.int64)


def spec_of(**sections: Any) -> RunSpec:
    document = {
        "name": "checked",
        "data": {**DATA, "split": {"val": 0.2}},
        "model": {"name": "mlp"},
        "loss": {"name": "mse"},
        "trainer": {"max_epochs": 1, "device": "cpu"},
        **sections,
    }
    return RunSpec.model_validate(document)


def check(
    inputs: Shape = INPUTS,
    targets: Shape = TARGETS,
    sizes: tuple[int, ...] = (32, 24),
    **sections: Any,
) -> tuple[list[Finding], list[Finding]]:
    return check_components(spec_of(**sections), inputs, targets, list(sizes))[:2]


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Writes the user's parts.py, with torch, nn and functional imported."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    import_from(tmp_path)

    def write(text: str) -> None:
        (tmp_path / "parts.py").write_text(
            f"import torch\nfrom torch import nn\nfrom torch.nn import functional\n{text}"
        )

    yield write
    sys.modules.pop("parts", None)


def write_model(user_module: Callable[[str], None], forward: str) -> None:
    user_module(
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.linear = nn.Linear(16, 1)\n"
        f"    def forward(self, x):\n        {forward}\n"
    )


def test_a_source_and_a_specification_that_fit_have_no_findings() -> None:
    spec = spec_of(metrics=[{"name": "mae"}], schedule={"name": "cosine", "warmup_steps": 5})
    assert check_model(spec, open_source(spec.data))[:2] == ([], [])


@pytest.mark.parametrize(
    ("model", "inputs", "targets", "loss"),
    [
        ({"name": "cnn", "args": {"classes": 10}}, Shape((1, 8, 8)), CLASS_INDEX, "cross_entropy"),
        ({"name": "unet3d", "args": {"channels": 8}}, Shape((1, 16, 16, 16)), Shape((1, 16, 16, 16)), "mse"),
        ({"name": "mlp", "args": {"classes": 3}}, Shape((4,), torch.uint8), Shape((), torch.uint8), "cross_entropy"),
    ],
)
def test_the_registered_parts_fit_each_other(model: dict[str, Any], inputs: Shape, targets: Shape, loss: str) -> None:
    assert check(inputs, targets, model=model, loss={"name": loss}) == ([], [])


def test_checking_leaves_the_generator_alone_and_computes_nothing() -> None:
    before = torch.get_rng_state()
    errors, _ = check(
        model={"name": "mlp", "args": {"hidden": [200_000, 200_000]}}
    )  # 160 GB of weights, were they real
    assert errors == []
    assert torch.equal(before, torch.get_rng_state())


def test_a_forward_that_cannot_take_the_input_names_both_and_the_line(user_module: Any, tmp_path: Path) -> None:
    write_model(user_module, "return self.linear(x[:, :3])")
    (error,), warnings = check(model={"target": "parts:Net"})
    assert error.key == "model"
    assert "given [32, 16] float32" in error.message
    assert f"({tmp_path}/parts.py:9)" in error.message
    assert warnings == []


def test_a_loss_that_cannot_compare_names_output_and_target() -> None:
    (error,), _ = check(
        model={"target": "torch.nn:Linear", "args": {"in_features": 16, "out_features": 3}}, targets=Shape((2,))
    )
    assert error.key == "loss"
    assert "output [32, 3] float32" in error.message
    assert "target [32, 2] float32" in error.message


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        ({"name": "mse"}, Shape(())),
        ({"target": "torch.nn:L1Loss"}, Shape(())),
        ({"target": "parts:by_hand"}, Shape(())),
        ({"name": "mse"}, Shape((4,))),
    ],
)
def test_a_loss_that_would_broadcast_its_target_is_refused(
    user_module: Any, loss: dict[str, Any], targets: Shape
) -> None:
    user_module("def by_hand(output, target):\n    return (output - target).square().mean()\n")
    model = {"target": "torch.nn:Linear", "args": {"in_features": 16, "out_features": 1}}
    errors, _ = check(targets=targets, sizes=(32,), model=model, loss=loss)
    assert [(error.key, error.found) for error in errors] == [
        ("loss", f"output [32, 1] float32 and target {[32, *targets.shape]} float32")
    ]


def test_weights_that_a_loss_broadcasts_on_purpose_pass(user_module: Any) -> None:
    user_module(
        "def weighted(output, target):\n"
        "    return ((output - target).square() * torch.tensor([1.0, 2.0])).mean() + (output * target[:, :1]).mean()\n"
    )
    assert check(targets=Shape((2,)), loss={"target": "parts:weighted"}) == ([], [])


def test_a_loss_that_is_no_scalar_is_refused(user_module: Any) -> None:
    user_module(
        "def each(output, target):\n    return (output - target).square()\n"
        "def number(output, target):\n    return 1.0\n"
    )
    for name, said in (("each", "gives [32, 1] float32"), ("number", "gives a float")):
        (error,), _ = check(sizes=(32,), loss={"target": f"parts:{name}"})
        assert error.key == "loss"
        assert said in error.message


def test_a_loss_without_a_gradient_is_refused(user_module: Any) -> None:
    user_module("def detached(output, target):\n    return (output.detach() - target).mean()\n")
    (error,), _ = check(loss={"target": "parts:detached"})
    assert error.message == "the loss does not depend on the model's parameters"


def test_a_metric_that_is_no_scalar_is_refused(user_module: Any) -> None:
    user_module("def each(output, target):\n    return output - target\n")
    (error,), _ = check(sizes=(32,), metrics=[{"name": "mae"}, {"target": "parts:each"}])
    assert error.key == "metrics.1"


@pytest.mark.parametrize(
    "forward",
    [
        "return self.linear(x) * x.sum().item()",
        "return self.linear(x) if x.mean() > 0 else self.linear(-x)",
        "return self.linear(x) + x[x > 0].sum()",
        "return self.linear(x) * float(x.detach().numpy().mean())",
        "return self.linear(x).tolist()",
    ],
)
def test_a_model_that_needs_values_is_not_checkable_but_not_refused(user_module: Any, forward: str) -> None:
    write_model(user_module, forward)
    errors, (warning,) = check(sizes=(32,), model={"target": "parts:Net"})
    assert errors == []
    assert warning.key == "model"
    assert warning.message.startswith("not checkable")


def test_a_constructor_that_needs_values_is_not_refused_either(user_module: Any) -> None:
    user_module(
        "class Net(nn.Linear):\n"
        "    def __init__(self):\n"
        "        super().__init__(16, 1)\n"
        "        self.rates = [each.item() for each in torch.linspace(0, 1, 3)]\n"
    )
    errors, warnings = check(model={"target": "parts:Net"})
    assert errors == []
    assert len(warnings) == 1


def test_the_short_last_batch_is_tried_too(user_module: Any) -> None:
    """70 samples, 56 of them for training: batches of 32 and 24."""
    write_model(user_module, "return self.linear(x) if len(x) == 32 else self.linear(x[:, 1:])")
    spec = spec_of(model={"target": "parts:Net"})
    (error,), _, _ = check_model(spec, open_source(spec.data))
    assert "given [24, 16] float32" in error.message


def test_class_indices_need_the_number_of_classes() -> None:
    (error,), _ = check(targets=CLASS_INDEX, loss={"name": "cross_entropy"})
    assert error.key == "model.args.classes"


def test_problems_of_all_parts_are_reported_at_once() -> None:
    errors, _ = check(
        model={"name": "mlpp"},
        loss={"name": "msee"},
        schedule={"name": "cosin"},
        metrics=[{"name": "acuracy"}],
        trainer={"max_epochs": 1, "device": "cpu", "precision": "fp16"},
        early_stopping={"monitor": "val_los", "patience": 3},
    )
    assert {error.key for error in errors} == {
        "model.name",
        "loss.name",
        "schedule.name",
        "metrics.0.name",
        "trainer.precision",
        "early_stopping.monitor",
    }


def test_a_problem_elsewhere_does_not_hide_that_shapes_do_not_meet() -> None:
    errors, _ = check(targets=Shape(()), sizes=(32,), model={"name": "mlp"}, loss={"target": "torch.nn:L1Loss"})
    assert errors == []
    model = {"target": "torch.nn:Linear", "args": {"in_features": 16, "out_features": 1}}
    errors, _ = check(targets=Shape(()), sizes=(32,), model=model, optimizer={"name": "adm"})
    assert [error.key for error in errors] == ["optimizer.name", "loss"]


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"optimizer": {"target": "torch.optim:LBFGS"}}, "optimizer.target"),
        ({"schedule": {"target": "parts:rate"}}, "schedule"),
        ({"schedule": {"name": "plateau"}, "data": DATA}, "schedule.name"),
        ({"model": {"target": "torch.nn:ReLU"}}, "model"),
    ],
)
def test_an_optimizer_or_schedule_that_cannot_work_is_refused(
    user_module: Any, sections: dict[str, Any], key: str
) -> None:
    user_module("def rate(step, total_steps):\n    return -1.0\n")
    errors, _ = check(**sections)
    assert errors[0].key == key


def test_a_loss_with_parameters_of_its_own_is_warned_of(user_module: Any) -> None:
    user_module(
        "class Learned(nn.Linear):\n"
        "    def forward(self, output, target):\n"
        "        return super().forward(output - target).mean()\n"
    )
    errors, (warning,) = check(loss={"target": "parts:Learned", "args": {"in_features": 1, "out_features": 1}})
    assert errors == []
    assert "not trained" in warning.message


def test_the_size_of_the_model_is_told_with_the_findings() -> None:
    verdict = check_components(spec_of(model={"target": "torch.nn:Linear", "args": LINEAR}), INPUTS, TARGETS, [32])

    assert verdict == ([], [], (16 + 1) * 4)
