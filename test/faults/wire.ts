import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/**
 * What a proxy does. `swallow`: drops all bytes, and resets the connections when it ends; `stall`: holds all bytes and delivers them later,
 * as TCP retransmission does; `cut`: resets all connections, new ones too.
 */
export type LinkMode = 'pass' | 'cut' | 'swallow' | 'stall'

/** A TCP proxy between an API and a server that can be told to fail. */
export interface Wire {
  readonly port: number
  mode (next: LinkMode): void
  /** Delays all bytes to the server, or all bytes of its replies. */
  delay (ms: number, which?: 'requests' | 'replies'): void
  /** Sets the port that new connections lead to; of several, each in turn. */
  target (...ports: number[]): void
  /** Resets all connections. */
  drop (): void
  /** Makes all open connections drop their bytes for good, while new ones work: a peer that vanished without closing. */
  strand (): void
  close (): void
}

interface Pair { client: Socket, server: Socket | null, deaf: boolean }

/** A proxy on loopback in front of `serverPort`. */
export async function startWire (serverPort: number): Promise<Wire> {
  let to = [serverPort]
  let opened = 0
  let current: LinkMode = 'pass'
  const delayMs = { requests: 0, replies: 0 }
  const pairs = new Set<Pair>()

  const listener = createServer({ noDelay: true }, client => {
    const pair: Pair = { client, server: null, deaf: false }
    client.on('error', () => end(pair)).on('close', () => end(pair))
    if (current === 'cut') {
      client.resetAndDestroy()
      return
    }
    pairs.add(pair)
    if (current === 'swallow') {
      pair.deaf = true
      client.resume()
    } else if (current === 'pass') {
      open(pair)
    }
  })

  function open (pair: Pair): void {
    const server = connect({ host: '127.0.0.1', port: to[opened++ % to.length] as number, noDelay: true })
    pair.server = server
    server.on('error', () => end(pair)).on('close', () => end(pair))
    pump(pair.client, server, () => pair.deaf, () => delayMs.requests)
    pump(server, pair.client, () => pair.deaf, () => delayMs.replies)
  }

  function end (pair: Pair): void {
    pairs.delete(pair)
    pair.client.destroy()
    pair.server?.destroy()
  }

  function drop (): void {
    for (const pair of [...pairs]) {
      pair.client.resetAndDestroy()
      end(pair)
    }
  }

  await new Promise<void>(resolve => listener.listen(0, '127.0.0.1', resolve))
  return {
    port: (listener.address() as AddressInfo).port,
    mode (next) {
      const before = current
      current = next
      if (next === 'cut' || before === 'swallow') drop()
      for (const pair of pairs) {
        if (next === 'swallow') pair.deaf = true
        if (next === 'stall') {
          pair.client.pause()
          pair.server?.pause()
        }
        if (next === 'pass' && before === 'stall') {
          if (pair.server === null) open(pair)
          pair.client.resume()
          pair.server?.resume()
        }
      }
    },
    delay (ms, which = 'requests') { delayMs[which] = ms },
    target (...ports) { to = ports },
    drop,
    strand () { for (const pair of pairs) pair.deaf = true },
    close () {
      listener.close()
      for (const pair of [...pairs]) end(pair)
    }
  }
}

/** Forwards bytes in order, none before its delay is over. */
function pump (from: Socket, to: Socket, isDeaf: () => boolean, delayMs: () => number): void {
  const waiting: Array<{ chunk: Buffer, dueAt: number }> = []
  const send = (chunk: Buffer) => { if (!isDeaf() && to.writable) to.write(chunk) }
  function release (): void {
    while (waiting[0] !== undefined && waiting[0].dueAt <= performance.now()) send(waiting.shift()!.chunk)
    if (waiting[0] !== undefined) setTimeout(release, Math.max(1, waiting[0].dueAt - performance.now()))
  }
  from.on('data', (chunk: Buffer) => {
    const ms = delayMs()
    if (ms === 0 && waiting.length === 0) return send(chunk)
    waiting.push({ chunk, dueAt: performance.now() + ms })
    if (waiting.length === 1) setTimeout(release, ms)
  })
}
