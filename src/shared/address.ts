import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

type Address = ipaddr.IPv4 | ipaddr.IPv6

/** What is needed of a request to know where it came from; `ip` is what a trusted proxy reported, else the peer. */
export interface Origin { ip: string, socket: { remoteAddress?: string | undefined } }

/**
 * The client's address. A proxy may report it with a port. A report that is no address at all counts as the peer's, so that nobody gets a
 * limit of their own by making one up.
 */
export function addressOf ({ ip, socket }: Origin): string {
  return stripPort(ip) ?? socket.remoteAddress ?? ip
}

/** The address in `text` without the port and brackets that some proxies add to it; null where there is none. */
export function stripPort (text: string): string | null {
  const [, bracketed] = /^\[(.+)\](?::\d+)?$/.exec(text) ?? []
  const [, withPort] = /^([\d.]+):\d+$/.exec(text) ?? []
  const address = bracketed ?? withPort ?? text
  return isIP(address) === 0 ? null : address
}

/**
 * The network of one subscriber: an IPv4 address, or the /64 of an IPv6 one, in which a host may pick any address. What is no address
 * stays as it is.
 */
export function networkOf (address: string): string {
  if (isIP(address) === 0) return address
  const parsed = parse(address)
  return parsed instanceof ipaddr.IPv4 ? parsed.toString() : `${parsed.parts.slice(0, 4).map(part => part.toString(16)).join(':')}::/64`
}

/** Whether `text` is an address or a CIDR. */
export function isNetwork (text: string): boolean {
  const [address = '', bits] = text.split('/')
  if (isIP(address) === 0 || address.includes('%')) return false
  return bits === undefined || (/^[1-9]\d*$/.test(bits) && ipaddr.isValidCIDR(text))
}

/** A check whether an address, with or without a port, lies in one of `networks`: addresses or CIDRs. IPv4-mapped IPv6 counts as IPv4. */
export function createNetworkMatcher (networks: string[]): (text: string) => boolean {
  const ranges = networks.map(readNetwork)
  return text => {
    const address = stripPort(text)
    if (address === null) return false
    const parsed = parse(address)
    return ranges.some(([network, bits]) => network.kind() === parsed.kind() && parsed.match(network, bits))
  }
}

/** Parses an address, an IPv4-mapped one as IPv4. ipaddr.js takes ::192.0.2.1 for ::ffff:192.0.2.1; as a URL's host it has no dots. */
function parse (address: string): Address {
  const [bare = ''] = address.split('%', 1)
  return ipaddr.process(bare.includes(':') ? new URL(`http://[${bare}]`).hostname.slice(1, -1) : bare)
}

function readNetwork (text: string): [Address, number] {
  const [address, bits] = ipaddr.parseCIDR(text.includes('/') ? text : `${text}/${isIP(text) === 4 ? 32 : 128}`)
  const isMapped = address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress() && bits >= 96
  return isMapped ? [address.toIPv4Address(), bits - 96] : [address, bits]
}
