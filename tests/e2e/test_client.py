"""The client to import, against a server process."""

import asyncio
from pathlib import Path

import numpy as np
import torch

from tests.e2e.server import Server
from trtserve.client import AsyncClient, Client


def test_a_model_is_served_to_both_clients(server: Server, plan: bytes, tmp_path: Path) -> None:
    model = tmp_path / "doubling.onnx"
    model.write_bytes(plan)
    url = str(server.client.base_url)
    x = np.ones((2, 4), np.float32)
    sent: list[int] = []
    with Client(url) as client:
        engine = client.add(model, name="net", max_batch_size=8, progress=lambda done, _: sent.append(done))
        assert (engine["state"], sent[-1]) == ("READY", len(plan))
        np.testing.assert_array_equal(client.infer("net", x=x)["y"], 2 * x)

    async def ask() -> list[dict[str, torch.Tensor]]:
        async with AsyncClient(url) as client:
            return await asyncio.gather(*[client.infer("net", x=torch.from_numpy(x)) for _ in range(8)])

    for outputs in asyncio.run(ask()):
        np.testing.assert_array_equal(outputs["y"].numpy(), 2 * x)
