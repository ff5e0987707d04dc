"""The server's models follow a folder, on a fake runtime.

Above 400 lines, because all of it needs the server at the top, which follows a folder.
"""

import io
import logging
import os
import zipfile
from pathlib import Path

import onnx
import orjson
import pytest

from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from tests.fakes.values import error
from tests.unit.folder.following import Polls, Served, folder_of, following, move, polled_twice, put
from tests.unit.plans.external_data import external, model
from tests.unit.serving import serving
from tests.waiting import until
from trtserve.engines import readiness
from trtserve.engines.engine import State
from trtserve.errors import TrtserveError, Unavailable, Unsupported
from trtserve.folder.files import LocalFiles
from trtserve.oip.config_reader import read_config
from trtserve.oip.repository import Repository
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

BATCHED = b"max_batch_size: 4 dynamic_batching { }"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


# -- the start


async def test_a_start_serves_what_the_folder_has(settings: Settings, root: Path) -> None:
    put(root, "net/config.pbtxt", BATCHED + b" version_policy { all { } }")
    put(root, "net/1/model.onnx", onnx_plan(1))
    put(root, "net/3/model.onnx", onnx_plan(3))
    put(root, "plain.onnx", onnx_plan("plain"))
    async with following(settings, root) as served:
        assert list(served.versions("net")) == [1, 3]
        assert served.server.registry.names()["net"].current == 3
        assert served.engine("net").stored.options.max_batch_size == 4
        assert served.engine("net", 1).state is State.READY
        assert list(served.versions("plain")) == [1]
        assert not list((settings.store / "incoming").iterdir())


async def test_a_restart_reads_and_loads_nothing_twice(settings: Settings, root: Path) -> None:
    put(root, "net/1/model.onnx", onnx_plan(1))
    put(root, "net/2/model.onnx", onnx_plan(1))  # the same bytes
    put(root, "net/config.pbtxt", b"version_policy { all { } }")
    async with following(settings, root) as served:
        assert list(served.versions("net")) == [2]
    runtime = FakeRuntime()
    async with following(settings, root, runtime) as served:
        await served.server.registry.restored()
        assert len(runtime.loads) == 1
        assert served.files.reads == 0
        assert list(served.versions("net")) == [2]


async def test_the_server_is_not_ready_while_models_of_the_start_are_loading(
    settings: Settings, root: Path, runtime: FakeRuntime
) -> None:
    put(root, "net.onnx", onnx_plan())
    runtime.load_gate.clear()
    settings = settings.model_copy(update={"model_repository": str(root)})
    async with serving(settings, runtime) as server:
        folder = folder_of(server, LocalFiles(root), settings)
        await folder.start()
        await until(lambda: len(runtime.loads) > 0)
        with pytest.raises(Unavailable, match="models of the folder are still loading: 1 to go"):
            readiness.check_server(runtime, server.registry)
        runtime.load_gate.set()
        await until(lambda: not server.registry.coming)
        readiness.check_server(runtime, server.registry)
        await folder.close()


async def test_one_table_tells_what_is_not_done(
    settings: Settings, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(root, "good/1/model.onnx", onnx_plan(1))
    put(root, "half/config.pbtxt", b"optimization { graph { level: 1 } } metric_tags { key: 'a' value: 'b' }")
    put(root, "half/1/model.onnx", onnx_plan(2))
    put(root, "bad/config.pbtxt", b"sequence_batching { } response_cache { enable: true }")
    put(root, "bad/1/model.onnx", onnx_plan(3))
    put(root, "text/1/model.onnx", b"no plan at all")
    put(root, "wrong/config.pbtxt", b"input { name: 'z' }")
    put(root, "wrong/1/model.onnx", onnx_plan(4))
    with caplog.at_level(logging.INFO, "trtserve.folder"):
        async with following(settings, root) as served:
            assert sorted(served.server.registry.names()) == ["good", "half"]
            assert len(served.server.registry.engines()) == 2
            lines = served.folder.table()
    told = [record.message for record in caplog.records if record.levelno == logging.INFO]
    assert told[-len(lines) :] == lines
    titles, *rows = lines
    assert titles.split("  ")[0] == "model"
    assert [row.split()[:3] for row in rows if row[0] != " "] == [
        ["bad", "-", "no"],
        ["good", "1", "yes"],
        ["half", "1", "yes"],
        ["text", "-", "no"],
        ["wrong", "-", "no"],
    ]
    page = "\n".join(lines)
    assert "sequence_batching" in page
    assert "response_cache" in page
    assert "ignored: optimization.graph, metric_tags" in page
    assert "the plan has no input 'z'; it has 'x'" in page


async def test_a_name_of_an_upload_is_not_taken_over(settings: Settings, root: Path) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan("uploaded"), "net")
    put(root, "net/1/model.onnx", onnx_plan(1))
    async with following(settings, root) as served:
        assert len(served.server.registry.engines()) == 1
        assert "is a name of uploaded engines" in served.folder.table()[1]
        (root / "net" / "1" / "model.onnx").unlink()
        (root / "net" / "1").rmdir()
        (root / "net").rmdir()
        await polled_twice(served)
        assert list(served.versions("net")) == [1]


async def test_a_model_that_left_before_a_start_is_removed(settings: Settings, root: Path) -> None:
    put(root, "net.onnx", onnx_plan(1))
    put(root, "stays.onnx", onnx_plan(2))
    async with following(settings, root) as served:
        await served.server.add(onnx_plan("uploaded"), "mine")
    (root / "net.onnx").unlink()
    for mode in ("none", "explicit"):
        async with following(settings, root, mode=mode) as served:
            assert sorted(served.server.registry.names()) == ["mine", "stays"]
            assert len(served.server.files()) == 2


async def test_another_folder_takes_the_place_of_the_first(
    settings: Settings, root: Path, tmp_path: Path
) -> None:
    put(root, "net.onnx", onnx_plan(1))
    put(root, "old.onnx", onnx_plan(2))
    async with following(settings, root) as served:
        first = served.engine("net").id
    put(tmp_path / "other", "net.onnx", onnx_plan(3))
    async with following(settings, tmp_path / "other") as served:
        assert list(served.server.registry.names()) == ["net"]
        assert served.engine("net").id != first
        assert len(served.server.registry.engines()) == 1


async def test_a_start_tries_again_while_the_folder_cannot_be_read(settings: Settings, root: Path) -> None:
    """A store that has something of the folder serves that meanwhile."""
    put(root, "net.onnx", onnx_plan(1))
    hidden = root.with_name("hidden")
    for is_known in (False, True):
        move(root, hidden)
        settings = settings.model_copy(update={"model_repository": str(root)})
        async with serving(settings) as server:
            polls = Polls()
            folder = folder_of(server, LocalFiles(root), settings, sleep=polls)
            await folder.start()
            await until(lambda polls=polls: polls.sleeping > 0)  # type: ignore[misc]
            assert server.registry.coming == (0 if is_known else 1)
            assert ("net" in server.registry.names()) is is_known
            move(hidden, root)
            polls.wake()
            await until(lambda server=server: not server.registry.coming)  # type: ignore[misc]
            assert "net" in server.registry.names()
            await folder.close()


# -- changes


async def test_a_new_version_becomes_current_and_the_policy_lets_the_old_one_go(
    settings: Settings, root: Path
) -> None:
    put(root, "net/1/model.onnx", onnx_plan(1))
    async with following(settings, root) as served:
        put(root, "net/2/model.onnx", onnx_plan(2))
        await served.poll()
        assert list(served.versions("net")) == [1]  # it may still be written
        await served.poll()
        assert list(served.versions("net")) == [2]
        assert len(served.server.registry.engines()) == 1


async def test_a_changed_file_is_the_same_version_anew(settings: Settings, root: Path) -> None:
    put(root, "net/config.pbtxt", b"version_policy { all { } }")
    put(root, "net/1/model.onnx", onnx_plan(1))
    put(root, "net/2/model.onnx", onnx_plan(2))
    async with following(settings, root) as served:
        before = served.versions("net")
        put(root, "net/1/model.onnx", onnx_plan("other"))
        await polled_twice(served)
        after = served.versions("net")
        assert after[2] == before[2]
        assert after[1] != before[1]
        assert served.server.registry.names()["net"].current == 2
        assert len(served.server.registry.engines()) == 2
        assert len(served.server.files()) == 2


async def test_a_version_with_the_bytes_of_another_stays_when_that_leaves(
    settings: Settings, root: Path
) -> None:
    put(root, "net/config.pbtxt", b"version_policy { all { } }")
    put(root, "net/1/model.onnx", onnx_plan(1))
    put(root, "net/2/model.onnx", onnx_plan(1))
    async with following(settings, root) as served:
        assert list(served.versions("net")) == [2]
        (root / "net/2/model.onnx").unlink()
        (root / "net/2").rmdir()
        await polled_twice(served)
        assert list(served.versions("net")) == [1]
        assert served.engine("net").state is State.READY


async def test_a_changed_config_changes_options_and_reads_no_plan(
    settings: Settings, root: Path, runtime: FakeRuntime
) -> None:
    put(root, "net/1/model.onnx", onnx_plan(1))
    put(root, "net/config.pbtxt", b"instance_group { count: 3 kind: KIND_CPU }")
    async with following(settings, root, runtime) as served:
        assert served.engine("net").stored.options.instances == 3
        reads = served.files.reads
        put(root, "net/config.pbtxt", b"")
        await polled_twice(served)
        assert served.engine("net").stored.options.instances == settings.instances
        assert served.engine("net").state is State.READY
        assert served.files.reads == reads


async def test_changed_labels_are_taken_and_no_plan_is_read(settings: Settings, root: Path) -> None:
    put(root, "net/config.pbtxt", b"output { name: 'y' label_filename: 'labels.txt' }")
    put(root, "net/labels.txt", b"cat\ndog")
    put(root, "net/1/model.onnx", onnx_plan(1))
    async with following(settings, root) as served:
        assert served.engine("net").labels == {"y": ["cat", "dog"]}
        reads = served.files.reads
        put(root, "net/labels.txt", b"dog\ncat")
        await polled_twice(served)
        assert served.engine("net").labels == {"y": ["dog", "cat"]}
        assert served.files.reads == reads + 1  # the labels


async def test_a_model_that_leaves_is_removed_once_it_is_missing_twice(
    settings: Settings, root: Path
) -> None:
    place = put(root, "net.onnx", onnx_plan(1))
    async with following(settings, root) as served:
        content = place.read_bytes()
        place.unlink()
        await served.poll()
        assert served.versions("net")
        place.write_bytes(content)  # as a program that replaces a file does
        await polled_twice(served)
        assert served.versions("net")
        place.unlink()
        await polled_twice(served)
        assert not served.versions("net")
        assert served.server.files() == []


async def test_a_file_that_changes_while_it_is_read_is_not_served_and_tried_again(
    settings: Settings, root: Path
) -> None:
    async with following(settings, root) as served:
        put(root, "net.onnx", onnx_plan(1))
        served.files.growing = frozenset({"net.onnx"})
        await polled_twice(served)
        assert not served.versions("net")
        assert "changed while it was read" in served.folder.table()[1]
        assert served.server.files() == []
        served.files.growing = frozenset()
        await served.poll()
        assert served.versions("net")


async def test_a_file_of_another_size_than_it_had_is_tried_again(settings: Settings, root: Path) -> None:
    async with following(settings, root) as served:
        put(root, "net.onnx", onnx_plan(1))
        served.files.cut = 1
        await polled_twice(served)
        assert "changed while it was read" in served.folder.table()[1]
        assert (served.server.files(), served.versions("net")) == ([], {})
        served.files.cut = 0
        await served.poll()
        assert served.versions("net")


@pytest.mark.parametrize("place", ["net/1", "net/1/model.onnx"], ids=["beside it", "in a folder"])
async def test_an_onnx_model_is_served_with_the_files_of_its_tensors(
    settings: Settings, root: Path, tmp_path: Path, place: str
) -> None:
    files = external(tmp_path / "model") | {"not.read": b"x"}
    for name, content in files.items():
        put(root, f"{place}/{name}", content)
    async with following(settings, root) as served:
        await until(lambda: bool(served.versions("net")))
        (plan,) = settings.store.glob("plans/*")
        assert onnx.load_from_string(plan.read_bytes()) == model()
        assert served.files.reads == 2
        before = served.versions("net")
        put(root, f"{place}/weights.bin", bytes(len(files["weights.bin"])))
        await polled_twice(served)
        assert served.versions("net") != before
        put(root, f"{place}/weights.bin", b"short")
        await polled_twice(served)
        assert "which has 5: it is not whole" in served.folder.table()[1]
        (root / place / "weights.bin").unlink()
        await polled_twice(served)
        assert "which its folder does not have beside the model" in served.folder.table()[1]
        assert len(list(settings.store.glob("plans/*"))) == 1
        assert list(settings.store.glob("incoming/*")) == []


async def test_an_archive_in_the_folder_is_unpacked(settings: Settings, root: Path, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in external(tmp_path / "model").items():
            archive.writestr(name, content)
    put(root, "net/1/model.onnx", packed.getvalue())
    async with following(settings, root) as served:
        await until(lambda: bool(served.versions("net")))
        (plan,) = settings.store.glob("plans/*")
        assert onnx.load_from_string(plan.read_bytes()) == model()


async def test_labels_that_cannot_be_taken_are_told_and_leave_nothing(settings: Settings, root: Path) -> None:
    put(root, "net/1/model.onnx", onnx_plan(1))
    put(root, "net/config.pbtxt", b'output { name: "y" label_filename: "l" }')
    put(root, "net/l", b"\n" * 500_000)
    async with following(settings, root) as served:
        await until(lambda: "at most 1048576 are allowed" in served.folder.table()[-1])
        assert (served.server.files(), served.versions("net")) == ([], {})


async def test_names_that_are_no_text_are_listed(settings: Settings, root: Path) -> None:
    put(root, os.fsdecode(b"caf\xe9/1/model.onnx"), onnx_plan(1))
    put(root, "a\nb/1/model.onnx", onnx_plan(1))
    async with following(settings, root) as served:
        await until(lambda: len(served.folder.table()) == 3)
        assert [row["name"] for row in orjson.loads(orjson.dumps(await served.folder.index()))] == [
            r"a\nb",
            r"caf\udce9",
        ]


async def test_what_cannot_be_loaded_is_not_tried_again_until_it_changes(
    settings: Settings, root: Path, runtime: FakeRuntime
) -> None:
    put(root, "net/1/model.onnx", onnx_plan(1))
    async with following(settings, root, runtime) as served:
        put(root, "net/2/model.onnx", b"no plan")
        await polled_twice(served)
        assert list(served.versions("net")) == [1]  # the last good one
        reads = served.files.reads
        await polled_twice(served)
        assert served.files.reads == reads
        put(root, "net/2/model.onnx", onnx_plan(2))
        await polled_twice(served)
        assert 2 in served.versions("net")


async def test_a_folder_that_cannot_be_read_changes_nothing(
    settings: Settings, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(root, "net.onnx", onnx_plan(1))
    async with following(settings, root) as served:
        move(root, root.with_name("away"))
        await polled_twice(served)
        assert served.versions("net")
        assert caplog.text.count("cannot be read, so nothing changes") == 1
        move(root.with_name("away"), root)
        put(root, "more.onnx", onnx_plan(2))
        await polled_twice(served)
        assert served.versions("more")


async def test_an_unloaded_model_stays_unloaded_until_its_file_changes(
    settings: Settings, root: Path
) -> None:
    put(root, "net.onnx", onnx_plan(1))
    async with following(settings, root) as served:
        await served.server.registry.unload("net")
        await polled_twice(served)
        assert served.engine("net").state is State.UNLOADED


async def test_nothing_is_written_while_the_server_is_being_replaced(settings: Settings, root: Path) -> None:
    put(root, "net/config.pbtxt", BATCHED)
    put(root, "net/1/model.onnx", onnx_plan(1))
    async with following(settings, root) as served:
        written = (settings.store / "folder.json").read_bytes()
        await served.server.registry.rest(1.0)
        put(root, "net/1/model.onnx", onnx_plan(2))
        await polled_twice(served)
        assert "being replaced by a new process" in served.folder.table()[1]
        assert (settings.store / "folder.json").read_bytes() == written
        await served.server.registry.resume()
        await served.poll()
        assert (settings.store / "folder.json").read_bytes() != written


async def test_a_version_that_is_an_upload_by_now_stays_when_the_model_leaves(
    settings: Settings, root: Path
) -> None:
    place = put(root, "net.onnx", onnx_plan(1))
    async with following(settings, root) as served:
        await served.server.registry.remove("net")
        await served.server.add(onnx_plan("uploaded"), "net")
        assert list(served.versions("net")) == [1]
        place.unlink()
        await polled_twice(served)
        assert list(served.versions("net")) == [1]


# -- loads that clients ask for


def repository(served: Served) -> Repository:
    server = served.server
    return Repository(server.settings, server.store, server.runtime, server.registry, served.folder)


async def test_in_explicit_mode_models_are_loaded_by_name(settings: Settings, root: Path) -> None:
    put(root, "net/1/model.onnx", onnx_plan(1))
    put(root, "other/1/model.onnx", onnx_plan(2))
    async with following(settings, root, mode="explicit") as served:
        clients = repository(served)
        assert served.server.registry.names() == {}
        missing = {"version": "1", "state": "UNAVAILABLE", "reason": "not loaded"}
        assert await clients.index(ready_only=False) == [
            {"name": "net", **missing},
            {"name": "other", **missing},
        ]
        assert await clients.index(ready_only=True) == []
        await clients.load("net", {})
        assert served.engine("net").state is State.READY
        put(root, "net/2/model.onnx", onnx_plan(3))
        await clients.load("net", {})
        assert list(served.versions("net")) == [2]
        await clients.unload("net", {})
        assert served.engine("net").state is State.UNLOADED
        await clients.load("net", {})
        assert served.engine("net").state is State.READY
        rows = await clients.index(ready_only=False)
        assert [(row["name"], row["version"], row["state"]) for row in rows] == [
            ("net", "2", "READY"),
            ("other", "1", "UNAVAILABLE"),
        ]


async def test_a_load_with_a_config_asks_for_that_instead_of_the_file(settings: Settings, root: Path) -> None:
    put(root, "net/config.pbtxt", b"instance_group { count: 3 kind: KIND_CPU }")
    put(root, "net/1/model.onnx", onnx_plan(1))
    async with following(settings, root, mode="explicit") as served:
        config = '{"dynamic_batching": {}, "max_batch_size": 2}'
        await repository(served).load("net", {"config": config})
        assert served.engine("net").stored.options.max_batch_size == 2
        assert served.engine("net").stored.options.instances == settings.instances
        assert read_config(config, "net").options.max_batch_size == 2


async def test_a_load_that_fails_says_why_and_keeps_its_kind(settings: Settings, root: Path) -> None:
    put(root, "net/config.pbtxt", b"sequence_batching { }")
    put(root, "net/1/model.onnx", onnx_plan(1))
    async with following(settings, root, mode="explicit") as served:
        with pytest.raises(Unsupported, match=r"sequence_batching.*failed to load 'net'"):
            await repository(served).load("net", {})
        (row,) = await repository(served).index(ready_only=False)
        assert row["name"] == "net"
        assert "sequence_batching" in row["reason"]


async def test_a_load_of_an_upload_does_not_look_at_the_folder(settings: Settings, root: Path) -> None:
    async with following(settings, root, mode="explicit") as served:
        await served.server.add(onnx_plan("mine"), "mine")
        put(root, "mine.onnx", onnx_plan(1))
        await repository(served).unload("mine", {})
        await repository(served).load("mine", {})
        assert served.engine("mine").state is State.READY
        assert served.files.reads == 0


async def test_a_plan_that_cannot_be_loaded_leaves_the_old_one(
    settings: Settings, root: Path, runtime: FakeRuntime
) -> None:
    put(root, "net/1/model.onnx", onnx_plan(1))
    async with following(settings, root, runtime, mode="explicit") as served:
        await repository(served).load("net", {})
        before = served.versions("net")
        put(root, "net/1/model.onnx", onnx_plan(2))
        runtime.load_error = error("InvalidInput", "it is broken")
        with pytest.raises(TrtserveError, match="broken"):
            await repository(served).load("net", {})
        assert served.versions("net") == before
        assert served.engine("net").state is State.READY
        assert len(served.server.files()) == 1
