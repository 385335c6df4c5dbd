-- Sends the same GET with one header of a file after the other, and prints what came of it as JSON. Given milliseconds, each connection pauses
-- that long on average before a request.
local headers, at, first, last = {}, 0, '', '\r\n\r\n'

function init (args)
  for line in io.lines(args[1]) do headers[#headers + 1] = line end
  local pause = tonumber(args[2])
  -- wrk looks for this name.
  if pause then delay = function () return math.random(0, 2 * pause) end end
  first = 'GET ' .. wrk.path .. ' HTTP/1.1\r\nHost: ' .. wrk.headers['Host'] .. '\r\n'
end

function request ()
  at = at % #headers + 1
  return first .. headers[at] .. last
end

function done (summary, latency)
  local failed = summary.errors
  io.write(string.format('\n{"requests":%d,"seconds":%f,"broken":{"connect":%d,"read":%d,"write":%d,"timeout":%d},"refused":%d,"p50":%f,"p99":%f,"max":%f}\n',
    summary.requests, summary.duration / 1e6, failed.connect, failed.read, failed.write, failed.timeout, failed.status,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
