// Closed-loop load over gRPC: one request under way on each connection, in calls of their own or in one stream each.
//
//   grpc_load ADDRESS PORT PATH BODY CONNECTIONS SECONDS unary|stream
//
// BODY is a file with one encoded message. Each answer is checked: a call counts as an error unless its grpc-status is
// 0, a message of a stream if it carries an error (field 1 of ModelStreamInferResponse). One thread, epoll, nghttp2; no
// answer is decoded, so that the load costs the same whichever server answers. When the time is over, each connection
// waits for its last answer, which is not counted, before it closes: Triton's gRPC server can crash when a client
// leaves calls behind. Prints JSON. Not thread-safe: one thread.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kPrefix = 5;  // of each message: compressed or not, and four bytes of length
constexpr std::int32_t kWindow = 64 << 20;
constexpr std::chrono::seconds kLastAnswer{30};
constexpr char kStreamError = 0x0a;  // the tag of error_message

struct Load {
  std::string message, path, authority;
  bool stream = false;
  Clock::time_point end;
  std::vector<double> latencies_us;
  std::uint64_t answers = 0, errors = 0;
  std::string first_error;

  bool is_over() const { return Clock::now() >= end; }
};

void check(int code, const char* what) {
  if (code < 0) throw std::runtime_error(std::string(what) + ": " + nghttp2_strerror(code));
}

nghttp2_nv header(std::string_view name, std::string_view value) {
  auto bytes = [](std::string_view text) { return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data())); };
  return {bytes(name), bytes(value), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

class Connection {
 public:
  Connection(Load& load, const sockaddr_in& to) : load_(load), socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    if (connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
      throw std::runtime_error(std::string("no connection: ") + std::strerror(errno));
    int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(socket_, F_SETFL, O_NONBLOCK);
    nghttp2_session_callbacks* calls = nullptr;
    check(nghttp2_session_callbacks_new(&calls), "callbacks");
    nghttp2_session_callbacks_set_on_header_callback(calls, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, on_close);
    check(nghttp2_session_client_new(&session_, calls, this), "session");
    nghttp2_session_callbacks_del(calls);
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindow},
                                         {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    check(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, 2), "settings");
    check(nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kWindow), "window");
    call();
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    nghttp2_session_del(session_);
    close(socket_);
  }

  int socket_fd() const { return socket_; }
  bool has_ended() const { return ended_; }
  bool waits_to_write() const { return written_ < unsent_.size(); }

  void read() {
    static std::uint8_t buffer[1 << 18];
    for (;;) {
      const ssize_t count = recv(socket_, buffer, sizeof buffer, 0);
      if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (count <= 0) throw std::runtime_error("the server closed a connection");
      check(static_cast<int>(nghttp2_session_mem_recv(session_, buffer, static_cast<std::size_t>(count))), "receive");
      if (static_cast<std::size_t>(count) < sizeof buffer) return;
    }
  }

  void write() {
    for (;;) {
      if (!waits_to_write()) {
        unsent_.clear();
        written_ = 0;
        while (unsent_.size() < (1 << 18)) {
          const std::uint8_t* data = nullptr;
          const ssize_t count = nghttp2_session_mem_send(session_, &data);
          check(static_cast<int>(count), "send");
          if (count == 0) break;
          unsent_.append(reinterpret_cast<const char*>(data), static_cast<std::size_t>(count));
        }
        if (unsent_.empty()) return;
      }
      const ssize_t count = send(socket_, unsent_.data() + written_, unsent_.size() - written_, MSG_NOSIGNAL);
      if (count < 0 && errno == EAGAIN) return;
      if (count < 0) throw std::runtime_error("the server closed a connection");
      written_ += static_cast<std::size_t>(count);
    }
  }

 private:
  static Connection& self(void* user) { return *static_cast<Connection*>(user); }

  static ssize_t on_read(nghttp2_session*, std::int32_t, std::uint8_t* to, std::size_t room, std::uint32_t* flags,
                         nghttp2_data_source*, void* user) {
    Connection& own = self(user);
    const std::string& message = own.load_.message;
    if (own.ending_) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      return 0;
    }
    if (own.sent_ == message.size()) return NGHTTP2_ERR_DEFERRED;  // of a stream: until the answer has come
    const std::size_t count = std::min(room, message.size() - own.sent_);
    std::memcpy(to, message.data() + own.sent_, count);
    own.sent_ += count;
    if (own.sent_ == message.size() && !own.load_.stream) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(count);
  }

  static int on_header(nghttp2_session*, const nghttp2_frame*, const std::uint8_t* name, std::size_t name_size,
                       const std::uint8_t* value, std::size_t size, std::uint8_t, void* user) {
    const std::string_view text(reinterpret_cast<const char*>(name), name_size);
    if (text == "grpc-status") self(user).status_.assign(reinterpret_cast<const char*>(value), size);
    return 0;
  }

  static int on_data(nghttp2_session*, std::uint8_t, std::int32_t, const std::uint8_t* data, std::size_t size,
                     void* user) {
    self(user).received(reinterpret_cast<const char*>(data), size);
    return 0;
  }

  static int on_close(nghttp2_session*, std::int32_t, std::uint32_t, void* user) {
    Connection& own = self(user);
    if (own.load_.stream) {
      if (!own.ending_) throw std::runtime_error("the server ended a stream, status " + own.status_);
      own.ended_ = true;
      return 0;
    }
    own.answered(own.status_ == "0" && own.messages_ == 1, "grpc-status " + own.status_);
    own.ended_ = own.load_.is_over();
    if (!own.ended_) own.call();
    return 0;
  }

  void received(const char* data, std::size_t size) {
    while (size > 0) {
      if (prefix_.size() < kPrefix) {
        const std::size_t count = std::min(size, kPrefix - prefix_.size());
        prefix_.append(data, count);
        data += count, size -= count;
        if (prefix_.size() < kPrefix) return;
        left_ = 0;
        for (std::size_t at = 1; at < kPrefix; ++at) left_ = left_ << 8 | static_cast<std::uint8_t>(prefix_[at]);
        first_ = 0;
      }
      const std::size_t count = std::min(size, left_);
      if (first_ == 0 && count > 0) first_ = *data;
      data += count, size -= count, left_ -= count;
      if (left_ > 0) return;
      prefix_.clear();
      ++messages_;
      if (load_.stream) {
        answered(first_ != 0 && first_ != kStreamError, "a message with an error");
        began_ = Clock::now();
        sent_ = 0;
        ending_ = load_.is_over();
        check(nghttp2_session_resume_data(session_, id_), "resume");
      }
    }
  }

  void answered(bool good, const std::string& otherwise) {
    const auto now = Clock::now();
    if (now > load_.end) return;
    ++load_.answers;
    load_.latencies_us.push_back(std::chrono::duration<double, std::micro>(now - began_).count());
    if (good) return;
    if (load_.errors++ == 0) load_.first_error = otherwise;
  }

  void call() {
    const nghttp2_nv headers[] = {header(":method", "POST"),        header(":scheme", "http"),
                                  header(":path", load_.path),      header(":authority", load_.authority),
                                  header("te", "trailers"),         header("content-type", "application/grpc"),
                                  header("user-agent", "grpc-load")};
    sent_ = 0, messages_ = 0;
    status_.clear();
    began_ = Clock::now();
    nghttp2_data_provider body{};
    body.read_callback = on_read;
    id_ = nghttp2_submit_request(session_, nullptr, headers, std::size(headers), &body, nullptr);
    check(id_, "request");
  }

  Load& load_;
  int socket_;
  nghttp2_session* session_ = nullptr;
  std::int32_t id_ = 0;
  std::string unsent_, prefix_, status_;
  std::size_t written_ = 0, sent_ = 0, left_ = 0, messages_ = 0;
  char first_ = 0;
  bool ending_ = false;  // of a stream: no message follows
  bool ended_ = false;
  Clock::time_point began_;
};

void run(Load& load, const sockaddr_in& to, int connections) {
  const int poll = epoll_create1(0);
  std::vector<std::unique_ptr<Connection>> all;
  for (int number = 0; number < connections; ++number) {
    all.push_back(std::make_unique<Connection>(load, to));
    epoll_event event{EPOLLIN | EPOLLOUT | EPOLLET, {all.back().get()}};
    epoll_ctl(poll, EPOLL_CTL_ADD, all.back()->socket_fd(), &event);
    all.back()->write();
  }
  epoll_event events[128];
  auto has_ended = [](const auto& connection) { return connection->has_ended(); };
  while (!load.is_over() || !std::all_of(all.begin(), all.end(), has_ended)) {
    if (Clock::now() > load.end + kLastAnswer) throw std::runtime_error("the server left calls without an answer");
    const int count = epoll_wait(poll, events, 128, 100);
    for (int at = 0; at < count; ++at) {
      auto& connection = *static_cast<Connection*>(events[at].data.ptr);
      if (events[at].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) connection.read();
      connection.write();
    }
  }
  close(poll);
}

}  // namespace

int main(int count, char** words) {
  if (count != 8) return std::fprintf(stderr, "usage: see the source\n"), 2;
  try {
    Load load;
    std::ifstream file(words[4], std::ios::binary);
    const std::string body{std::istreambuf_iterator<char>(file), {}};
    load.message.assign(1, '\0');
    for (int shift = 24; shift >= 0; shift -= 8) load.message += static_cast<char>(body.size() >> shift & 0xff);
    load.message += body;
    load.path = words[3];
    load.authority = std::string(words[1]) + ":" + words[2];
    load.stream = std::string_view(words[7]) == "stream";
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(std::atoi(words[2])));
    if (inet_pton(AF_INET, words[1], &to.sin_addr) != 1) throw std::runtime_error("not an address of IPv4");
    const double seconds = std::atof(words[6]);
    load.end = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    run(load, to, std::atoi(words[5]));
    std::sort(load.latencies_us.begin(), load.latencies_us.end());
    auto share = [&](double part) {
      return load.latencies_us.empty() ? 0.0 : load.latencies_us[std::size_t(part * (load.latencies_us.size() - 1))];
    };
    std::printf(
        "{\"answers\": %llu, \"per_second\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"errors\": %llu, "
        "\"first_error\": \"%s\"}\n",
        static_cast<unsigned long long>(load.answers), static_cast<double>(load.answers) / seconds, share(0.5),
        share(0.99), static_cast<unsigned long long>(load.errors), load.first_error.c_str());
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "%s\n", error.what()), 1;
  }
}
