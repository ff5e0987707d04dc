"""The targets of tuning: plan files, and engines of a store that a server may be using."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.engines import with_options
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from tests.unit.tuning import STORED
from trtserve.errors import InvalidInput, NotFound, Unavailable
from trtserve.settings import Settings
from trtserve.store.database import Database
from trtserve.store.schema import SCHEMA_VERSION
from trtserve.tune.target import Target, find_target


@pytest.fixture
def store(settings: Settings) -> Iterator[Database]:
    """The database of a store with two engines, open as in a server."""
    (settings.store / "plans").mkdir(parents=True)
    metadata = Database(settings.store / "metadata.sqlite3")
    for id, name in ((7, "net"), (8, None)):
        engine = replace(with_options(STORED, max_queue_size=10), id=id, digest=str(id) * 64)
        (settings.store / "plans" / f"{engine.digest}.plan").write_bytes(onnx_plan(id))
        metadata.add(engine, name)
    yield metadata
    metadata.close()


def find(ref: str | Path, settings: Settings, format: str = "auto") -> Target:
    return find_target(str(ref), settings, FakeRuntime(), format)  # type: ignore[arg-type]


@pytest.mark.parametrize("serving", [True, False])
def test_an_engine_is_found_by_name_and_by_id_and_nothing_is_changed(
    store: Database, settings: Settings, serving: bool
) -> None:
    if not serving:
        store.close()
    before = sorted(settings.store.rglob("*"))
    target = find("net", settings)
    assert target == find("7", settings)
    assert (target.name, target.stored.id, target.in_store, target.format_told) == ("net", 7, True, True)
    assert target.plan.read_bytes() == onnx_plan(7)
    assert find("8", settings).name is None
    assert sorted(settings.store.rglob("*")) == before


def test_the_refusal_of_an_unknown_name_lists_the_engines(store: Database, settings: Settings) -> None:
    with pytest.raises(NotFound) as failure:
        find("nett", settings)
    assert str(failure.value) == (
        "There is no engine 'nett'. There is: net, 8. Nor is there a plan file 'nett'."
    )
    for id in (7, 8):
        store.remove_engine(id)
    with pytest.raises(NotFound, match="has no engines"):
        find("net", settings)


def test_an_engine_whose_options_are_not_known_is_not_measured(store: Database, settings: Settings) -> None:
    (engine,) = (engine for engine in store.engines() if engine.id == 7)
    store.add(replace(engine, damage="Its row is damaged."), None)
    with pytest.raises(Unavailable, match=r"Engine 7 \(net\) cannot be measured: Its row is damaged\."):
        find("net", settings)


def test_a_store_without_metadata_or_of_another_version_is_reported(settings: Settings) -> None:
    with pytest.raises(NotFound, match=r"no plan file 'net', and .* is not a store .* with --store"):
        find("net", settings)
    settings.store.mkdir()
    path = settings.store / "metadata.sqlite3"
    path.write_bytes(b"no database " * 100)
    with pytest.raises(Unavailable, match=r"metadata in .* cannot be used"):
        find("net", settings)
    path.write_bytes(b"")
    with pytest.raises(Unavailable, match=f"schema 0; this one reads {SCHEMA_VERSION}"):
        find("net", settings)


def test_a_missing_stored_plan_is_reported(store: Database, settings: Settings) -> None:
    (settings.store / "plans" / f"{'7' * 64}.plan").unlink()
    with pytest.raises(Unavailable, match="cannot be read: No such file"):
        find("net", settings)


def test_a_plan_file_gets_its_options_from_the_settings(tmp_path: Path, settings: Settings) -> None:
    plan = tmp_path / "1 net.v2.onnx"
    plan.write_bytes(onnx_plan())
    target = find(plan, settings.model_copy(update={"device": "cuda:1"}))
    assert (target.name, target.stored.options.device, target.in_store) == ("_1_net.v2", "cuda:1", False)
    plan.write_bytes(b"something else")
    with pytest.raises(InvalidInput, match="The plan is"):
        find(plan, settings)


def test_an_unrecognised_plan_file_is_tuned_as_the_given_format(tmp_path: Path, settings: Settings) -> None:
    plan = tmp_path / "net.plan"
    plan.write_bytes(b"\xde\xad\xbe\xef" * 10)
    with pytest.raises(
        InvalidInput, match=r"say which with format=tensorrt, onnx, openvino or torchscript\.$"
    ):
        find(plan, settings)
    target = find(plan, settings, "openvino")
    assert (target.stored.format, target.stored.backend) == ("openvino", "openvino")
    assert not target.format_told
    plan.write_bytes(onnx_plan())
    assert find(plan, settings, "onnx").format_told
    with pytest.raises(InvalidInput, match=r"an ONNX model .*, but format=openvino was asked for"):
        find(plan, settings, "openvino")
