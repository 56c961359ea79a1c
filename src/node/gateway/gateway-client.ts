/** The client behind the gateway, connected when it is first needed. */

import { CacheClient } from '../../client/cache-client.ts'
import type { ClientCore, ClientPorts } from '../../client/client-core.ts'
import type { RawValue } from '../../client/codecs/raw-value.ts'
import { resolveSettings } from '../../client/options.ts'
import { RawClientCore } from '../../client/raw-client.ts'
import { RegionHandle } from '../../client/target.ts'

const CONNECT_TIMEOUT_MS = 1_000

export interface GatewayClientOptions {
  /** Shown to operators. Default `unary gateway`. */
  readonly name?: string
  /** Of one call, in milliseconds. Default as any client's. */
  readonly timeoutMs?: number
}

export class GatewayClient {
  readonly #ports: ClientPorts
  readonly #address: string
  readonly #options: GatewayClientOptions
  #core: Promise<ClientCore> | undefined
  #closed = false

  /** @param address of this process's own node */
  constructor(ports: ClientPorts, address: string, options: GatewayClientOptions = {}) {
    this.#ports = ports
    this.#address = address
    this.#options = options
  }

  /** @throws CacheError NOT_READY or UNAVAILABLE while there is no cluster to talk to. */
  async region(name: string, prefix = ''): Promise<CacheClient<RawValue>> {
    this.#core ??= this.#connect()
    let core: ClientCore
    try {
      core = await this.#core
    } catch (error) {
      this.#core = undefined
      throw error
    }
    const region = new RegionHandle(name === '' ? 'default' : name, prefix)
    // Refuses an unknown region here, by name.
    region.record(core.router.topology)
    return new CacheClient<RawValue>(core, region)
  }

  async close(): Promise<void> {
    this.#closed = true
    const core = await this.#core?.catch(() => undefined)
    await core?.close()
  }

  async #connect(): Promise<ClientCore> {
    const { name = 'unary gateway', timeoutMs } = this.#options
    const settings = resolveSettings({
      nodes: [this.#address],
      connectTimeout: CONNECT_TIMEOUT_MS,
      name,
      ...(timeoutMs === undefined ? {} : { timeout: timeoutMs }),
    })
    const core = new RawClientCore(this.#ports, settings)
    try {
      await core.contact()
    } catch (error) {
      await core.close()
      throw error
    }
    if (this.#closed) await core.close()
    return core
  }
}
