"""The process that trials are forked from, when it drops them or cannot fork."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.plans.test_trial import ENGINE, HOST, Run, hanging, plan, process_trial
from tests.waiting import until
from trtserve.errors import Unavailable
from trtserve.plans.trial import Begun, TrialHost

pytestmark = pytest.mark.anyio

__all__ = ["plan"]


def dropping(starts: Path, trials: int) -> str:
    """A host that notes its start in a file. The first drops trials once it has as many, and goes on to take
    them: so does a process that is being killed, and closes what it has taken before its own socket.
    """
    return f"""
import os, socket, sys
from pathlib import Path
starts = Path({str(starts)!r})
first = not starts.exists()
with starts.open("a") as file:
    file.write(".")
if first:
    control = socket.socket(fileno=int(sys.argv[1]))
    taken = []
    while True:
        asked, sockets, _, _ = socket.recv_fds(control, 1, 2)
        if not asked:
            sys.exit()
        taken += sockets
        if len(taken) >= 2 * {trials}:
            while taken:
                os.close(taken.pop())
{HOST}"""


@contextmanager
def closing(begun: Begun) -> Iterator[Begun]:
    with begun.connection, begun.said:
        yield begun


@pytest.mark.parametrize("trials", [1, 3])
async def test_a_host_that_drops_trials_is_replaced_once_before_they_run_again(
    plan: Run, tmp_path: Path, trials: int
) -> None:
    starts = tmp_path / "starts"
    trial = process_trial(TrialHost(command=(sys.executable, "-c", dropping(starts, trials))))
    file = plan("")
    await asyncio.gather(*(trial(file, ENGINE) for _ in range(trials)))
    assert starts.read_text() == ".."
    await trial.close()


async def test_a_host_is_not_ended_for_what_the_one_before_did() -> None:
    host = TrialHost(command=(sys.executable, "-c", HOST))
    with closing(host.connect()) as first:
        host.end(first.host, "it lost a trial")
        with closing(host.connect()) as second:
            host.end(first.host, "it lost another")
            with closing(host.connect()) as third:
                assert first.host != second.host == third.host
    host.close()


UNABLE = HOST.replace(
    "trial.main()",
    """
fork = os.fork
def fork_if_able():
    if Path(os.environ["UNABLE"]).exists():
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return fork()
os.fork = fork_if_able
trial.main()
""",
)


async def test_a_host_that_cannot_fork_keeps_its_other_trials(
    plan: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unable, begun = tmp_path / "unable", tmp_path / "begun"
    monkeypatch.setenv("UNABLE", str(unable))
    trial = process_trial(TrialHost(command=(sys.executable, "-c", UNABLE)))
    hangs = asyncio.create_task(trial(plan(hanging(begun)), ENGINE))
    await until(begun.exists)
    child = begun.read_text()
    unable.touch()
    with pytest.raises(Unavailable, match="ran out of threads") as failed:
        await trial(plan(""), ENGINE)
    assert failed.value.retry_after is not None
    unable.unlink()
    await trial(plan(""), ENGINE)
    assert not hangs.done()
    assert begun.read_text() == child  # it was not begun again
    hangs.cancel()
    await asyncio.wait((hangs,))
    await trial.close()
