#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <nghttp2/nghttp2.h>

#include "grpc/call.h"

namespace trtserve {

struct GrpcLimits {
  size_t message_bytes = 0;      ///< of a message, as it is sent
  size_t in_progress = 256;      ///< messages of one call that are passed on and not answered
  uint32_t calls = 1024;         ///< open at a time on the connection
  int64_t ping_interval_ns = 0;  ///< a ping that comes sooner after the last is a strike
  int ping_strikes = 2;          ///< one more ends the connection; 0: any number
  bool tell_all = false;         ///< tell of a ModelInfer too when it is opened
  GrpcTold told;                 ///< headers, see told()
};

/// Something that a client did.
struct GrpcEvent {
  enum Kind {
    Opened,      ///< a call, of ModelInfer only if all are told; `text` is its path
    Message,     ///< a whole message of such a call
    HalfClosed,  ///< the client sends no more; not told of a ModelInfer with a message
    Left,        ///< the client cancelled the call
    TooLarge,    ///< a message of `number` bytes
    Malformed,   ///< `text` says why nothing more can be read from the call
    Infer,       ///< the message of a ModelInfer, whose other events are not told before it
    InferTold,   ///< likewise, of a call with headers that are told
  } kind;
  int32_t call = 0;
  std::shared_ptr<GrpcMessage> message;
  std::string text;
  uint64_t number = 0;
  std::optional<int64_t> deadline_ns;
};

/// The server's side of one connection of gRPC over HTTP/2, without its input and output: bytes go in and events come
/// out; answers go in and bytes come out. Bounds what a client can make it keep or do. Not thread safe.
class GrpcSession {
 public:
  explicit GrpcSession(const GrpcLimits& limits);
  GrpcSession(const GrpcSession&) = delete;
  GrpcSession& operator=(const GrpcSession&) = delete;

  // -- in

  /// Takes bytes from the client, which came at `now_ns` by any steady clock.
  void receive(std::string_view bytes, int64_t now_ns);
  std::vector<GrpcEvent> take_events() { return std::exchange(events_, {}); }
  bool has_events() const { return !events_.empty(); }
  /// Bytes of messages that are not whole.
  size_t held() const { return held_; }
  /// The call that received bytes last.
  int32_t latest() const { return latest_; }
  /// The size of the message that this call is receiving; 0 if it is receiving none.
  size_t latest_size() const;
  /// The coding of a call's compressed messages.
  std::string coding(int32_t call) const;
  /// The value of a call's header of this name: none if it has none, empty if it has several.
  std::optional<std::string> authorization(int32_t call) const;
  /// The values of a call's headers that are told, by their places among the names; null if it has none of them.
  const decltype(GrpcHead::told)* told(int32_t call) const;
  /// Calls that wait for the rest of a message, and how many bytes each has received.
  std::vector<std::pair<int32_t, uint64_t>> expecting() const;
  /// Calls without a status whose deadline has passed.
  std::vector<int32_t> overdue(int64_t now_ns) const;
  size_t calls() const { return calls_.size(); }
  /// True once the client has sent its preface and settings and has acknowledged ours.
  bool settled() const { return settled_; }
  /// How many of our pings have been acknowledged.
  uint64_t pings_acknowledged() const { return pings_acknowledged_; }
  /// True if the connection is to be closed once all output is written.
  bool ended() const;

  // -- out

  /// Sends a message on a call. False, and nothing is sent, if it is larger than a message may be. A call that has
  /// ended drops it.
  bool send(int32_t call, GrpcOutgoing message);
  /// Ends a call after the messages that are being sent; what it still receives is dropped.
  void finish(int32_t call, GrpcStatus status);
  /// Drops what a call still receives, and what it has received of a message.
  void ignore(int32_t call);
  /// Drops the message that a call is receiving; the next one is read. The call must answer it as if it had been told.
  /// False if it is receiving none.
  bool skip(int32_t call);
  /// Ends a call at once, without a status.
  void reset(int32_t call);
  void ping();
  /// Tells the client that no more calls are accepted: it may open those that are on their way.
  void notice();
  /// Tells the client to open no more calls, and why; those that are open go on. See end().
  void go_away(uint32_t error, std::string_view reason);
  /// go_away(), and the connection is to be closed: calls without a status end as unavailable.
  void end(uint32_t error, std::string_view reason, const std::string& sentence);

  /// Appends bytes for the client, and stops soon after `to` has `most`.
  void output(std::string& to, size_t most);
  /// The calls of the messages that were put out whole, one for each message; reads further messages in their place.
  std::vector<int32_t> take_sent();
  /// True since the last call of this function if DATA or HEADERS were put out.
  bool take_answered() { return std::exchange(answered_, false); }

 private:
  friend struct GrpcCallbacks;
  struct Delete {
    void operator()(nghttp2_session* session) const { nghttp2_session_del(session); }
  };

  GrpcCall* find(int32_t id) const;
  void tell(GrpcCall& call, GrpcEvent event);
  void head_complete(GrpcCall& call);
  void data(GrpcCall& call, std::string_view bytes);
  void read(GrpcCall& call, std::string_view bytes);
  bool begin_message(GrpcCall& call, std::string_view& bytes);
  void message_complete(GrpcCall& call);
  void half_closed(GrpcCall& call);
  void stop_reading(GrpcCall& call);
  void closed(int32_t id, uint32_t error);
  void came(const nghttp2_frame& frame);
  void useless();
  void pinged();
  void submit_response(GrpcCall& call);
  void submit_status(GrpcCall& call);
  ssize_t next_data(GrpcCall& call, size_t length, uint32_t& flags);
  void put_data(GrpcCall& call, const uint8_t* head, size_t length);

  const GrpcLimits limits_;
  std::unique_ptr<nghttp2_session, Delete> session_;
  std::unordered_map<int32_t, std::unique_ptr<GrpcCall>> calls_;
  std::vector<GrpcEvent> events_;
  std::vector<int32_t> sent_;
  std::string* out_ = nullptr;  // while output() runs
  size_t most_ = 0;             // likewise
  size_t held_ = 0;
  int32_t latest_ = 0;
  int64_t now_ns_ = 0;
  std::optional<int64_t> pinged_ns_;  // the last ping, unless an answer was sent since
  int strikes_ = 0;
  size_t useless_ = 0;  // frames that brought nothing forward, since something did
  uint64_t pings_acknowledged_ = 0;
  bool settled_ = false;
  bool answered_ = false;
  bool ended_ = false;
};

}  // namespace trtserve
