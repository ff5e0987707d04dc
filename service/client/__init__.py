"""A client to import: `from trtserve.client import Client`.

It runs in programs that have nothing else of trtserve's, so it imports no torch, no runtime, and nothing of
the server except its errors. Only a program that gives it torch's tensors needs torch.
"""

from trtserve.client.asynchronous import AsyncClient
from trtserve.client.errors import NoAnswer
from trtserve.client.synchronous import Client

__all__ = ["AsyncClient", "Client", "NoAnswer"]
