/** Where a node listens, as text: `host:port`, an IPv6 host in brackets (RFC 3986). */

export interface Address {
  /** A name or an IP address, without brackets. */
  readonly host: string
  /** 1..65535 */
  readonly port: number
}

const HOST_NAME = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/i
const IPV6 = /^[0-9a-f:.]*:[0-9a-f:.]*$/i
const DIGITS_AND_DOTS = /^[0-9.]+$/
const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/

/** The parts of `host:port`, or undefined when it is not that. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  if (match === null) return undefined
  const [, bracketed, plain, digits] = match
  const port = Number(digits)
  if (port < 1 || port > 65_535) return undefined
  if (bracketed !== undefined) return IPV6.test(bracketed) ? { host: bracketed, port } : undefined
  const host = plain ?? ''
  // What looks like an IPv4 address has to be one: 127.0.0.256 is no host name.
  const valid = DIGITS_AND_DOTS.test(host) ? IPV4.test(host) : host.length <= 253 && HOST_NAME.test(host)
  return valid ? { host, port } : undefined
}

/** Whether only this machine can reach a socket that listens on `host`. */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase()
  return name === 'localhost' || name === '::1' || /^127\.\d+\.\d+\.\d+$/.test(name)
}
