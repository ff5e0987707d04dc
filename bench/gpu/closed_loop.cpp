// A client that keeps its connections busy: bench/gpu/served.py builds it, runs it and reads what it writes.
//
//   closed_loop ADDRESS PORT SECONDS ANSWER REQUEST...
//
// One connection for each file REQUEST, a whole HTTP/1.1 request, which it sends again and again, each time after the
// answer to the one before. Each connection has a thread of its own, since a large body takes a core to copy. First
// they warm up, for a fifth of a second at most. Writes the first connection's last answer, head and body, to the file
// ANSWER, and one JSON object to stdout; latencies are in microseconds.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;

constexpr double kWarmSeconds = 0.2;

Time after(Time time, double seconds) {
  return time + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

std::string contents(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::string whole{std::istreambuf_iterator<char>(file), {}};
  if (whole.empty()) throw std::invalid_argument(std::string(path) + " cannot be read, or is empty");
  return whole;
}

// One connection and its thread's results.
class Connection {
 public:
  Connection(const sockaddr_in& server, const char* request) : request_(contents(request)), answer_(1 << 16, '\0') {
    fd_ = socket(AF_INET, SOCK_STREAM, 0);
    if (fd_ < 0) fail("socket");
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    const timeval patience{60, 0};  // a server that says nothing for so long has failed
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&server), sizeof(server)) != 0) fail("connect");
  }
  ~Connection() { close(fd_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Exchanges until `end`, and at least once after `begin`, from when on it counts. An error, or an answer other than
  // 200, ends it early.
  void run(Time begin, Time end) {
    for (Time sent = Clock::now(); sent < end || latencies.empty();) {
      if (!exchange()) {
        failed = true;
        return;
      }
      const Time now = Clock::now();
      if (sent >= begin) latencies.push_back(std::chrono::duration<double, std::micro>(now - sent).count());
      sent = now;
    }
  }

  std::string answer() const { return answer_.substr(0, received_); }

  std::vector<double> latencies;
  bool failed = false;

 private:
  bool exchange() {
    for (std::size_t written = 0; written < request_.size();) {
      const auto count = send(fd_, request_.data() + written, request_.size() - written, MSG_NOSIGNAL);
      if (count <= 0) return false;
      written += static_cast<std::size_t>(count);
    }
    std::size_t size = 0;  // of the whole answer; 0 until its head has come
    for (received_ = 0; size == 0 || received_ < size;) {
      const auto count = recv(fd_, answer_.data() + received_, answer_.size() - received_, 0);
      if (count <= 0) return false;
      received_ += static_cast<std::size_t>(count);
      if (size == 0 && !find_size(size)) return false;
      if (std::max(size, received_ + 1) > answer_.size()) answer_.resize(std::max(size, 2 * answer_.size()));
    }
    return answer_.compare(0, 13, "HTTP/1.1 200 ") == 0;
  }

  // Sets the size once the head has come. False if the head does not tell the length of its body.
  bool find_size(std::size_t& size) const {
    const auto end = std::string_view(answer_).substr(0, received_).find("\r\n\r\n");
    if (end == std::string_view::npos) return true;
    const std::string name = "content-length:";
    for (auto at = answer_.find("\r\n"); at < end; at = answer_.find("\r\n", at + 2)) {
      if (strncasecmp(answer_.data() + at + 2, name.c_str(), name.size()) != 0) continue;
      size = end + 4 + std::strtoul(answer_.data() + at + 2 + name.size(), nullptr, 10);
      return true;
    }
    return false;
  }

  const std::string request_;
  std::string answer_;
  std::size_t received_ = 0;
  int fd_ = -1;
};

double share(const std::vector<double>& sorted, double of) {
  return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(of * static_cast<double>(sorted.size())))];
}

}  // namespace

int main(int count, char** given) try {
  if (count < 6) throw std::invalid_argument("usage: closed_loop ADDRESS PORT SECONDS ANSWER REQUEST...");
  sockaddr_in server{};
  server.sin_family = AF_INET;
  server.sin_port = htons(static_cast<std::uint16_t>(std::stoul(given[2])));
  if (inet_pton(AF_INET, given[1], &server.sin_addr) != 1)
    throw std::invalid_argument("ADDRESS is not an IPv4 address");
  std::vector<std::unique_ptr<Connection>> connections;
  for (int i = 5; i < count; ++i) connections.push_back(std::make_unique<Connection>(server, given[i]));
  const double seconds = std::stod(given[3]);
  const Time begin = after(Clock::now(), std::min(kWarmSeconds, seconds));
  const Time end = after(begin, seconds);
  std::vector<std::thread> threads;
  for (auto& connection : connections) threads.emplace_back([&] { connection->run(begin, end); });
  for (auto& thread : threads) thread.join();

  std::vector<double> latencies;
  int errors = 0;
  double per_second = 0;
  for (const auto& connection : connections) {
    latencies.insert(latencies.end(), connection->latencies.begin(), connection->latencies.end());
    errors += connection->failed ? 1 : 0;
    double busy = 0;  // seconds
    for (const double latency : connection->latencies) busy += latency / 1e6;
    if (busy > 0) per_second += static_cast<double>(connection->latencies.size()) / busy;
  }
  std::ofstream(given[4], std::ios::binary) << connections[0]->answer();
  if (latencies.empty()) throw std::runtime_error("no request was answered with 200: " + connections[0]->answer());
  std::sort(latencies.begin(), latencies.end());
  std::printf("{\"requests\": %zu, \"errors\": %d, \"per_second\": %.3f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
              latencies.size(), errors, per_second, share(latencies, 0.5), share(latencies, 0.99));
  return 0;
} catch (const std::exception& failure) {
  std::fprintf(stderr, "closed_loop: %s\n", failure.what());
  return 1;
}
