/** A client that neither encodes nor decodes: its values are RawValues. */

import { CacheClient } from './cache-client.ts'
import { ClientCore, type ClientPorts } from './client-core.ts'
import { type RawValue, RawValueCodec } from './codecs/raw-value.ts'
import type { ClientSettings } from './options.ts'
import { RegionHandle } from './target.ts'

/** Use `openRawClient`, unless regions with prefixes of their own are needed. */
export class RawClientCore extends ClientCore {
  override readonly values: RawValueCodec = new RawValueCodec()

  constructor(ports: ClientPorts, settings: ClientSettings) {
    super(ports, settings, async () => {})
  }
}

/** Connected. @throws CacheError UNAVAILABLE, NOT_READY. */
export async function openRawClient(
  ports: ClientPorts,
  settings: ClientSettings,
): Promise<CacheClient<RawValue>> {
  const core = new RawClientCore(ports, settings)
  try {
    await core.contact()
  } catch (error) {
    await core.close()
    throw error
  }
  return new CacheClient<RawValue>(core, new RegionHandle(settings.region, settings.keyPrefix))
}
