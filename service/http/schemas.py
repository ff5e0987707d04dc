"""The REST resources as JSON; codec/ handles tensors."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer

from runtime_ext import Condition, EngineInfo, ShapeRange, TensorSpec
from trtserve.engines.change import ChangeState
from trtserve.engines.engine import Engine, Resolved, State
from trtserve.engines.room import Memory
from trtserve.options.batching import AUTO, read_dims, read_sizes
from trtserve.options.devices import left_out
from trtserve.text import sentence


class RangeModel(BaseModel):
    """What one profile accepts, an entry per dimension (or value); -1 in `max` of a shape: no upper bound."""

    min: list[int]
    opt: list[int]
    max: list[int]

    @classmethod
    def of(cls, range: ShapeRange) -> Self:
        return cls(min=range.min, opt=range.opt, max=range.max)


class OutputModel(BaseModel):
    name: str
    datatype: str = Field(examples=["FP32"])
    shape: list[int] | None = Field(
        description="-1: a dynamic dimension; null: not even the rank is known.", examples=[[-1, 10]]
    )
    location: str = Field(description="Where the engine has it: `device` or `host`.")
    format: str = Field(
        description="How it lies in the engine's memory, in the backend's words; empty: nothing to say. "
        "On the wire it is always row-major."
    )
    computed_as: str | None = Field(
        description="The datatype that the backend computes with in place of `datatype`, as OpenVINO does "
        "with INT64; null: it keeps that, or does not tell. On the wire it is always `datatype`.",
        examples=[None],
    )

    @classmethod
    def of(cls, spec: TensorSpec) -> Self:
        return cls(**_tensor(spec))


class InputModel(OutputModel):
    profiles: list[RangeModel] = Field(description="The shapes that each profile takes.")
    values: list[RangeModel] = Field(
        description="Of an input whose values decide shapes: the values that each profile takes. Else empty."
    )

    @classmethod
    def of(cls, spec: TensorSpec) -> Self:
        return cls(
            **_tensor(spec),
            profiles=[RangeModel.of(shapes) for shapes in spec.profiles],
            values=[RangeModel.of(values) for values in spec.values],
        )


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    """The fields that inputs and outputs share."""
    return {name: getattr(spec, name) for name in OutputModel.model_fields}


class EngineNameModel(BaseModel):
    """A version that points to the engine; `current`: the one that its name stands for."""

    name: str
    version: int
    current: bool


class BuildModel(BaseModel):
    """How the engine's plan was built on this server, or is being built."""

    source: str = Field(description="SHA-256 of the ONNX model.", examples=["sha256:9b1c…"])
    precision: str
    profiles: list[str] = Field(description="As they were asked for, by input.")
    max_batch_size: int = Field(description="What the profile was made for if none was asked for.")
    workspace_bytes: int
    timing_cache: bool
    name: str | None = Field(description="The name that it was accepted with, and will have once READY.")
    target: str | None = Field(
        description="What the plan was built for: the library's version and the GPU. Null: not built yet.",
        examples=["TensorRT 8.5.3, NVIDIA H100 80GB HBM3 (compute capability 9.0)"],
    )
    reason: str | None = Field(description="Why it is, or was, built again since the server's start.")
    phase: str | None = Field(description="What the build does now; null if there was none in this life.")
    percent: float | None = Field(description="How far it is; null where the library does not tell.")
    log: str | None = Field(description="The last line of the library's log.")
    seconds: float | None = Field(description="How long it has taken, or took, without waiting.")

    @classmethod
    def of(cls, engine: Engine) -> Self | None:
        """None for a plan that was uploaded."""
        build, progress = engine.stored.build, engine.progress
        if build is None:
            return None
        return cls(
            source=f"sha256:{build.source}",
            **build.options.model_dump(),
            name=build.name,
            target=build.target or None,
            reason=progress.reason if progress else None,
            phase=progress.phase if progress else None,
            percent=progress.percent if progress else None,
            log=progress.log if progress else None,
            seconds=round(progress.seconds, 3) if progress else None,
        )


class ChangeModel(BaseModel):
    """The last change of the engine's options that was asked for since the server's start."""

    options: dict[str, Any] = Field(description="What was asked for.", examples=[{"max_batch_size": 8}])
    state: ChangeState = Field(
        description="`WAITING` for another change; `LOADING` beside the engine that serves; `DRAINING`: "
        "requests have moved; `DONE`; `FAILED`: the engine has the options that it had."
    )
    reason: str | None = Field(description="Why it is FAILED.")

    @classmethod
    def of(cls, engine: Engine) -> Self | None:
        change = engine.past.change
        return None if change is None else cls(**vars(change))


class ReplicaModel(BaseModel):
    """An engine on one of its devices."""

    device: str
    instances: int = Field(description="0 where the device was dead at the load.")
    alive: bool = Field(description="False once the device is dead: the others answer until a restart.")
    reason: str | None = Field(description="Why the device is dead.")

    @classmethod
    def all_of(cls, info: EngineInfo, option: str, dead: Mapping[str, str]) -> list[Self]:
        """Those of a loaded engine, and of the devices that its load left out because they were dead."""
        missing = left_out(option, info.devices, dead)
        return [
            cls(
                device=device,
                instances=0 if device in missing else info.instances,
                alive=device not in dead,
                reason=sentence(dead[device]) if device in dead else None,
            )
            for device in [*info.devices, *missing]
        ]


RESOLVED = ("device", "instances", "max_batch_size")
"""The options whose values a load decides if they are left to it."""


class EngineModel(BaseModel):
    """One engine. Fields that only a load can fill are null or empty before."""

    id: int = Field(description="The first 52 bits of `digest`.", examples=[2937105382134421])
    digest: str = Field(
        description="SHA-256 of the plan; of a plan that was built here, that of the model and the options "
        "of its build.",
        examples=["sha256:a6f4…"],
    )
    name: str | None = Field(description="The name in the request, otherwise a name that points to it.")
    version: int | None
    names: list[EngineNameModel]
    state: State
    reason: str | None = Field(description="Why it is FAILED.")
    backend: str
    format: str
    device: str = Field(description="Its devices, with commas between them.")
    instances: int = Field(description="On each device.")
    asked: dict[str, int | str] = Field(
        description="What was asked for of `device`, `instances` and `max_batch_size`, where the fields of "
        "these names say what came of it.",
        examples=[{"device": "auto", "instances": 0, "max_batch_size": "auto"}],
    )
    max_queue_size: int
    cuda_graphs: str = Field(description="What was asked for: `off`, `auto` or `on`.")
    max_batch_size: int | str = Field(
        description="Most items in a batch; 1: each request runs alone; `auto` before a load has decided it."
    )
    why_not_joined: str | None = Field(
        description="Why requests are not joined, where max_batch_size=auto was asked for."
    )
    max_queue_delay_us: int | str = Field(description="Microseconds, `auto`, or `never`: not joined.")
    latency_target_us: int
    preferred_batch_sizes: list[int] = Field(examples=[[4, 8]])
    batch_dims: dict[str, int] = Field(
        description="The batch dimension by tensor, as it was asked for; 0 where there is none."
    )
    joins_requests: bool | None = Field(
        description="Whether requests are joined now: false too where max_batch_size asks for it, but the "
        "outputs of a few batches had no item for each that went in. Null where it is not READY."
    )
    executions_stuck: int = Field(
        description="Executions that have not ended within `stuck_after_s`; each keeps an instance."
    )
    plan_bytes: int = Field(description="0: not built yet.")
    created: str = Field(description="ISO 8601, UTC.")
    load_seconds: float | None
    residency: str = Field(description="`eager`, `lazy` or `pinned`.")
    memory: Mapping[str, Mapping[str, int]] = Field(
        description="Bytes that it takes now, or took when it was resident last, by device and kind. On a "
        "GPU they are counted, except `other`; on the CPU they are what the heap grew by during its load.",
        examples=[{"cuda:0": {"weights": 104857600, "contexts": 8388608}, "cpu": {"host": 2097152}}],
    )
    cold_start_seconds: float | None = Field(
        description="What its last load for a request took, with the wait for memory. Null: there was none."
    )
    replicas: list[ReplicaModel] = Field(description="Of a loaded engine, one for each of its devices.")
    inputs: list[InputModel]
    outputs: list[OutputModel]
    properties: dict[str, str] = Field(description="Facts from the backend: for people, not for programs.")
    build: BuildModel | None = Field(description="Null for a plan that was uploaded.")
    change: ChangeModel | None = Field(
        description="The last change of its options since the server's start; null: there was none."
    )
    uses: list[int] = Field(description="Of a module, the engines that it calls, by ID.")
    used_by: list[int] = Field(description="The modules that call this engine, by ID.")
    metadata: dict[str, Any] | None = Field(
        description="What the plan's exporter wrote beside it: the JSON object in a plan by Ultralytics."
    )

    @classmethod
    def of(
        cls,
        resolved: Resolved,
        condition: Condition | None,
        memory: Memory,
        dead: Mapping[str, str],
        users: Sequence[Engine] = (),
    ) -> Self:
        """`condition`: how it is doing, if it is READY. `memory`: what it takes, or took. `dead`: devices,
        with the reasons. `users`: the modules that call it."""
        engine: Engine = resolved.engine
        stored, info = engine.stored, engine.info
        options = stored.options.model_dump(include=set(cls.model_fields)) | {
            "preferred_batch_sizes": read_sizes(stored.options.preferred_batch_sizes),
            "batch_dims": read_dims(stored.options.batch_dims),
        }
        if info:
            options |= {"device": info.device, "instances": info.instances}
            if stored.options.max_batch_size == AUTO:
                options["max_batch_size"] = info.max_batch_size
        return cls(
            id=engine.id,
            digest=f"sha256:{engine.digest}",
            name=resolved.name,
            version=resolved.version,
            names=[EngineNameModel(**known._asdict()) for known in engine.names],
            state=engine.state,
            reason=engine.reason,
            backend=engine.backend,
            format=engine.format,
            asked={name: getattr(stored.options, name) for name in RESOLVED},
            **options,
            why_not_joined=sentence(info.why_not_joined) if info and info.why_not_joined else None,
            joins_requests=condition.joins_requests if condition else None,
            executions_stuck=condition.executions_stuck if condition else 0,
            plan_bytes=stored.plan_bytes,
            created=stored.created,
            load_seconds=engine.load_seconds,
            memory=memory,
            cold_start_seconds=engine.past.cold_start_seconds,
            replicas=ReplicaModel.all_of(info, stored.options.device, dead) if info else [],
            inputs=[InputModel.of(spec) for spec in info.inputs] if info else [],
            outputs=[OutputModel.of(spec) for spec in info.outputs] if info else [],
            properties=info.properties if info else {},
            build=BuildModel.of(engine),
            change=ChangeModel.of(engine),
            uses=list(engine.calls),
            used_by=[user.id for user in users],
            metadata=engine.metadata,
        )


class Page(BaseModel):
    """A part of a list."""

    next: str | None = Field(
        default=None,
        description="The path of the next page; missing on the last one.",
        examples=["/engines?limit=100&after=100"],
    )

    @model_serializer(mode="wrap")
    def _without_no_next(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = serialize(self)
        if self.next is None:
            del written["next"]
        return written


class EngineList(Page):
    engines: list[EngineModel] = Field(description="In the order in which they came.")


class ModuleList(Page):
    modules: list[EngineModel] = Field(description="In the order in which they came.")


class VersionModel(BaseModel):
    version: int
    id: int = Field(description="The engine that the version points to.")
    state: State
    reason: str | None = Field(description="Why it is FAILED.")


class NameModel(BaseModel):
    """A name: what its versions are, and which of them answers to it."""

    name: str
    current: int
    versions: list[VersionModel]

    @classmethod
    def of(cls, name: str, current: int, versions: list[Resolved]) -> Self:
        """`versions` are all that the name has."""
        models = [
            VersionModel(version=version, id=engine.id, state=engine.state, reason=engine.reason)
            for engine, _, version in versions
            if version is not None
        ]
        return cls(name=name, current=current, versions=models)


class NameList(BaseModel):
    names: list[NameModel]


class PointModel(BaseModel):
    current: int = Field(ge=1, description="A version that the name has.", strict=True)
