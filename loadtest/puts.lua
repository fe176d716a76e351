-- Requests for wrk: PUT each row of the file ROWS once, in the session of AUTHORIZATION; a row is a
-- JSON object with its handle. Counts every answer by its status and prints one JSON document.
local threads, rows = {}, nil
created, refused, first_refused = 0, 0, ""

setup = function(thread) table.insert(threads, thread) end

init = function()
  rows = io.lines(os.getenv("ROWS"))
  headers = {
    ["Authorization"] = os.getenv("AUTHORIZATION"),
    ["Content-Type"] = "application/json",
  }
end

request = function()
  local row = rows()
  return wrk.format("PUT", "/api/handles/" .. row:match('"handle":"([^"]+)"') .. "?overwrite=false",
    headers, row)
end

response = function(status, _, body)
  if status == 201 then
    created = created + 1
  else
    refused = refused + 1
    if refused == 1 then first_refused = status .. " " .. body:gsub('[%c"\\]', "'") end
  end
end

done = function(summary, latency)
  local failed, thread = summary.errors, threads[1]
  io.write(string.format(
    '\nresult {"created": %d, "refused": %d, "first_refused": "%s", "microseconds": %d, '
      .. '"p50_us": %.1f, "p99_us": %.1f, "p999_us": %.1f, "max_us": %.1f, "broken": %d}\n',
    thread:get("created"), thread:get("refused"), thread:get("first_refused"), summary.duration,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max,
    failed.connect + failed.read + failed.write + failed.timeout))
end
