"""The request heads of gRPC: the name and the version of a model."""

from trtserve.codec import BodyForm, Form
from trtserve.inference.call import RequestHead
from trtserve.inference.recent import Recent

FORM = BodyForm(Form.PROTOCOL, None, None, None)
MOST = 1024  # kept
CHARACTERS = 256  # of the name and the version of one that is kept


class RequestHeads:
    """Belongs to the event loop. It keeps a bounded number and size, whatever clients send."""

    def __init__(self) -> None:
        self._heads: Recent[tuple[str, str], RequestHead] = Recent(MOST)

    def of(self, name: str, version: str) -> RequestHead:
        """The head; `version` is empty for the current one."""
        head = self._heads.get((name, version))
        if head is None:
            head = RequestHead.of(name, version or None, FORM, of_model=True)
            if len(name) + len(version) <= CHARACTERS:
                self._heads.put((name, version), head)
        return head
