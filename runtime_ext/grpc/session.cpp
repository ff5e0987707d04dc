// Above 400 lines: nghttp2 calls back into one object for all that happens on a connection.

#ifdef TRTSERVE_GRPC_SESSION  // the build has nghttp2; lint reads this file in any case

#include "grpc/session.h"

#include <algorithm>
#include <array>
#include <limits>

#include "core/error.h"

namespace trtserve {

namespace {

constexpr uint32_t kCallWindow = 4 << 20;        // bytes that a call may send before they are read
constexpr int32_t kConnectionWindow = 16 << 20;  // likewise for all calls of a connection
constexpr uint32_t kMostFrameBytes = 1 << 20;    // of DATA, in both directions
constexpr size_t kLong = 16'384;                 // bytes of output, for which memory is reserved
constexpr uint32_t kMostHeadBytes = 16'384;      // announced; GrpcHead holds it
constexpr size_t kMostUseless = 10'000;          // frames in a row
constexpr uint64_t kResetBurst = 10'000;         // calls that a client may reset at once,
constexpr uint64_t kResetRate = 1'000;           // and then in a second
constexpr size_t kMostContinuations = 8;

constexpr std::string_view kModelInfer = "/inference.GRPCInferenceService/ModelInfer";
constexpr std::string_view kModelStreamInfer = "/inference.GRPCInferenceService/ModelStreamInfer";
constexpr std::string_view kContentType = "application/grpc";

constexpr uint8_t kNoCopy = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;

// nghttp2 does not write to these, but takes pointers to bytes that are not const.
uint8_t* bytes_of(std::string_view text) { return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data())); }

nghttp2_nv header(std::string_view name, std::string_view value, uint8_t flags = NGHTTP2_NV_FLAG_NONE) {
  return {bytes_of(name), bytes_of(value), name.size(), value.size(), flags};
}

const std::array kResponse = {header(":status", "200", kNoCopy), header("content-type", kContentType, kNoCopy),
                              header("grpc-accept-encoding", "identity, deflate, gzip", kNoCopy)};

std::string_view text_of(const uint8_t* bytes, size_t size) { return {reinterpret_cast<const char*>(bytes), size}; }

/// As gRPC writes a sentence into a header: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses
std::string percent_encoded(std::string_view sentence) {
  static constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(sentence.size());
  for (const char c : sentence) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte <= 0x7E && c != '%') {
      encoded += c;
    } else {
      encoded += '%';
      encoded += kDigits[byte >> 4];
      encoded += kDigits[byte & 0xF];
    }
  }
  return encoded;
}

bool is_grpc(std::string_view content_type) {
  if (content_type.substr(0, kContentType.size()) != kContentType) return false;
  const auto rest = content_type.substr(kContentType.size());
  return rest.empty() || rest.front() == '+' || rest.front() == ';';
}

}  // namespace

/// The callbacks of nghttp2, which is C: no exception leaves them. One that fails ends the connection.
struct GrpcCallbacks {
  template <typename Act>
  static int guarded(Act&& act) noexcept {
    try {
      return act();
    } catch (const std::exception&) {
      return NGHTTP2_ERR_CALLBACK_FAILURE;  // no memory is left, for the most part
    }
  }
  static GrpcSession& of(void* user) { return *static_cast<GrpcSession*>(user); }

  static int on_begin_frame(nghttp2_session*, const nghttp2_frame_hd* head, void* user) {
    const bool brings = (head->type == NGHTTP2_DATA && head->length > 0) || head->type == NGHTTP2_HEADERS;
    if (!brings) of(user).useless();
    return 0;
  }
  static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    return guarded([&] {
      const auto id = frame->hd.stream_id;
      if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) of(user).calls_.emplace(id, std::make_unique<GrpcCall>(id));
      return 0;
    });
  }
  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                       const uint8_t* value, size_t value_size, uint8_t, void* user) {
    return guarded([&] {
      auto* call = of(user).find(frame->hd.stream_id);
      if (call == nullptr || call->headed) return 0;  // trailers say nothing of a request
      const bool fits = call->head.take(text_of(name, name_size), text_of(value, value_size), of(user).limits_.told);
      return fits ? 0 : static_cast<int>(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE);
    });
  }
  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    return guarded([&] {
      of(user).came(*frame);
      return 0;
    });
  }
  static int on_data(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* bytes, size_t size, void* user) {
    return guarded([&] {
      nghttp2_session_consume_connection(session, size);
      if (auto* call = of(user).find(id)) of(user).data(*call, text_of(bytes, size));
      return 0;
    });
  }
  static int on_close(nghttp2_session*, int32_t id, uint32_t error, void* user) {
    return guarded([&] {
      of(user).closed(id, error);
      return 0;
    });
  }
  static int on_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    auto& self = of(user);
    self.answered_ = true;
    self.pinged_ns_.reset();
    self.strikes_ = 0;
    const auto* call = self.find(frame->hd.stream_id);
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && call != nullptr && !call->half_closed) {
      // The answer is whole, and what the client still sends is not wanted.
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    }
    return 0;
  }
  static ssize_t next_data(nghttp2_session*, int32_t, uint8_t*, size_t length, uint32_t* flags,
                           nghttp2_data_source* source, void* user) {
    ssize_t taken = NGHTTP2_ERR_CALLBACK_FAILURE;
    guarded([&] {
      taken = of(user).next_data(*static_cast<GrpcCall*>(source->ptr), length, *flags);
      return 0;
    });
    return taken;
  }
  static int put_data(nghttp2_session*, nghttp2_frame*, const uint8_t* head, size_t length, nghttp2_data_source* source,
                      void* user) {
    return guarded([&] {
      auto& self = of(user);
      if (self.out_->size() >= self.most_) return static_cast<int>(NGHTTP2_ERR_WOULDBLOCK);
      self.put_data(*static_cast<GrpcCall*>(source->ptr), head, length);
      return 0;
    });
  }
  static ssize_t data_length(nghttp2_session*, uint8_t, int32_t, int32_t session_window, int32_t stream_window,
                             uint32_t most_frame, void*) {
    return std::min({static_cast<ssize_t>(session_window), static_cast<ssize_t>(stream_window),
                     static_cast<ssize_t>(std::min(most_frame, kMostFrameBytes))});
  }
};

namespace {

/// What every session needs: made once, and never changed.
class Shared {
 public:
  Shared() {
    nghttp2_session_callbacks* made = nullptr;
    if (nghttp2_session_callbacks_new(&made) != 0) throw std::bad_alloc();
    callbacks_.reset(made);
    nghttp2_session_callbacks_set_on_begin_frame_callback(made, GrpcCallbacks::on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(made, GrpcCallbacks::on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(made, GrpcCallbacks::on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(made, GrpcCallbacks::on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, GrpcCallbacks::on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(made, GrpcCallbacks::on_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(made, GrpcCallbacks::on_sent);
    nghttp2_session_callbacks_set_send_data_callback(made, GrpcCallbacks::put_data);
    nghttp2_session_callbacks_set_data_source_read_length_callback(made, GrpcCallbacks::data_length);
    nghttp2_option* options = nullptr;
    if (nghttp2_option_new(&options) != 0) throw std::bad_alloc();
    options_.reset(options);
    nghttp2_option_set_no_auto_window_update(options, 1);
    nghttp2_option_set_no_closed_streams(options, 1);
    nghttp2_option_set_stream_reset_rate_limit(options, kResetBurst, kResetRate);
    nghttp2_option_set_max_continuations(options, kMostContinuations);
  }
  const nghttp2_session_callbacks* callbacks() const { return callbacks_.get(); }
  const nghttp2_option* options() const { return options_.get(); }

 private:
  struct Delete {
    void operator()(nghttp2_session_callbacks* callbacks) const { nghttp2_session_callbacks_del(callbacks); }
    void operator()(nghttp2_option* options) const { nghttp2_option_del(options); }
  };
  std::unique_ptr<nghttp2_session_callbacks, Delete> callbacks_;
  std::unique_ptr<nghttp2_option, Delete> options_;
};

/// Fails where nghttp2 reports that no memory is left; its other faults concern calls that no longer exist.
void check(int result) {
  if (result == NGHTTP2_ERR_NOMEM) throw std::bad_alloc();
}

}  // namespace

GrpcSession::GrpcSession(const GrpcLimits& limits) : limits_(limits) {
  if (limits_.told.size() > GrpcHead::kMostTold) {
    fail(Kind::InvalidInput, "there are more than ", GrpcHead::kMostTold, " names of headers to tell");
  }
  static const Shared shared;
  nghttp2_session* made = nullptr;
  check(nghttp2_session_server_new2(&made, shared.callbacks(), this, shared.options()));
  session_.reset(made);
  const std::array settings = {
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.calls},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kCallWindow},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_FRAME_SIZE, kMostFrameBytes},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kMostHeadBytes},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  };
  check(nghttp2_submit_settings(made, NGHTTP2_FLAG_NONE, settings.data(), settings.size()));
  check(nghttp2_session_set_local_window_size(made, NGHTTP2_FLAG_NONE, 0, kConnectionWindow));
}

GrpcCall* GrpcSession::find(int32_t id) const {
  const auto found = calls_.find(id);
  return found == calls_.end() ? nullptr : found->second.get();
}

// -- in

void GrpcSession::receive(std::string_view bytes, int64_t now_ns) {
  if (ended_) return;
  now_ns_ = now_ns;
  const auto taken = nghttp2_session_mem_recv(session_.get(), bytes_of(bytes), bytes.size());
  if (taken < 0) ended_ = true;
}

bool GrpcSession::ended() const {
  return ended_ || (nghttp2_session_want_read(session_.get()) == 0 && nghttp2_session_want_write(session_.get()) == 0);
}

std::string GrpcSession::coding(int32_t call) const {
  const auto* found = find(call);
  return found == nullptr ? "" : found->head.coding;
}

std::optional<std::string> GrpcSession::authorization(int32_t call) const {
  const auto* found = find(call);
  return found == nullptr ? std::nullopt : found->head.authorization;
}

const decltype(GrpcHead::told)* GrpcSession::told(int32_t call) const {
  const auto* found = find(call);
  return found == nullptr || !found->head.tells ? nullptr : &found->head.told;
}

size_t GrpcSession::latest_size() const {
  const auto* found = find(latest_);
  return found == nullptr || !found->message ? 0 : found->message->size();
}

std::vector<std::pair<int32_t, uint64_t>> GrpcSession::expecting() const {
  std::vector<std::pair<int32_t, uint64_t>> expecting;
  for (const auto& [id, call] : calls_) {
    if (call->expects()) expecting.emplace_back(id, call->received);
  }
  return expecting;
}

std::vector<int32_t> GrpcSession::overdue(int64_t now_ns) const {
  std::vector<int32_t> overdue;
  for (const auto& [id, call] : calls_) {
    if (call->deadline_ns && *call->deadline_ns <= now_ns && !call->status) overdue.push_back(id);
  }
  return overdue;
}

void GrpcSession::tell(GrpcCall& call, GrpcEvent event) {
  call.told = true;
  event.call = call.id;
  event.deadline_ns = call.deadline_ns;
  events_.push_back(std::move(event));
}

void GrpcSession::came(const nghttp2_frame& frame) {
  switch (frame.hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
      if (auto* call = find(frame.hd.stream_id)) {
        if (!call->headed) head_complete(*call);
        if ((frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) half_closed(*call);
      }
      break;
    case NGHTTP2_PING:
      if ((frame.hd.flags & NGHTTP2_FLAG_ACK) != 0) {
        ++pings_acknowledged_;
      } else {
        pinged();
      }
      break;
    case NGHTTP2_SETTINGS:
      if ((frame.hd.flags & NGHTTP2_FLAG_ACK) != 0) settled_ = true;
      break;
    default:
      break;
  }
}

void GrpcSession::useless() {
  if (++useless_ == kMostUseless) end(NGHTTP2_ENHANCE_YOUR_CALM, "too_many_frames", "Too many frames without effect.");
}

void GrpcSession::pinged() {
  const auto before = std::exchange(pinged_ns_, now_ns_);
  if (!before || now_ns_ - *before >= limits_.ping_interval_ns || limits_.ping_strikes == 0) return;
  // The words are those of gRPC's servers, for which clients look.
  if (++strikes_ > limits_.ping_strikes) end(NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings", "Too many pings");
}

void GrpcSession::head_complete(GrpcCall& call) {
  call.headed = true;
  const bool post = call.head.method == "POST";
  if (!post || !is_grpc(call.head.content_type)) {
    call.reads = false;
    call.status.emplace();
    const auto refused = header(":status", post ? "415" : "405", kNoCopy);
    check(nghttp2_submit_response(session_.get(), call.id, &refused, 1, nullptr));
    return;
  }
  if (const auto timeout = grpc_timeout_ns(call.head.timeout)) call.deadline_ns = now_ns_ + *timeout;
  call.infer = call.head.path == kModelInfer;
  call.infers = call.infer || call.head.path == kModelStreamInfer;
  if (!call.infer || limits_.tell_all) tell(call, {.kind = GrpcEvent::Opened, .text = call.head.path});
}

void GrpcSession::data(GrpcCall& call, std::string_view bytes) {
  call.received += bytes.size();
  latest_ = call.id;
  if (!call.reads) return;
  if (!call.waiting.empty()) {
    call.waiting.append(bytes);
    held_ += bytes.size();
    return;
  }
  read(call, bytes);
}

void GrpcSession::read(GrpcCall& call, std::string_view bytes) {
  const size_t before = bytes.size();
  while (!bytes.empty() && call.reads) {
    if (call.skipping > 0) {
      const size_t dropped = std::min(call.skipping, bytes.size());
      call.skipping -= dropped;
      bytes.remove_prefix(dropped);
      continue;
    }
    if (!call.message && (call.in_progress >= limits_.in_progress || !begin_message(call, bytes))) break;
    if (call.message) {
      const size_t had = call.message->received();
      call.message->take(bytes);
      held_ += call.message->received() - had;
      if (call.message->whole()) message_complete(call);
    }
  }
  if (!call.reads) bytes = {};
  call.waiting.append(bytes);
  held_ += bytes.size();
  // What waits is not consumed: so the client can send no more than the call's window.
  nghttp2_session_consume_stream(session_.get(), call.id, before - bytes.size());
}

bool GrpcSession::begin_message(GrpcCall& call, std::string_view& bytes) {
  const size_t taken = std::min(bytes.size(), call.prefix.size() - call.prefix_size);
  std::copy_n(bytes.begin(), taken, call.prefix.begin() + static_cast<std::ptrdiff_t>(call.prefix_size));
  call.prefix_size += taken;
  bytes.remove_prefix(taken);
  if (call.prefix_size < call.prefix.size()) return true;
  call.prefix_size = 0;
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(call.prefix[i])); };
  const size_t size = byte(1) << 24 | byte(2) << 16 | byte(3) << 8 | byte(4);
  if (byte(0) > 1) {
    tell(call, {.kind = GrpcEvent::Malformed, .text = "the first byte of a message is neither 0 nor 1"});
    stop_reading(call);
    return false;
  }
  if (size > limits_.message_bytes) {
    tell(call, {.kind = GrpcEvent::TooLarge, .number = size});
    stop_reading(call);
    return false;
  }
  call.message = std::make_shared<GrpcMessage>(size, byte(0) == 1);
  return true;
}

void GrpcSession::message_complete(GrpcCall& call) {
  useless_ = 0;
  held_ -= call.message->received();
  ++call.in_progress;
  if (call.infers && !call.message->compressed()) call.message->cut();
  const auto infer = call.head.tells ? GrpcEvent::InferTold : GrpcEvent::Infer;
  const auto kind = call.infer ? infer : GrpcEvent::Message;
  tell(call, {.kind = kind, .message = std::exchange(call.message, nullptr)});
  if (call.infer) call.reads = false;  // it has one message
}

void GrpcSession::half_closed(GrpcCall& call) {
  call.half_closed = true;
  if (!call.waiting.empty() || !call.reads) return;  // told once what waits is read; not told where nothing is read
  if (call.message || call.skipping > 0 || call.prefix_size > 0) {
    tell(call, {.kind = GrpcEvent::Malformed, .text = "the call ends within a message"});
  } else {
    tell(call, {.kind = GrpcEvent::HalfClosed});
  }
  stop_reading(call);
}

void GrpcSession::stop_reading(GrpcCall& call) {
  held_ -= call.held();
  call.reads = false;
  call.message.reset();
  call.waiting = {};
}

void GrpcSession::closed(int32_t id, uint32_t error) {
  auto* call = find(id);
  if (call == nullptr) return;
  if (call->told && (error != NGHTTP2_NO_ERROR || !call->status)) tell(*call, {.kind = GrpcEvent::Left});
  held_ -= call->held();
  calls_.erase(id);
}

// -- out

bool GrpcSession::send(int32_t id, GrpcOutgoing message) {
  if (message.size() > limits_.message_bytes) return false;
  auto* call = find(id);
  if (call == nullptr || call->status) return true;
  message.add_prefix();
  call->out.push_back(std::move(message));
  if (!call->responding) {
    submit_response(*call);
  } else if (std::exchange(call->deferred, false)) {
    check(nghttp2_session_resume_data(session_.get(), id));
  }
  return true;
}

void GrpcSession::submit_response(GrpcCall& call) {
  call.responding = true;
  nghttp2_data_provider provider{};
  provider.source.ptr = &call;
  provider.read_callback = GrpcCallbacks::next_data;
  check(nghttp2_submit_response(session_.get(), call.id, kResponse.data(), kResponse.size(), &provider));
}

void GrpcSession::finish(int32_t id, GrpcStatus status) {
  auto* call = find(id);
  if (call == nullptr || call->status) return;
  stop_reading(*call);
  call->status = std::move(status);
  if (!call->responding) {
    submit_status(*call);
  } else if (std::exchange(call->deferred, false)) {
    check(nghttp2_session_resume_data(session_.get(), id));
  }
}

void GrpcSession::submit_status(GrpcCall& call) {
  const auto code = std::to_string(call.status->code);
  const auto sentence = percent_encoded(call.status->sentence);
  c10::SmallVector<nghttp2_nv, 8> headers;
  if (!call.responding) headers.append(kResponse.begin(), kResponse.end());
  headers.push_back(header("grpc-status", code));
  if (!sentence.empty()) headers.push_back(header("grpc-message", sentence));
  for (const auto& [name, value] : call.status->metadata) headers.push_back(header(name, value));
  if (call.responding) {
    check(nghttp2_submit_trailer(session_.get(), call.id, headers.data(), headers.size()));
  } else {
    call.responding = true;
    check(nghttp2_submit_response(session_.get(), call.id, headers.data(), headers.size(), nullptr));
  }
}

ssize_t GrpcSession::next_data(GrpcCall& call, size_t length, uint32_t& flags) {
  size_t left = 0;
  for (const auto& message : call.out) left += message.left();
  if (left == 0 && !call.status) {
    call.deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  if (left <= length && call.status) {
    flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    submit_status(call);
  }
  flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  return static_cast<ssize_t>(std::min(left, length));
}

void GrpcSession::put_data(GrpcCall& call, const uint8_t* head, size_t length) {
  constexpr size_t kHeadBytes = 9;  // of a frame
  if (const size_t left = call.out.front().left(); left > kLong) {
    // Output that grows by doubling would be copied once more.
    out_->reserve(std::min(out_->size() + left, most_) + length + kLong);
  }
  out_->append(text_of(head, kHeadBytes));
  while (length > 0) {
    auto& message = call.out.front();
    const size_t taken = std::min(length, message.left());
    message.send(taken, *out_);
    length -= taken;
    if (message.sent()) {
      call.out.pop_front();
      sent_.push_back(call.id);
      if (call.in_progress > 0) --call.in_progress;
    }
  }
  answered_ = true;
  useless_ = 0;
  strikes_ = 0;
  pinged_ns_.reset();
}

void GrpcSession::ignore(int32_t id) {
  if (auto* call = find(id)) stop_reading(*call);
}

bool GrpcSession::skip(int32_t id) {
  auto* call = find(id);
  if (call == nullptr || !call->message) return false;
  held_ -= call->message->received();
  call->skipping = call->message->size() - call->message->received();
  call->message.reset();
  ++call->in_progress;
  return true;
}

void GrpcSession::reset(int32_t id) {
  if (auto* call = find(id)) {
    call->told = false;
    stop_reading(*call);
    check(nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL));
  }
}

void GrpcSession::ping() { check(nghttp2_submit_ping(session_.get(), NGHTTP2_FLAG_NONE, nullptr)); }

void GrpcSession::notice() { check(nghttp2_submit_shutdown_notice(session_.get())); }

void GrpcSession::go_away(uint32_t error, std::string_view reason) {
  const auto last = nghttp2_session_get_last_proc_stream_id(session_.get());
  check(nghttp2_submit_goaway(session_.get(), NGHTTP2_FLAG_NONE, last, error, bytes_of(reason), reason.size()));
}

void GrpcSession::end(uint32_t error, std::string_view reason, const std::string& sentence) {
  if (ended_) return;
  constexpr int kUnavailable = 14;
  for (const auto& [id, call] : calls_) finish(id, {.code = kUnavailable, .sentence = sentence, .metadata = {}});
  go_away(error, reason);
  ended_ = true;
}

void GrpcSession::output(std::string& to, size_t most) {
  out_ = &to;
  most_ = most;
  while (to.size() < most) {
    const uint8_t* bytes = nullptr;
    const auto size = nghttp2_session_mem_send(session_.get(), &bytes);
    if (size < 0) ended_ = true;
    if (size <= 0) break;
    to.append(text_of(bytes, static_cast<size_t>(size)));
  }
  out_ = nullptr;
}

std::vector<int32_t> GrpcSession::take_sent() {
  auto sent = std::exchange(sent_, {});
  for (const int32_t id : sent) {
    auto* call = find(id);
    if (call == nullptr || call->waiting.empty() || call->in_progress >= limits_.in_progress) continue;
    const auto waiting = std::exchange(call->waiting, {});
    held_ -= waiting.size();
    read(*call, waiting);
    if (call->half_closed && call->waiting.empty() && call->reads) half_closed(*call);
  }
  return sent;
}

}  // namespace trtserve

#endif
