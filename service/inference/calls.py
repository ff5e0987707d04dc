"""An inference request from its head and body to its answer, over any protocol.

Every request takes this path, so work that requests share is done once: what the JSON of a binary body says
is kept with its head (see Template). Then a request costs a look-up, a submit, and a look-up for its answer.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

from runtime_ext import Completion, CutDocument, GrpcMessage, Output, Runtime
from trtserve import codec
from trtserve.codec import Body, InferRequest, Selected, json_alike, json_large, open_inference
from trtserve.codec.request import Unread
from trtserve.engines.demand import NotResident
from trtserve.engines.engine import Resolved
from trtserve.engines.registry import Registry
from trtserve.errors import InvalidInput, NotFound, unknown_model
from trtserve.inference.call import HERE_BYTES, Answer, Call, Done, RequestHead
from trtserve.inference.completions import Completions
from trtserve.inference.inflight import InflightBytes, Share
from trtserve.inference.late import failure_of
from trtserve.inference.late_calls import LateCalls
from trtserve.inference.patterns import DOCUMENT_BYTES, Patterns, read_body
from trtserve.inference.shared_memory import Regions, check_outputs, input_bytes, read_inputs, write_outputs
from trtserve.inference.templates import JsonTemplates, Template
from trtserve.inference.with_classes import take_long, with_classes, with_classes_anywhere
from trtserve.settings import Settings
from trtserve.workers import CODINGS

__all__ = ["DOCUMENT_BYTES", "HERE_BYTES", "Inference", "RequestHead"]


class Inference(Patterns):
    """The ways of a request to the queue, and of its answer back. Belongs to the event loop."""

    def __init__(
        self,
        settings: Settings,
        runtime: Runtime,
        registry: Registry,
        completions: Completions,
        *,
        inflight: InflightBytes,
        shared_memory: Regions,
    ) -> None:
        super().__init__(runtime)
        self._registry = registry
        self._demand = registry.demand
        self._completions = completions
        self._inflight = inflight  # of inputs that are created; the owner of the body counts the body
        self._shared_memory = shared_memory
        self._json = JsonTemplates()
        self._limit = settings.max_request_bytes
        limit_s = settings.request_timeout_s
        self._timeout_ns = None if limit_s is None else int(min(limit_s * 1e9, codec.LONGEST_NS))
        self._late = LateCalls(registry, self._timeout_ns)

    def check(self, head: RequestHead, length: int, header_length: int | None = None) -> None:
        """Raise the error for a request that can be refused before its body of `length` bytes arrives.

        `header_length`: see start().
        """
        try:
            engine = self.ready(head.ref, head.version, head.of_model).engine
        except NotResident:
            return
        written = head.header_length if header_length is None else header_length
        if written < 0:
            return
        blobs, most = length - written, engine.most_input_bytes
        if most is not None and blobs > most:
            raise InvalidInput(
                f"The request has {blobs} bytes of tensors behind its JSON; all inputs of engine {engine} "
                f"together take at most {most}."
            )

    def ready(self, ref: str, version: str | None, of_model: bool) -> Resolved:
        """The engine that accepts requests for this reference. Raises the error they are refused with.

        A NotResident is no refusal: such a request waits until the engine is loaded.
        """
        try:
            return self._registry.ready(ref, version)
        except NotFound as missing:
            if of_model:
                raise unknown_model(missing) from None
            raise

    def start(
        self,
        head: RequestHead,
        body: Body,
        offset: int,
        done: Done,
        *,
        header_length: int | None = None,
        timeout_ns: int | None = None,
    ) -> Call:
        """Submit the request whose body is `body` from `offset` on; `done` gets its completion.

        `header_length`, `timeout_ns`: the request's own, instead of those of a head that it shares with
        requests that have others. Raises the error that the request is refused with.
        """
        written = head.header_length if header_length is None else header_length
        try:
            resolved = self.ready(head.ref, head.version, head.of_model)
        except NotResident:
            rest = memoryview(body)[offset:] if offset else body
            return self._start_late(
                head, rest, done, share=None, header_length=header_length, timeout_ns=timeout_ns
            )
        if head.json_key:
            rest = memoryview(body)[offset:] if offset else body
            return self._start_json(head, resolved, rest, done, timeout_ns)
        end = offset + written
        template = None
        if 0 < written <= DOCUMENT_BYTES and end <= len(body):
            template = self.templates.get((head, bytes(body[offset:end])))
        if template is None or template.resolved is not resolved:
            read = self.read(head, resolved, memoryview(body)[offset:] if offset else body, written)
            if not isinstance(read, Template):
                limit_ns = self._limit_ns(read, timeout_ns)
                return self._submit(head, resolved, read, limit_ns, done)
            template = read
        request = template.request
        limit_ns = self._limit_ns(request, timeout_ns)
        ticket = self._runtime.submit(template.prepared, body, end, limit_ns, request.priority)
        self._expect_done(ticket, done)
        return Call(resolved, ticket, request, template.selected, template)

    def _expect_done(self, ticket: int, done: Done) -> None:
        self._demand.accepted += 1
        self._completions.expect(ticket, done)

    def _limit_ns(self, request: InferRequest, own: int | None) -> int | None:
        """How long the request may take: its own time, if its head gave one (0: no limit of its own)."""
        return (request.timeout_ns if own is None else own) or self._timeout_ns

    def _start_json(
        self, head: RequestHead, resolved: Resolved, body: Body, done: Done, timeout_ns: int | None
    ) -> Call:
        """Submit a request in JSON. If it is like earlier ones, only its numbers are read."""
        cut = json_alike.cut(body, 0)
        if cut is not None:
            key = (head.json_key, cut.rest)
            known = self._json.get(key)
            if isinstance(known, Template) and known.resolved is resolved:
                call = self._submit_alike(known, cut, len(body), done, timeout_ns)
                if call is not None:
                    return call
        request = read_body(head, resolved, body)
        limit_ns = self._limit_ns(request, timeout_ns)
        call = self._submit(head, resolved, request, limit_ns, done)
        if cut is not None and not request.shared:
            coded = head.form.answer_coding is not None
            find = partial(self.pattern, head, resolved, request)
            self._json.learn(key, resolved, request, coded, find)
        return call

    def _submit_alike(
        self, template: Template, cut: CutDocument, length: int, done: Done, timeout_ns: int | None
    ) -> Call | None:
        """Submit a request of this template; None, if its lists are not its tensors."""
        layout = template.layout
        assert layout is not None, "a template of JSON"
        made = layout.nbytes if length >= json_large.LEAST_BYTES else 0
        if made:
            self._inflight.take(made)
        try:
            data = cut.read(layout)
            if data is None:
                self._inflight.give_back(made)
                return None
            request = template.request
            limit_ns = self._limit_ns(request, timeout_ns)
            ticket = self._runtime.submit(template.prepared, data, 0, limit_ns, request.priority)
        except BaseException:
            self._inflight.give_back(made)
            raise
        if (id := cut.id) is not None:
            request = request.again(id)
        return self._expect(Call(template.resolved, ticket, request, template.selected, template, made), done)

    def start_request(
        self, head: RequestHead, request: InferRequest, left_ns: int | None, done: Done
    ) -> Call:
        """Submit a decoded request; `done` gets its completion. Raises the error that it is refused with.

        `left_ns`: nanoseconds until the client stops waiting, whatever the request's own time is.
        """
        times = (request.timeout_ns or self._timeout_ns, left_ns)
        timeout_ns = min((time for time in times if time is not None), default=None)
        try:
            resolved = self.ready(head.ref, head.version, head.of_model)
        except NotResident:

            async def limit() -> int | None:
                return timeout_ns

            async def begin(left_ns: int | None) -> Call:
                return self.start_request(head, request, left_ns, done)

            return self._late.start(head, limit, begin, done)
        return self._submit(head, resolved, request, timeout_ns, done)

    def known(self, head: RequestHead, request: InferRequest) -> Template | None:
        """What requests share that differ from a decoded one only in their id and the data of their inputs.

        None if requests like it cannot be taken from their message: an input is not a buffer there, or an
        output does not go into the answer. None too while the engine is not resident.
        """
        if request.shared or any(isinstance(data, Unread) for *_, data in request.inputs):
            return None
        try:
            resolved = self.ready(head.ref, head.version, head.of_model)
        except NotResident:
            return None
        prepared, selected = self.pattern(head, resolved, request)
        without_data = replace(request, inputs=[], id=None)
        template = Template(resolved, prepared, without_data, selected, coded=False)
        return template if template.alike else None

    def start_known(
        self, head: RequestHead, template: Template, message: GrpcMessage, left_ns: int | None, done: Done
    ) -> Call | None:
        """Submit the request in a message that is like the template's; `done` gets its completion.

        None if the template's engine is no longer the one. Raises the error that the request is refused with.
        """
        resolved = template.resolved
        try:
            if self.ready(head.ref, head.version, head.of_model) is not resolved:
                return None
        except NotResident:
            return None
        request = template.request
        timeout_ns = request.timeout_ns or self._timeout_ns
        if left_ns is not None and (timeout_ns is None or left_ns < timeout_ns):
            timeout_ns = left_ns
        ticket = self._runtime.submit_message(template.prepared, message, timeout_ns, request.priority)
        self._expect_done(ticket, done)
        return Call(resolved, ticket, request, template.selected, template)

    async def start_long(
        self,
        head: RequestHead,
        body: Body,
        done: Done,
        share: Share | None,
        *,
        header_length: int | None = None,
        timeout_ns: int | None = None,
    ) -> Call:
        """Like start(), for a body that may hold long tensors written as text: a thread reads those.

        None for `share`: the body is no longer than that of a request that start() takes.
        """
        written = head.header_length if header_length is None else header_length
        try:
            resolved = self.ready(head.ref, head.version, head.of_model)
        except NotResident:
            return self._start_late(
                head, body, done, share=share, header_length=header_length, timeout_ns=timeout_ns
            )
        if share is None or written in range(DOCUMENT_BYTES + 1):
            return self.start(head, body, 0, done, header_length=header_length, timeout_ns=timeout_ns)
        if len(body) > HERE_BYTES:
            read = await CODINGS.run(self.read, head, resolved, body, head.header_length)
        else:
            read = self.read(head, resolved, body, head.header_length)
        assert not isinstance(read, Template), "a longer document has none"
        await self.read_long(head, read, share)
        return self.start_request(head, read, timeout_ns or None, done)

    def _start_late(
        self,
        head: RequestHead,
        body: Body,
        done: Done,
        *,
        share: Share | None,
        header_length: int | None,
        timeout_ns: int | None,
    ) -> Call:
        """A call that start_long() begins once its engine is resident."""
        written = head.header_length if header_length is None else header_length
        return self._late.start(
            head,
            partial(self._late.limit_of, head, body, written, timeout_ns),
            lambda left_ns: self.start_long(
                head, body, done, share, header_length=header_length, timeout_ns=left_ns or timeout_ns
            ),
            done,
        )

    async def read_long(self, head: RequestHead, request: InferRequest, share: Share) -> None:
        """Read the inputs of a request that are long as text, in a thread.

        `share` grows with them. Raises the error that the request is refused with, if possible before that.
        """
        if request.unread_bytes() <= HERE_BYTES:
            return
        with suppress(NotResident):
            self.pattern(head, self.ready(head.ref, head.version, head.of_model), request)
        share.grow_to(share.size + request.read_bytes())
        for number, (name, datatype, shape, data) in enumerate(request.inputs):
            if isinstance(data, Unread):
                read = await CODINGS.run(data.read, name, datatype, shape)
                request.inputs[number] = (name, datatype, shape, read)

    def abandon(self, call: Call) -> None:
        """Forget the call: its client no longer waits for the answer."""
        if call.late is not None:
            call.late.cancel()
            return
        if self._completions.forget(call.engine_id, call.ticket):
            self._inflight.give_back(call.made)

    def _submit(
        self, head: RequestHead, resolved: Resolved, request: InferRequest, timeout_ns: int | None, done: Done
    ) -> Call:
        """Submit a request that has no template."""
        prepared, selected = self.pattern(head, resolved, request)
        made = self._take_room(resolved, request, selected) if request.makes_inputs else 0
        try:
            data = read_inputs(self._shared_memory, request)
            ticket = self._runtime.submit(prepared, data, 0, timeout_ns, request.priority)
        except BaseException:
            self._inflight.give_back(made)
            raise
        return self._expect(Call(resolved, ticket, request, selected, None, made), done)

    def _expect(self, call: Call, done: Done) -> Call:
        def ended(completion: Completion) -> None:
            self._inflight.give_back(call.made)
            done(completion)

        self._expect_done(call.ticket, ended if call.made else done)
        return call

    def _take_room(self, resolved: Resolved, request: InferRequest, selected: Selected) -> int:
        """Count the bytes of inputs outside the body, once the outputs are known to fit shared memory."""
        check_outputs(self._shared_memory, selected, resolved.engine.loaded.outputs)
        made = input_bytes(request, self._limit) + request.read_bytes()
        self._inflight.take(made)
        return made

    def outputs(self, call: Call, completion: Completion) -> list[Output]:
        """All outputs of the engine, after writing those that go into shared memory.

        Raises the error that the request ended with.
        """
        if completion.kind is not None:
            raise failure_of(completion)
        outputs = completion.outputs
        if call.request.shared:
            write_outputs(self._shared_memory, call.selected, outputs)
        return outputs

    def answer(self, call: Call, completion: Completion) -> Answer | None:
        """The answer; None if it takes so long to write that answer_long() must.

        Raises the error that the request ended with.
        """
        if completion.kind is not None:
            raise failure_of(completion)
        if call.template is not None and call.template.as_json:
            written = call.template.written(completion, call.request.id)
            return None if written is None else ([*written], open_inference.JSON_HEADERS)
        # The whole batch's outputs are at least as large as this one's, and quick to check.
        may_be_long = completion.memory[1] > codec.LONG_STRINGS or call.request.classified
        if may_be_long and take_long(call, completion.outputs):
            return None
        return self._answer(call, with_classes(call, self.outputs(call, completion)), codec.NOTHING)

    async def answer_long(self, call: Call, completion: Completion) -> Answer:
        """Like answer(), but does long work in a thread."""
        outputs = await with_classes_anywhere(call, self.outputs(call, completion))
        written = {
            name: await CODINGS.run(codec.write, name, datatype, data)
            for name, datatype, data in codec.long_to_write(call.request, outputs, call.selected)
        }
        return self._answer(call, outputs, written)

    def _answer(self, call: Call, outputs: list[Output], written: Mapping[str, bytes]) -> Answer:
        return codec.encode_parts(
            call.request,
            outputs,
            call.selected,
            model_name=call.resolved.model_name,
            model_version=call.resolved.model_version,
            written=written,
        )
