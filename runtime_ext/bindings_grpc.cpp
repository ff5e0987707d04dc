#include "bindings_grpc.h"

#include <optional>

#include <pybind11/stl.h>

#include "core/error.h"
#ifdef TRTSERVE_GRPC_SESSION
#include "grpc/session.h"
#endif

namespace py = pybind11;

namespace trtserve {

namespace {

using namespace pybind11::literals;

/// Holds the message that a request's inputs are in. May be destroyed by any thread.
struct MessageOwner final : InputOwner {
  explicit MessageOwner(std::shared_ptr<const GrpcMessage> held) : message(std::move(held)) {}
  std::shared_ptr<const GrpcMessage> message;
};

py::bytes to_bytes(std::string_view bytes) { return {bytes.data(), bytes.size()}; }

void bind_message(py::module_& module) {
  py::class_<GrpcMessage, std::shared_ptr<GrpcMessage>>(module, "GrpcMessage", py::buffer_protocol())
      .def("__len__", &GrpcMessage::size)
      .def_property_readonly("compressed", &GrpcMessage::compressed)
      .def_property_readonly("key", [](const GrpcMessage& message) { return to_bytes(message.key()); })
      .def_property_readonly("id", [](const GrpcMessage& message) { return to_bytes(message.id()); })
      .def_buffer([](const GrpcMessage& message) {
        // Read-only: the const_cast only satisfies buffer_info.
        auto* data = reinterpret_cast<uint8_t*>(const_cast<char*>(message.bytes().data()));
        return py::buffer_info(data, static_cast<py::ssize_t>(message.size()), /*readonly=*/true);
      });
}

#ifdef TRTSERVE_GRPC_SESSION

constexpr size_t kShort = 16'384;  // bytes of output, up to which a copy costs less than a buffer

/// A buffer of Python's that is kept without a copy. Created and destroyed with the GIL.
struct Held {
  explicit Held(py::handle object) {
    if (PyObject_GetBuffer(object.ptr(), &buffer, PyBUF_C_CONTIGUOUS) != 0) throw py::error_already_set();
  }
  ~Held() { PyBuffer_Release(&buffer); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  std::string_view bytes() const { return {static_cast<const char*>(buffer.buf), static_cast<size_t>(buffer.len)}; }

  Py_buffer buffer{};
};

/// Output for a connection, through the buffer protocol.
struct GrpcOutput {
  std::string bytes;
};

py::object told(const GrpcSession& session, int32_t call) {
  const auto* values = session.told(call);
  if (values == nullptr) return py::none();
  py::tuple given(values->size());
  for (size_t i = 0; i < values->size(); ++i) {
    const auto& value = values->at(i);
    given[i] = value ? py::object(to_bytes(*value)) : py::none();
  }
  return given;
}

py::object to_object(const GrpcSession& session, GrpcEvent& event) {
  py::object payload = py::none();
  switch (event.kind) {
    case GrpcEvent::Opened:
      payload = py::reinterpret_steal<py::object>(
          PyUnicode_DecodeLatin1(event.text.data(), static_cast<py::ssize_t>(event.text.size()), nullptr));
      break;
    case GrpcEvent::Message:
    case GrpcEvent::Infer:
      payload = py::cast(std::move(event.message));
      break;
    case GrpcEvent::InferTold:
      payload = py::make_tuple(std::move(event.message), told(session, event.call));
      break;
    case GrpcEvent::TooLarge:
      payload = py::int_(event.number);
      break;
    case GrpcEvent::Malformed:
      payload = py::str(event.text);
      break;
    default:
      break;
  }
  py::object deadline = event.deadline_ns ? py::object(py::int_(*event.deadline_ns)) : py::none();
  return py::make_tuple(static_cast<int>(event.kind), event.call, std::move(payload), std::move(deadline));
}

py::list take_events(GrpcSession& session) {
  auto events = session.take_events();
  py::list taken(events.size());
  for (size_t i = 0; i < events.size(); ++i) taken[i] = to_object(session, events[i]);
  return taken;
}

py::list receive(GrpcSession& session, py::handle buffer, size_t size, int64_t now_ns) {
  const Held held(buffer);
  if (size > held.bytes().size()) throw py::value_error("the buffer has fewer bytes");
  session.receive(held.bytes().substr(0, size), now_ns);
  return take_events(session);
}

bool send(GrpcSession& session, int32_t call, const py::sequence& parts) {
  GrpcOutgoing message;
  for (const auto part : parts) {
    auto held = std::make_shared<const Held>(part);
    message.keep(held->bytes(), held);
  }
  return session.send(call, std::move(message));
}

bool answer(GrpcSession& session, int32_t call, py::handle head, const GrpcMessage& message,
            const Completion& completion, const std::vector<size_t>& outputs, bool in_stream) {
  auto answer = infer_answer(Held(head).bytes(), message.id(), completion, outputs, in_stream);
  return session.send(call, std::move(answer));
}

py::object output(GrpcSession& session, size_t most) {
  auto put_out = std::make_unique<GrpcOutput>();
  session.output(put_out->bytes, most);
  if (put_out->bytes.size() <= kShort) return to_bytes(put_out->bytes);
  return py::memoryview(py::cast(std::move(put_out)));
}

void bind_session(py::module_& module) {
  py::class_<GrpcOutput>(module, "GrpcOutput", py::buffer_protocol()).def_buffer([](GrpcOutput& output) {
    auto* data = reinterpret_cast<uint8_t*>(output.bytes.data());
    return py::buffer_info(data, static_cast<py::ssize_t>(output.bytes.size()), /*readonly=*/true);
  });
  py::class_<GrpcSession>(module, "GrpcSession")
      .def(py::init([](size_t message_bytes, size_t in_progress, uint32_t calls, int64_t ping_interval_ns,
                       int ping_strikes, bool tell_all, std::vector<std::string> told) {
             return std::make_unique<GrpcSession>(GrpcLimits{message_bytes, in_progress, calls, ping_interval_ns,
                                                             ping_strikes, tell_all, std::move(told)});
           }),
           py::kw_only(), "message_bytes"_a, "in_progress"_a, "calls"_a, "ping_interval_ns"_a, "ping_strikes"_a,
           "tell_all"_a = false, "told"_a = std::vector<std::string>())
      .def("receive", &receive, "buffer"_a, "size"_a, "now_ns"_a)
      .def("events", &take_events)
      .def_property_readonly("held", &GrpcSession::held)
      .def_property_readonly("latest", &GrpcSession::latest)
      .def_property_readonly("latest_size", &GrpcSession::latest_size)
      .def_property_readonly("has_events", &GrpcSession::has_events)
      .def(
          "coding",
          [](const GrpcSession& session, int32_t call) {
            return py::str(to_bytes(session.coding(call)).attr("decode")("latin-1"));
          },
          "call"_a)
      .def(
          "authorization",
          [](const GrpcSession& session, int32_t call) -> py::object {
            const auto value = session.authorization(call);
            return value ? py::object(to_bytes(*value)) : py::none();
          },
          "call"_a)
      .def("told", &told, "call"_a)
      .def("expecting", &GrpcSession::expecting)
      .def("overdue", &GrpcSession::overdue, "now_ns"_a)
      .def_property_readonly("calls", &GrpcSession::calls)
      .def_property_readonly("settled", &GrpcSession::settled)
      .def_property_readonly("pings_acknowledged", &GrpcSession::pings_acknowledged)
      .def_property_readonly("ended", &GrpcSession::ended)
      .def("send", &send, "call"_a, "parts"_a)
      .def("answer", &answer, "call"_a, "head"_a, "message"_a, "completion"_a, "outputs"_a, "in_stream"_a)
      .def(
          "finish",
          [](GrpcSession& session, int32_t call, int code, std::string sentence,
             std::vector<std::pair<std::string, std::string>> metadata) {
            session.finish(call, {code, std::move(sentence), std::move(metadata)});
          },
          "call"_a, "code"_a = 0, "sentence"_a = "", "metadata"_a = std::vector<std::pair<std::string, std::string>>())
      .def("ignore", &GrpcSession::ignore, "call"_a)
      .def("skip", &GrpcSession::skip, "call"_a)
      .def("reset", &GrpcSession::reset, "call"_a)
      .def("ping", &GrpcSession::ping)
      .def("notice", &GrpcSession::notice)
      .def("go_away", &GrpcSession::go_away, "error"_a, "reason"_a)
      .def("end", &GrpcSession::end, "error"_a, "reason"_a, "sentence"_a)
      .def("output", &output, "most"_a)
      .def("sent", &GrpcSession::take_sent)
      .def("answered", &GrpcSession::take_answered);
}

#endif

}  // namespace

Request make_request(const Prepared& prepared, std::shared_ptr<const GrpcMessage> message) {
  const auto& signature = *prepared.signature;
  const auto& raw = message->raw();
  if (raw.size() != signature.positions.size()) {
    fail(Kind::InvalidInput, "the request has ", raw.size(), " buffers for ", signature.positions.size(), " inputs");
  }
  Request request;
  request.signature = prepared.signature;
  request.data.resize(signature.inputs.size());
  for (size_t i = 0; i < raw.size(); ++i) {
    signature.inputs[signature.positions[i]].check_data(raw[i].data(), raw[i].size());
    request.data[signature.positions[i]].memory = raw[i].data();
  }
  request.owner = std::make_unique<MessageOwner>(std::move(message));
  return request;
}

void bind_grpc(py::module_& module) {
  bind_message(module);
#ifdef TRTSERVE_GRPC_SESSION
  bind_session(module);
#endif
}

}  // namespace trtserve
