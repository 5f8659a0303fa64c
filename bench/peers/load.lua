-- What wrk sends, the same to every row, and what it tells at the end. The token is read from a file, so that it stands in no list of processes.
local file = assert(io.open(os.getenv("BENCH_TOKEN_FILE")))
wrk.headers["Authorization"] = "Bearer " .. file:read("*l")
file:close()
wrk.headers["Accept"] = "application/json"
wrk.headers["User-Agent"] = "tempo-client/1.0"

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      "\n{\"requests\": %d, \"seconds\": %f, \"p50_ms\": %f, \"p99_ms\": %f, \"refused\": %d, \"broken\": %d}\n",
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
