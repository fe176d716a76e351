-- Requests for wrk: GET one of ROWS handles below PREFIX, uniformly; prints one JSON document.
local prefix, rows = os.getenv("PREFIX"), tonumber(os.getenv("ROWS"))
math.randomseed(tonumber(os.getenv("SEED")))

request = function()
  local row = math.random(0, rows - 1)
  return wrk.format("GET", string.format("/api/handles/%s/P%010d", prefix, row))
end

done = function(summary, latency, requests)
  local failed = summary.errors
  io.write(string.format(
    '\nresult {"requests": %d, "microseconds": %d, "p50_us": %.1f, "p99_us": %.1f, '
      .. '"p999_us": %.1f, "max_us": %.1f, "not_200": %d, "broken": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    latency:percentile(99.9), latency.max, failed.status,
    failed.connect + failed.read + failed.write + failed.timeout))
end
