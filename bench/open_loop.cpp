// The client of the open-loop benchmark: bench/open_loop.py builds it, runs it and reads what it writes.
//
//   open_loop ADDRESS PORT REQUEST RATE SECONDS CONNECTIONS PATIENCE
//
// Sends the bytes of the file REQUEST, a whole HTTP/1.1 request, at the times of a Poisson process of RATE per second,
// whether or not earlier requests have been answered. A latency counts from the time when its request was due, so a
// stall of the server or of this program shows in all requests that it delayed: nothing is omitted. It starts with
// connections that have each had an answer, and opens more as needed, up to CONNECTIONS; a request without a connection
// waits, in order, for the first free or new one. After the last arrival it waits PATIENCE seconds for answers.
//
// One thread, which never sleeps: it needs a core of its own to be on time. The results include how late it was. Writes
// one JSON object to stdout, with times in microseconds in the order of measurement.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;

Time after(Time time, double seconds) {
  return time + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

double microseconds(Clock::duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

struct Options {
  sockaddr_in server{};
  std::string request;
  double rate = 0;     // requests per second
  double seconds = 0;  // duration of the arrivals
  std::size_t connections = 0;
  double patience = 0;  // seconds
};

struct Results {
  std::size_t sent = 0;           // requests that were due
  std::size_t errors = 0;         // answers other than 200, and connections that broke during a request
  std::size_t lost = 0;           // neither answered nor broken when the patience ended
  std::size_t connections = 0;    // the most at the same time
  std::vector<double> latencies;  // of answers with 200, from when they were due
  std::vector<double> lateness;   // of all written requests: how long after they were due
};

// The answer to one request: keeps its head, counts only its body.
class Answer {
 public:
  // Returns false unless this is one answer with its length in its head.
  bool take(const char* data, std::size_t size) {
    if (in_body_) {
      if (size > missing_) return false;
      missing_ -= size;
      return true;
    }
    head_.append(data, size);
    const auto end = head_.find("\r\n\r\n");
    if (end == std::string::npos) return head_.size() < kMostHead;
    const auto length = content_length(std::string_view(head_).substr(0, end + 2));
    const auto received = head_.size() - (end + 4);
    if (length < 0 || received > static_cast<std::size_t>(length)) return false;
    missing_ = static_cast<std::size_t>(length) - received;
    in_body_ = true;
    return true;
  }

  bool whole() const { return in_body_ && missing_ == 0; }
  bool good() const { return head_.compare(0, 13, "HTTP/1.1 200 ") == 0; }

  void clear() {
    head_.clear();
    in_body_ = false;
  }

 private:
  static constexpr std::size_t kMostHead = 1 << 18;

  // -1 if there is none.
  static long content_length(std::string_view lines) {
    constexpr std::string_view kName = "\r\ncontent-length:";
    for (auto at = lines.find("\r\n"); at + kName.size() < lines.size(); at = lines.find("\r\n", at + 2))
      if (strncasecmp(lines.data() + at, kName.data(), kName.size()) == 0)
        return std::strtol(lines.data() + at + kName.size(), nullptr, 10);
    return -1;
  }

  std::string head_;
  bool in_body_ = false;
  std::size_t missing_ = 0;  // bytes of the body still to come
};

struct Connection {
  explicit Connection(int socket) : fd(socket) {}
  ~Connection() { close(fd); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  enum class State { kConnecting, kIdle, kBusy };  // kIdle: it is in Client::idle_

  const int fd;
  State state = State::kConnecting;
  bool wants_write = true;  // as registered with epoll: until it is connected, and while the socket's buffer is full
  std::size_t written = 0;  // bytes of the request
  Time due;
  Answer answer;
};

class Client {
 public:
  explicit Client(Options options) : options_(std::move(options)), epoll_(epoll_create1(0)), buffer_(1 << 18) {
    if (epoll_ < 0) fail("epoll_create1");
  }
  ~Client() { close(epoll_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  Results run() {
    std::mt19937_64 random(0);  // the same arrivals in every run
    std::exponential_distribution<double> gap(options_.rate);
    warm_up();
    const Time began = Clock::now();
    const Time last = after(began, options_.seconds);
    const Time end = after(last, options_.patience);
    Time due = after(began, gap(random));
    for (Time now = began; due < last || (unanswered() > 0 && now < end); now = Clock::now()) {
      for (; due <= now && due < last; due = after(due, gap(random))) {
        waiting_.push_back(due);
        ++results_.sent;
      }
      begin_waiting();
      open(std::min(kOpening, waiting_.size()));
      take_events();
    }
    results_.lost = unanswered();
    return std::move(results_);
  }

 private:
  using State = Connection::State;
  // The most being opened at the same time, to spare a slow server.
  static constexpr std::size_t kOpening = 64;
  static constexpr std::size_t kWarm = 256;

  std::size_t unanswered() const { return waiting_.size() + connections_.size() - idle_.size() - connecting_; }

  // Gets an answer on each of many connections, to a request outside the load. A connection that is open for the kernel
  // may wait long until a busy server accepts it: uvloop accepts one per iteration.
  void warm_up() {
    const auto count = std::min(kWarm, options_.connections);
    while (connections_.size() < count || connecting_ > 0) {
      open(std::min(kOpening, count - connections_.size()));
      take_events();
    }
    const std::string load = std::exchange(options_.request, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const Time began = Clock::now();
    waiting_.assign(count, began);
    for (begin_waiting(); unanswered() > 0; take_events())
      if (Clock::now() > after(began, options_.patience)) throw std::runtime_error("the server does not answer");
    options_.request = load;
    results_ = {};
    results_.connections = connections_.size();
  }

  void begin_waiting() {
    while (!waiting_.empty() && !idle_.empty()) begin();
  }

  // Opens connections until `count` are being opened, or the limit is reached.
  void open(std::size_t count) {
    while (connecting_ < count && connections_.size() < options_.connections) {
      const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
      if (fd < 0) fail("socket");
      Connection& made = *connections_.emplace(fd, std::make_unique<Connection>(fd)).first->second;
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      const auto* server = reinterpret_cast<const sockaddr*>(&options_.server);
      if (connect(fd, server, sizeof(options_.server)) != 0 && errno != EINPROGRESS) fail("connect");
      watch(made, EPOLL_CTL_ADD);
      ++connecting_;
      results_.connections = std::max(results_.connections, connections_.size());
    }
  }

  void connected(Connection& connection) {
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(connection.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) throw std::system_error(error, std::generic_category(), "connect");
    --connecting_;
    connection.wants_write = false;
    watch(connection, EPOLL_CTL_MOD);
    free(connection);
  }

  void free(Connection& connection) {
    connection.state = State::kIdle;
    idle_.push_back(&connection);
  }

  // Starts the oldest waiting request, on the connection used last.
  void begin() {
    Connection& connection = *idle_.back();
    idle_.pop_back();
    connection.state = State::kBusy;
    connection.written = 0;
    connection.due = waiting_.front();
    waiting_.pop_front();
    write(connection);
  }

  void write(Connection& connection) {
    const std::string& request = options_.request;
    const Time now = Clock::now();
    const auto count =
        send(connection.fd, request.data() + connection.written, request.size() - connection.written, MSG_NOSIGNAL);
    if (count < 0 && errno != EAGAIN) return drop(connection);
    if (count > 0 && connection.written == 0) results_.lateness.push_back(microseconds(now - connection.due));
    connection.written += static_cast<std::size_t>(std::max<ssize_t>(count, 0));
    const bool wants_write = connection.written < request.size();
    if (wants_write == connection.wants_write) return;
    connection.wants_write = wants_write;
    watch(connection, EPOLL_CTL_MOD);
  }

  void watch(Connection& connection, int operation) {
    epoll_event event{};
    event.events = EPOLLIN | (connection.wants_write ? EPOLLOUT : 0U);
    event.data.ptr = &connection;
    if (epoll_ctl(epoll_, operation, connection.fd, &event) != 0) fail("epoll_ctl");
  }

  void read(Connection& connection) {
    const auto count = recv(connection.fd, buffer_.data(), buffer_.size(), 0);
    if (count < 0 && errno == EAGAIN) return;
    const Time now = Clock::now();
    // An idle connection may only end.
    if (count <= 0 || connection.state == State::kIdle ||
        !connection.answer.take(buffer_.data(), static_cast<std::size_t>(count)))
      return drop(connection);
    if (!connection.answer.whole()) return;
    if (connection.written < options_.request.size()) return drop(connection);  // refused, before it was all written
    if (connection.answer.good())
      results_.latencies.push_back(microseconds(now - connection.due));
    else
      ++results_.errors;
    connection.answer.clear();
    free(connection);
  }

  void drop(Connection& connection) {
    if (connection.state == State::kBusy)
      ++results_.errors;
    else
      idle_.erase(std::find(idle_.begin(), idle_.end(), &connection));
    connections_.erase(connection.fd);
  }

  void take_events() {
    std::array<epoll_event, 256> events;
    const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 0);
    if (count < 0 && errno != EINTR) fail("epoll_wait");
    for (int i = 0; i < count; ++i) {
      Connection& connection = *static_cast<Connection*>(events[i].data.ptr);  // each once, so it is still there
      if (connection.state == State::kConnecting)
        connected(connection);
      else if ((events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0)
        read(connection);
      else
        write(connection);
    }
  }

  Options options_;
  Results results_;
  int epoll_;
  std::vector<char> buffer_;
  std::deque<Time> waiting_;  // due, but not started
  std::unordered_map<int, std::unique_ptr<Connection>> connections_;
  std::vector<Connection*> idle_;
  std::size_t connecting_ = 0;
};

double share(std::vector<double>& values, double of) {
  if (values.empty()) return 0;
  const auto place = std::min(values.size() - 1, static_cast<std::size_t>(of * static_cast<double>(values.size())));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(place), values.end());
  return values[place];
}

Options read_options(char** given) {
  Options options;
  options.server.sin_family = AF_INET;
  options.server.sin_port = htons(static_cast<std::uint16_t>(std::stoul(given[2])));
  if (inet_pton(AF_INET, given[1], &options.server.sin_addr) != 1)
    throw std::invalid_argument("ADDRESS is not an IPv4 address");
  std::ifstream file(given[3], std::ios::binary);
  options.request.assign(std::istreambuf_iterator<char>(file), {});
  if (options.request.empty()) throw std::invalid_argument("the file REQUEST cannot be read, or is empty");
  options.rate = std::stod(given[4]);
  options.seconds = std::stod(given[5]);
  options.connections = std::stoul(given[6]);
  options.patience = std::stod(given[7]);
  return options;
}

}  // namespace

int main(int count, char** given) try {
  if (count != 8) throw std::invalid_argument("ADDRESS PORT REQUEST RATE SECONDS CONNECTIONS PATIENCE");
  Results results = Client(read_options(given)).run();
  std::printf("{\"sent\": %zu, \"errors\": %zu, \"lost\": %zu, \"connections\": %zu, ", results.sent, results.errors,
              results.lost, results.connections);
  std::printf("\"late_p50_us\": %.1f, \"late_p99_us\": %.1f, \"latencies_us\": [", share(results.lateness, 0.5),
              share(results.lateness, 0.99));
  for (std::size_t i = 0; i < results.latencies.size(); ++i)
    std::printf("%s%.1f", i > 0 ? "," : "", results.latencies[i]);
  std::printf("]}\n");
  return 0;
} catch (const std::exception& failure) {
  std::fprintf(stderr, "open_loop: %s\n", failure.what());
  return 1;
}
