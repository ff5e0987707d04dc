"""The store after SIGKILL at any point of adding, unloading, moving and removing."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.stores import aside
from trtserve.store.store import Store

CHURN = """
import itertools, json, sys
from pathlib import Path
from trtserve.options.engine_options import EngineOptions
from trtserve.store.database import StoredEngine
from trtserve.store.staging import engine_id
from trtserve.store.store import Store

def report(**what):
    print(json.dumps(what), flush=True)

store = Store(Path(sys.argv[1]))
for turn in itertools.count():
    writer = store.new_upload()
    writer.write([f"plan {sys.argv[2]} {turn} ".encode() * 1000])
    plan = writer.finish()
    id = engine_id(plan.digest)
    options = EngineOptions(instances=1, max_queue_size=8)
    engine = StoredEngine(id, plan.digest, "onnx", "openvino", options, plan.size, "")
    name = f"name-{turn % 3}"
    report(naming=name)
    report(adding=engine.id)
    store.adopt(plan, engine)
    store.commit(engine, name)
    report(added=engine.id)
    if turn % 4 < 3:
        report(unloading=engine.id)
        store.unload(engine.id)
        report(unloaded=engine.id)
    if turn % 4 == 2:
        report(loading=engine.id)
        store.commit(engine, None)
        report(loaded=engine.id)
    other = f"name-{(turn + 2) % 3}"
    if other in store.names():
        version = min(store.names()[other].versions)
        report(moving=[other, version])
        store.point(other, version)
        report(moved=[other, version])
    if turn % 2:
        report(removing=engine.id)
        store.forget_engine(engine.id)
        store.delete_plan(engine)
        report(removed=engine.id)
"""


@pytest.mark.parametrize("round", range(8))
def test_acknowledged_changes_survive_and_the_rest_leave_nothing(tmp_path: Path, round: int) -> None:
    chance = random.Random(round)
    root = tmp_path / "store"
    acknowledged: set[int] = set()
    open_ended: set[int] = set()  # a change began whose outcome was not reported

    for life in range(3):
        churn = [sys.executable, "-c", CHURN, str(root), str(life)]
        with subprocess.Popen(churn, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            lines = [server.stdout.readline() for _ in range(chance.randrange(1, 40))]
            server.send_signal(signal.SIGKILL)  # the process ran on after that line, so this hits it anywhere
            lines += [line for line in server.stdout if line.endswith("\n")]
        for line in lines:
            ((event, id),) = json.loads(line).items()
            if event not in {"adding", "added", "removing", "removed"}:
                continue
            (open_ended.add if event in {"adding", "removing"} else open_ended.discard)(id)
            (acknowledged.add if event == "added" else acknowledged.discard)(id)

    store = Store(root)
    found = {engine.id: engine for engine in store.engines()}
    assert acknowledged <= set(found) <= acknowledged | open_ended
    for engine in found.values():
        store.check_plan(engine)
    plans = {file.name for file in (root / "plans").iterdir()}
    assert plans == {f"{engine.digest}.plan" for engine in found.values()}
    assert list((root / "incoming").iterdir()) == []
    assert all(known.current in known.versions for known in store.names().values())
    pointed = {id for name in store.names().values() for id in name.versions.values()}
    assert pointed == set(found)


BUILDS = """
import itertools, json, os, sys
from dataclasses import replace
from pathlib import Path
from tests.unit.stores import built, stage, with_plan
from trtserve.store.store import Store

def report(**what):
    print(json.dumps(what), flush=True)

store = Store(Path(sys.argv[1]))
for turn in itertools.count():
    model = stage(store, f"model {sys.argv[2]} {turn} ".encode() * 1000)
    engine = built(model)
    accepted = turn % 3 == 0
    report(**{"accepting" if accepted else "adding": engine.id})
    store.adopt(model, engine)
    if accepted:
        store.commit(engine, None)
        report(accepted=engine.id)
    engine = with_plan(store, engine, os.urandom(3000))
    store.commit(engine, f"name-{turn % 3}")
    report(added=engine.id)
    if turn % 2:
        report(rebuilding=engine.id)
        engine = with_plan(store, engine, os.urandom(3000), target="T 2")
        report(rebuilt=engine.id)
    if turn % 4 == 3:
        report(removing=engine.id)
        store.forget_engine(engine.id)
        store.delete_plan(engine)
        report(removed=engine.id)
"""


@pytest.mark.parametrize("round", range(8))
def test_an_accepted_build_survives_and_a_rebuild_leaves_the_old_plan_or_the_new_one(
    tmp_path: Path, round: int
) -> None:
    """Each life is killed anywhere between two steps: what was answered is there, whole, and nothing else."""
    chance = random.Random(round)
    root = tmp_path / "store"
    kept: set[int] = set()
    open_ended: set[int] = set()
    with_plans: set[int] = set()
    rebuilt: dict[int, set[str]] = {}  # the targets that its plan may have

    for life in range(3):
        churn = [sys.executable, "-c", BUILDS, str(root), str(life)]
        with subprocess.Popen(churn, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            lines = [server.stdout.readline() for _ in range(chance.randrange(1, 40))]
            server.send_signal(signal.SIGKILL)
            lines += [line for line in server.stdout if line.endswith("\n")]
        for line in lines:
            ((event, id),) = json.loads(line).items()
            match event:
                case "adding" | "accepting" | "removing":
                    open_ended.add(id)
                case "accepted" | "added" | "removed":
                    open_ended.discard(id)
                    (kept.discard if event == "removed" else kept.add)(id)
                case "rebuilding":
                    rebuilt[id] = {"T 1", "T 2"}
                case "rebuilt":
                    rebuilt[id] = {"T 2"}
            if event == "added":
                with_plans.add(id)
                rebuilt[id] = {"T 1"}

    store = Store(root)
    found = {engine.id: engine for engine in store.engines()}
    assert kept - open_ended <= set(found) <= kept | open_ended
    for id, engine in found.items():
        store.check_source(engine)
        assert engine.build is not None
        if engine.build.plan is not None:
            store.check_plan(engine)
            assert engine.build.target in rebuilt.get(id, {"T 1"})
        else:
            assert id not in with_plans
    plans = {store.plan_path(engine) for engine in found.values() if engine.build and engine.build.plan}
    models = {store.source_path(engine) for engine in found.values()}
    assert set((root / "built").iterdir()) == plans | models
    for folder in ("incoming", "plans", "pending"):
        assert list((root / folder).iterdir()) == []
    assert aside(root) == []


@pytest.mark.parametrize("round", range(8))
def test_unloads_loads_and_moves_survive(tmp_path: Path, round: int) -> None:
    """Each engine and name is in its last reported state, or in that of a change begun afterwards."""
    root = tmp_path / "store"
    churn = [sys.executable, "-c", CHURN, str(root), "0"]
    with subprocess.Popen(churn, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(random.Random(round).randrange(1, 120))]
        server.send_signal(signal.SIGKILL)
        lines += [line for line in server.stdout if line.endswith("\n")]
    unloaded: set[int] = set()
    current: dict[str, int] = {}
    began, what = "", None
    for line in lines:
        ((event, what),) = json.loads(line).items()
        began = event if event.endswith("ing") else ""
        if event == "unloaded":
            unloaded.add(what)
        elif event in {"loaded", "removed"}:
            unloaded.discard(what)
        elif event == "moved":
            current[what[0]] = what[1]
        elif event == "naming":
            current.pop(what, None)  # an addition moves the name to an unreported version

    store = Store(root)
    open_ended = {what} if began in {"unloading", "loading", "removing"} else set()
    assert unloaded - open_ended <= store.unloaded() <= unloaded | open_ended
    if began == "moving":
        current.pop(what[0], None)
    for name, version in current.items():
        assert store.names()[name].current == version
