-- BODY is a file with the body of the requests, HEADERS their headers, one "Name: value" per line.
--
-- Without VARY, one request over and over. With it, requests that differ as those of real clients do, or not: VARY says
-- in what ("headers", "lengths", "engines" or "nothing"; "decided": a caller's trace, of which TRACED are sampled of a
-- hundred; "undecided": a header that means nothing). Each is then formatted when it is sent, whatever varies, so
-- that the load costs this core the same. The first JSON_BYTES bytes of the body are JSON, which spaces make longer;
-- BINARY is "yes" if there are tensors behind them. PATHS: one per line.
local LENGTHS = 300
local vary = os.getenv("VARY")
local file = assert(io.open(os.getenv("BODY"), "rb"))
local body = file:read("*a")
file:close()
wrk.method, wrk.body = "POST", body
for name, value in os.getenv("HEADERS"):gmatch("([^:\n]+): ([^\n]*)") do wrk.headers[name] = value end

if vary then
  local json_bytes, binary = tonumber(os.getenv("JSON_BYTES")), os.getenv("BINARY") == "yes"
  local bodies, paths, headers, sent = {}, {}, wrk.headers, 0
  local traced = tonumber(os.getenv("TRACED") or 0)
  for spaces = 1, LENGTHS do
    bodies[spaces] = body:sub(1, json_bytes) .. string.rep(" ", spaces) .. body:sub(json_bytes + 1)
  end
  for path in os.getenv("PATHS"):gmatch("[^\n]+") do paths[#paths + 1] = path end

  function request()
    sent = sent + 1
    local own = (vary == "headers" or vary == "decided" or vary == "undecided") and sent or 1
    local spaces = vary == "lengths" and sent % LENGTHS + 1 or LENGTHS / 2
    local path = paths[vary == "engines" and sent % #paths + 1 or 1]
    if vary == "decided" then
      headers["traceparent"] = string.format("00-%032x-%016x-0%d", own * 7919, own, own % 100 < traced and 1 or 0)
    elseif vary == "undecided" then
      headers["x-other"] = string.format("00-%032x-%016x-01", own * 7919, own)
    else
      headers["traceparent"] = string.format("00-%032x-%016x-01", own * 7919, own)
      headers["x-request-id"] = string.format("%08d", own)
    end
    if binary then headers["Inference-Header-Content-Length"] = tostring(json_bytes + spaces) end
    return wrk.format("POST", path, headers, bodies[spaces])
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('{"requests": %d, "us": %d, "p50_us": %.1f, "p99_us": %.1f, "errors": %d}\n', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
