"""The specification of a run: every key that a configuration may hold, with its default and its meaning.

The descriptions here are the documentation: docs/configuration.md, the JSON Schema that editors use and the messages of
refused configurations are generated from them. Unknown keys are refused everywhere.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Dtype = Literal["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]
Monitor = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", examples=["val_loss"])]


class Section(BaseModel):
    """A part of a configuration: immutable, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


class Component(Section):
    """A registered name, or a target to import, with the arguments that it is called with."""

    name: str | None = Field(None, description="A registered name.")
    target: str | None = Field(
        None,
        description='What to import instead, as "package.module:Name".',
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$",
        examples=["mypkg.nets:Net"],
    )
    args: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the name or the target.")

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        if (self.name is None) == (self.target is None):
            raise ValueError("give either name or target")
        return self


class Model(Component):
    """The torch.nn.Module to train; registered: mlp, cnn, unet3d."""


class Loss(Component):
    """What is minimised; registered: mse, cross_entropy. A target is a torch.nn.Module subclass or a function."""


class Metric(Component):
    """What validation also measures; registered: accuracy, mae."""


class DefaultedComponent(Component):
    """A component that has a default name, which a target replaces."""

    @model_validator(mode="before")
    @classmethod
    def _target_replaces_the_default_name(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("target") is not None:
            return {"name": None, **given}
        return given


class Optimizer(DefaultedComponent):
    """The update rule; registered: adamw, sgd. Give lr and weight_decay here, all other arguments under args."""

    name: str | None = Field("adamw", description="A registered name.")
    lr: float = Field(1e-3, gt=0, description="Learning rate (the peak of the schedule).")
    weight_decay: float = Field(0.0, ge=0, description="Weight decay.")


class Schedule(DefaultedComponent):
    """The learning rate over time; registered: constant, cosine, plateau. Pure functions of the step."""

    name: str | None = Field("constant", description="A registered name.")
    warmup_steps: int = Field(0, ge=0, description="Steps of linear warm-up from 0 to lr.")


class SampleField(Section):
    """One array of every sample: the inputs or the targets."""

    key: str | None = Field(None, description="HDF5 data set or Parquet column that holds it; required for files.")
    shape: list[Annotated[int, Field(gt=0)]] = Field(description="Shape of one sample, without the batch dimension.")
    dtype: Dtype = Field("float32", description="Element type as stored; tensors have the same.")
    range: tuple[float, float] | None = Field(None, description="Smallest and largest value allowed; null for any.")
    finite: bool = Field(True, description="Refuse NaN and infinity.")

    @field_validator("range")
    @classmethod
    def _is_a_range(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] <= value[1]:
            raise ValueError("no value lies in it: give the smallest first")
        return value


class Split(Section):
    """Which samples validate: a fraction chosen by a seed, or the samples that a key in the file marks."""

    val: float | None = Field(None, gt=0, lt=1, description="Fraction of the samples used for validation.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the choice; it does not depend on the run's seed.")
    key: str | None = Field(None, description="Data set or column that is nonzero for validation samples.")

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if (self.val is None) == (self.key is None):
            raise ValueError("give either val or key")
        return self


class Data(Section):
    """What every kind of data has."""

    inputs: SampleField = Field(description="What the model is called with.")
    targets: SampleField = Field(description="What the loss compares the model's output with.")
    split: Split | None = Field(
        None, description="Validation samples; null trains on everything and does not validate."
    )
    batch_size: int = Field(gt=0, description="Samples per batch; the last batch of an epoch may be short.")
    shuffle: bool = Field(True, description="A new order of the training samples in every epoch, from the seed.")


class SyntheticData(Data):
    """Sine waves of any shape, computed from a seed: no file."""

    kind: Literal["synthetic"] = Field(description="synthetic: sine waves from a seed.")
    samples: int = Field(gt=0, description="Number of samples.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the waves.")


class Hdf5Data(Data):
    """Data sets of an HDF5 file, samples along the first axis."""

    kind: Literal["hdf5"] = Field(description="hdf5: data sets of an HDF5 file.")
    path: str = Field(description="The file, relative to the configuration's directory.")


class ParquetData(Data):
    """Columns of a Parquet file, one sample a row."""

    kind: Literal["parquet"] = Field(description="parquet: columns of a Parquet file.")
    path: str = Field(description="The file, relative to the configuration's directory.")


AnyData = Annotated[SyntheticData | Hdf5Data | ParquetData, Field(discriminator="kind")]


class Trainer(Section):
    """The training loop."""

    max_epochs: int = Field(gt=0, description="Epochs at most; early stopping may end the run before.")
    precision: Literal["auto", "float32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 on a GPU that has it, else float32. fp16 scales the loss."
    )
    grad_clip: float | None = Field(None, gt=0, description="Largest norm of the gradient; null does not clip.")
    accumulate: int = Field(1, gt=0, description="Batches per optimizer update.")
    device: str = Field(
        "auto",
        description="auto: a GPU if the run has one, else the CPU.",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        examples=["auto", "cpu", "cuda", "cuda:1"],
    )
    deterministic: bool = Field(
        False, description="Only deterministic algorithms (torch.use_deterministic_algorithms)."
    )
    log_every_steps: int = Field(10, gt=0, description="Steps between two train lines in metrics.jsonl.")


class EarlyStopping(Section):
    """When to stop because nothing improves any more: looked at once per epoch, after validation."""

    monitor: Monitor = Field("val_loss", description="val_loss, train_loss, or val_NAME of a metric.")
    mode: Literal["min", "max"] = Field("min", description="Whether smaller or larger is better.")
    patience: int = Field(gt=0, description="Epochs without improvement after which the run stops.")
    min_delta: float = Field(0.0, ge=0, description="An improvement is strictly more than this.")
    warmup_epochs: int = Field(0, ge=0, description="First epochs that count neither as best nor towards patience.")
    restore_best: bool = Field(True, description="model.safetensors holds the best weights, else the last.")


class Checkpoint(Section):
    """When to save the training state, and how many of the periodic checkpoints to keep."""

    every_steps: int | None = Field(
        None, gt=0, description="Steps between two periodic checkpoints; null: none by steps."
    )
    every_minutes: float | None = Field(10.0, gt=0, description="Minutes between two checkpoints; null: none by time.")
    keep_periodic: int = Field(
        2, ge=1, description="Newest periodic checkpoints to keep, beside last, best and pinned."
    )


class Resources(Section):
    """What the run needs of the machine."""

    gpus: int | Literal["auto"] = Field("auto", description="GPUs of its own; auto: 1 if the machine has one, else 0.")
    cpus: int | None = Field(None, gt=0, description="Threads of torch; null: all processors.")

    @model_validator(mode="after")
    def _counts_gpus(self) -> Self:
        if isinstance(self.gpus, int) and self.gpus < 0:
            raise ValueError("gpus must be 0 or more")
        return self


class Retry(Section):
    """What happens after a crash."""

    max_failures: int = Field(3, ge=0, description="Consecutive failures without a newer checkpoint that end the run.")
    backoff_seconds: float = Field(
        5.0, ge=0, description="Wait before the second retry; doubles with each one after it."
    )


class RunSpec(Section):
    """A whole run. What `trainctl submit` checks, the run directory's spec.yaml holds, and the trainer reads."""

    name: str = Field(
        description="Name of the run, for people; need not be unique.",
        pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,99}$",
        examples=["overnight", "unet-2.lr3e-4"],
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the weights, the order of samples and dropout.")
    data: AnyData = Field(description="The samples.")
    model: Model = Field(description="The model: a registered name or a target.")
    loss: Loss = Field(description="The loss: a registered name or a target.")
    metrics: list[Metric] = Field(default_factory=list, description="What validation also measures.")
    optimizer: Optimizer = Field(default_factory=Optimizer, description="The optimizer.")
    schedule: Schedule = Field(default_factory=Schedule, description="The learning rate's schedule.")
    trainer: Trainer = Field(description="The training loop.")
    early_stopping: EarlyStopping | None = Field(None, description="Early stopping; null trains for max_epochs.")
    checkpoint: Checkpoint = Field(default_factory=Checkpoint, description="Checkpoints.")
    resources: Resources = Field(default_factory=Resources, description="Processors and GPUs.")
    retry: Retry = Field(default_factory=Retry, description="Retries after a crash.")
    source: str | None = Field(
        None,
        description="Written by trainerd: the configuration file that this came from; its directory is imported from.",
    )

    @field_validator("name")
    @classmethod
    def _means_no_other_run(cls, name: str) -> str:
        if name == "latest":
            raise ValueError("`latest` means the newest run; choose another name")
        return name

    @property
    def monitor(self) -> tuple[str, Literal["min", "max"]] | None:
        """(metric, mode) that decides which weights are best; None if nothing is monitored."""
        if self.early_stopping:
            return self.early_stopping.monitor, self.early_stopping.mode
        return ("val_loss", "min") if self.data.split else None
