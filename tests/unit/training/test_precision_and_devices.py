"""What precision and device mean on this machine, and what is refused."""

from __future__ import annotations

import json

import pytest
import torch

from trainerd.contracts.errors import SpecificationRefused
from trainerd.training.devices import apply_determinism, environment_facts, resolve_device
from trainerd.training.precision import Precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["auto", "float32"])
def test_a_cpu_computes_in_float32_unless_told_otherwise(name: str) -> None:
    precision = Precision.resolve(name, CPU)  # type: ignore[arg-type]
    with precision.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert precision.scaler is None


def test_bf16_can_be_had_on_a_cpu() -> None:
    precision = Precision.resolve("bf16", CPU)
    for _ in range(2):  # the context serves every step
        with precision.autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    assert precision.scaler is None


def test_fp16_on_a_cpu_is_refused() -> None:
    with pytest.raises(SpecificationRefused, match=r"trainer\.precision: fp16 needs a GPU"):
        Precision.resolve("fp16", CPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_computes_in_bf16_and_scales_fp16() -> None:
    device = resolve_device("auto")
    assert device == torch.device("cuda", 0)
    precision = Precision.resolve("auto", device)
    with precision.autocast():
        product = torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)
    assert product.dtype == (
        torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    )
    assert Precision.resolve("fp16", device).scaler is not None


def test_a_gpu_that_is_not_there_is_refused() -> None:
    beyond = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(SpecificationRefused, match=rf"trainer\.device: there is no {beyond}"):
        resolve_device(beyond)
    assert resolve_device("cpu") == CPU


def test_determinism_is_set_and_taken_back() -> None:
    apply_determinism(True)
    assert torch.are_deterministic_algorithms_enabled()
    apply_determinism(False)
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_facts_of_the_environment_are_json_and_name_what_results_depend_on() -> None:
    facts = json.loads(json.dumps(environment_facts(CPU)))
    assert set(facts) == {"torch", "numpy", "python", "cpu_capability", "processor", "device", "threads"}
    assert facts["threads"] == torch.get_num_threads()
