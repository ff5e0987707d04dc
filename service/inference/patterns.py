"""What requests say besides their data, found out once for all that are alike."""

from runtime_ext import Prepared, Runtime
from trtserve import codec
from trtserve.codec import Body, InferRequest, Selected, open_inference, raw
from trtserve.engines.engine import Resolved
from trtserve.errors import InvalidInput
from trtserve.inference.call import RequestHead
from trtserve.inference.example import example
from trtserve.inference.recent import Recent
from trtserve.inference.templates import Pattern, Template
from trtserve.options.batching import read_dims

DOCUMENT_BYTES = 4096  # of the JSON of a binary body whose template is kept
TEMPLATES = 4096  # kept of all heads together
PATTERNS = 4096  # likewise
PATTERN_TENSORS = 16  # inputs and outputs of a request whose pattern is kept


class Patterns:
    """Belongs to the event loop, except for read() of a document that is longer than DOCUMENT_BYTES."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.templates: Recent[tuple[RequestHead, bytes], Template] = Recent(TEMPLATES)  # by their documents
        self.patterns: Recent[tuple[RequestHead, object], Pattern] = Recent(PATTERNS)

    def read(
        self, head: RequestHead, resolved: Resolved, body: Body, header_length: int
    ) -> Template | InferRequest:
        """What is new in a body: a template if other requests may be like it, otherwise the one request."""
        if header_length < 0:
            return read_body(head, resolved, body)
        if header_length == 0:
            return head.form.complete(_raw(resolved, body))
        document, blobs = open_inference.split(body, str(header_length))
        try:
            described = open_inference.describe(document)
        except codec.Misshapen as failure:
            raise _with_example(failure, resolved) from None
        whole = described.all_blobs and not described.has_strings and sum(described.blob_bytes) == len(blobs)
        if whole and len(document) <= DOCUMENT_BYTES and not described.request.shared:
            return self._template(head, resolved, bytes(document), described)
        codec.check_datatypes(described.tensors, resolved.engine.loaded.inputs)
        return head.form.complete(described.bind(blobs))

    def _template(
        self, head: RequestHead, resolved: Resolved, document: bytes, described: open_inference.Described
    ) -> Template:
        request = head.form.complete(described.request)
        prepared, selected = self._prepare(resolved, request, described.tensors)
        template = Template(resolved, prepared, request, selected, coded=head.form.answer_coding is not None)
        if request.id is None and head.shared:  # an id belongs to one request and rarely repeats
            self.templates.put((head, document), template)
        return template

    def pattern(
        self, head: RequestHead, resolved: Resolved, request: InferRequest
    ) -> tuple[Prepared, Selected]:
        """The signature and the selected outputs of requests that differ from this only in their data."""
        key = (
            tuple([(name, datatype, *shape) for name, datatype, shape, _ in request.inputs]),
            request.outputs
            and tuple([(out.name, out.binary, out.region, out.classes) for out in request.outputs]),
            request.binary_outputs,
        )
        known = self.patterns.get((head, key))
        if known is not None and known.resolved is resolved:
            return known.prepared, known.selected
        tensors = [(name, datatype, shape) for name, datatype, shape, _ in request.inputs]
        prepared, selected = self._prepare(resolved, request, tensors)
        if head.shared and len(key[0]) + len(selected) <= PATTERN_TENSORS:
            self.patterns.put((head, key), Pattern(resolved, prepared, selected))
        return prepared, selected

    def _prepare(
        self, resolved: Resolved, request: InferRequest, tensors: list[tuple[str, str, list[int]]]
    ) -> tuple[Prepared, Selected]:
        info = resolved.engine.loaded
        selected = codec.select(request, info.outputs)
        codec.check_datatypes(tensors, info.inputs)
        return self._runtime.prepare(info.id, tensors, resolved.name or ""), selected


def read_body(head: RequestHead, resolved: Resolved, body: Body) -> InferRequest:
    """The request in a body; the error for a body of another form has an example. See codec.decode_body()."""
    try:
        return codec.decode_body(head.form, body)
    except codec.Misshapen as failure:
        raise _with_example(failure, resolved) from None


def _with_example(failure: codec.Misshapen, resolved: Resolved) -> InvalidInput:
    return InvalidInput(f"{failure} {example(resolved.engine.loaded.inputs)}")


def _raw(resolved: Resolved, body: Body) -> InferRequest:
    engine, options = resolved.engine, resolved.engine.stored.options
    specs = engine.loaded.inputs
    batch_dim = None
    # Nobody asked for automatic batches: a request may have several items as if there were none.
    if engine.most_items > 1 and not (options.leaves_open and raw.is_determined(specs)):
        batch_dim = read_dims(options.batch_dims).get(specs[0].name if specs else "", 0)
    return raw.decode(specs, batch_dim, body)
