/**
 * Backups in a bucket of S3, or of a server that speaks its protocol (https://docs.aws.amazon.com/AmazonS3/latest/API).
 *
 * An object larger than a part is sent in parts of 8 MiB, two at a time, and is there once all of them are: S3 shows no half objects.
 * What fails for a moment (a cut connection, 5xx, throttling) is tried again, `attempts` times in all, with growing waits; a
 * reading that breaks off goes on where it stopped, of the same object.
 *
 * Credentials come from where the AWS tools look for them: environment, shared files, the machine's role. Never from the cluster's file.
 */

import type { Readable } from 'node:stream'
import type { S3Client } from '@aws-sdk/client-s3'
import { CacheError, throwIfAborted } from '../../kernel/errors.ts'
import { checkObjectName } from '../../kernel/object-name.ts'
import type {
  BackupCallOptions,
  BackupRange,
  BackupStore,
  StoredObject,
} from '../../snapshot/backup-store.ts'

export interface S3StoreOptions {
  readonly bucket: string
  /** In front of all names; `/` at its end is added where it is missing. Default none. */
  readonly prefix?: string
  /** Default: as the environment says (AWS_REGION), else us-east-1. */
  readonly region?: string
  /** Of another server than Amazon's: `http://host:port`. It is asked by path, not by the bucket's host name. */
  readonly endpoint?: string
  /** Tries of one request in all. Default 5. */
  readonly attempts?: number
  /** For a connection, and for a silence within a request, in milliseconds. Default 5,000 and 30,000. */
  readonly connectTimeoutMs?: number
  readonly silenceTimeoutMs?: number
  /** Names asked for at a time when listing. Default, and maximum of S3, 1000. */
  readonly pageSize?: number
}

const PART_BYTES = 8 * 1024 * 1024
const PARTS_AT_A_TIME = 2
/** Of one request of S3. */
const DELETED_AT_A_TIME = 1000
const PAGE_SIZE = 1000
const RETRY_MS = 200

type Sdk = typeof import('@aws-sdk/client-s3') & typeof import('@aws-sdk/lib-storage')

export class S3Store implements BackupStore {
  readonly where: string
  readonly #options: S3StoreOptions
  readonly #prefix: string
  readonly #attempts: number
  readonly #sdk: Sdk
  readonly #client: S3Client

  private constructor(options: S3StoreOptions, sdk: Sdk) {
    const { bucket, prefix = '', endpoint, region, attempts = 5 } = options
    this.#options = options
    this.#prefix = prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`
    this.#attempts = attempts
    this.#sdk = sdk
    this.where = `s3://${bucket}/${this.#prefix}${endpoint === undefined ? '' : ` at ${endpoint}`}`
    const { connectTimeoutMs = 5000, silenceTimeoutMs = 30_000 } = options
    this.#client = new sdk.S3Client({
      region: region ?? process.env['AWS_REGION'] ?? process.env['AWS_DEFAULT_REGION'] ?? 'us-east-1',
      maxAttempts: attempts,
      requestHandler: { connectionTimeout: connectTimeoutMs, socketTimeout: silenceTimeoutMs },
      // Other servers know neither buckets as host names nor the newer checksums.
      ...(endpoint === undefined
        ? {}
        : {
            endpoint,
            forcePathStyle: true,
            requestChecksumCalculation: 'WHEN_REQUIRED',
            responseChecksumValidation: 'WHEN_REQUIRED',
          }),
    })
  }

  /**
   * Asks the bucket for one name, so that a wrong bucket or missing credentials are told at once.
   * @throws CacheError CONFIGURATION, PERMISSION_DENIED, UNAVAILABLE
   */
  static async open(options: S3StoreOptions): Promise<S3Store> {
    // Loaded only where it is used: the SDK is large.
    const [client, storage] = await Promise.all([
      import('@aws-sdk/client-s3'),
      import('@aws-sdk/lib-storage'),
    ])
    const store = new S3Store(options, { ...client, ...storage })
    try {
      await store.#ask('opening', (sdk, how) =>
        store.#client.send(
          new sdk.ListObjectsV2Command({ Bucket: options.bucket, Prefix: store.#prefix, MaxKeys: 1 }),
          how,
        ),
      )
    } catch (error) {
      await store.close()
      throw error
    }
    return store
  }

  async put(
    name: string,
    content: AsyncIterable<Uint8Array>,
    options: BackupCallOptions = {},
  ): Promise<number> {
    checkObjectName(name)
    let bytes = 0
    const counted = async function* (): AsyncIterable<Uint8Array> {
      for await (const piece of content) {
        throwIfAborted(options.signal)
        bytes += piece.length
        yield piece
      }
    }
    const { Readable: NodeReadable } = await import('node:stream')
    const body = NodeReadable.from(counted(), { objectMode: false })
    // An error of the content itself comes out of the upload, too: it has to be told as it is.
    let contentError: unknown
    body.on('error', (error) => {
      contentError ??= error
    })
    const upload = new this.#sdk.Upload({
      client: this.#client,
      params: { Bucket: this.#options.bucket, Key: this.#prefix + name, Body: body },
      partSize: PART_BYTES,
      queueSize: PARTS_AT_A_TIME,
    })
    try {
      await this.#ask(
        'writing',
        async (_sdk, { abortSignal: signal }) => {
          const abort = (): void => void upload.abort().catch(() => {})
          signal?.addEventListener('abort', abort, { once: true })
          try {
            return await upload.done()
          } finally {
            signal?.removeEventListener('abort', abort)
          }
        },
        options,
      )
    } catch (error) {
      body.destroy()
      throw contentError instanceof CacheError ? contentError : error
    }
    return bytes
  }

  async *get(name: string, options: BackupRange = {}): AsyncIterable<Uint8Array> {
    checkObjectName(name)
    const { from = 0, to } = options
    if (to !== undefined && to <= from) return
    const last = to === undefined ? '' : String(to - 1)
    let at = from
    let etag: string | undefined
    for (let failures = 0; ; ) {
      const answer = await this.#ask(
        'reading',
        (sdk, how) =>
          this.#client.send(
            new sdk.GetObjectCommand({
              Bucket: this.#options.bucket,
              Key: this.#prefix + name,
              ...(at > 0 || last !== '' ? { Range: `bytes=${at}-${last}` } : {}),
              // Only of the object that the reading began with.
              ...(etag === undefined ? {} : { IfMatch: etag }),
            }),
            how,
          ),
        options,
      ).catch((error: unknown) => {
        if (isBeyondEnd(error)) return undefined
        throw error
      })
      if (answer === undefined) return
      etag = answer.ETag
      // A server that knows no ranges sends it all again.
      let skip = at > 0 && answer.ContentRange === undefined ? at : 0
      const begun = at
      const expected = Math.min(begun - skip + (answer.ContentLength ?? 0), to ?? Number.POSITIVE_INFINITY)
      const body = answer.Body as Readable | undefined
      if (body === undefined) return
      try {
        for await (const chunk of body) {
          throwIfAborted(options.signal)
          const piece = chunk as Uint8Array
          const rest = skip === 0 ? piece : piece.subarray(Math.min(skip, piece.length))
          skip -= piece.length - rest.length
          const fresh = at + rest.length > expected ? rest.subarray(0, expected - at) : rest
          at += fresh.length
          if (fresh.length > 0) yield fresh
        }
        if (answer.ContentLength === undefined || at >= expected) return
        throw new Error(`it ended after ${at} of ${expected} bytes`)
      } catch (error) {
        if (error instanceof CacheError) throw error
        failures = at > begun ? 1 : failures + 1
        if (failures >= this.#attempts) throw this.#failure('reading', error)
        await pause(RETRY_MS * 2 ** (failures - 1))
      } finally {
        body.destroy()
      }
    }
  }

  async *list(prefix: string, options: BackupCallOptions = {}): AsyncIterable<StoredObject> {
    let token: string | undefined
    do {
      const page = await this.#ask(
        'listing',
        (sdk, how) =>
          this.#client.send(
            new sdk.ListObjectsV2Command({
              Bucket: this.#options.bucket,
              Prefix: this.#prefix + prefix,
              MaxKeys: this.#options.pageSize ?? PAGE_SIZE,
              ...(token === undefined ? {} : { ContinuationToken: token }),
            }),
            how,
          ),
        options,
      )
      for (const { Key, Size, LastModified } of page.Contents ?? []) {
        if (Key === undefined) continue
        yield {
          name: Key.slice(this.#prefix.length),
          bytes: Size ?? 0,
          modifiedMs: LastModified?.getTime() ?? 0,
        }
      }
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined
    } while (token !== undefined)
  }

  async delete(names: readonly string[], options: BackupCallOptions = {}): Promise<void> {
    for (const name of names) checkObjectName(name)
    for (let at = 0; at < names.length; at += DELETED_AT_A_TIME) {
      const part = names.slice(at, at + DELETED_AT_A_TIME)
      const answer = await this.#ask(
        'removing from',
        (sdk, how) =>
          this.#client.send(
            new sdk.DeleteObjectsCommand({
              Bucket: this.#options.bucket,
              Delete: { Objects: part.map((name) => ({ Key: this.#prefix + name })), Quiet: true },
            }),
            how,
          ),
        options,
      )
      const failed = answer.Errors?.find((error) => error.Code !== 'NoSuchKey')
      if (failed !== undefined)
        throw new CacheError(
          failed.Code === 'AccessDenied' ? 'PERMISSION_DENIED' : 'UNAVAILABLE',
          `${failed.Key ?? 'an object'} could not be removed from ${this.where}: ${failed.Message ?? failed.Code}`,
        )
    }
  }

  async close(): Promise<void> {
    this.#client.destroy()
  }

  async #ask<T>(
    what: string,
    request: (sdk: Sdk, how: { readonly abortSignal?: AbortSignal }) => Promise<T>,
    { signal }: BackupCallOptions = {},
  ): Promise<T> {
    throwIfAborted(signal)
    try {
      return await request(this.#sdk, signal === undefined ? {} : { abortSignal: signal })
    } catch (error) {
      throwIfAborted(signal)
      throw error instanceof CacheError ? error : this.#failure(what, error)
    }
  }

  #failure(what: string, error: unknown): CacheError {
    const { name, message, $metadata } = error as {
      name?: string
      message?: string
      $metadata?: { httpStatusCode?: number; attempts?: number }
    }
    const failed = `${what} ${this.where} failed`
    const is = (
      code: 'INVALID_ARGUMENT' | 'CONFIGURATION' | 'PERMISSION_DENIED' | 'UNAVAILABLE',
      why: string,
    ) => new CacheError(code, `${failed}: ${why}`, { cause: error })
    const status = $metadata?.httpStatusCode
    switch (name) {
      case 'NoSuchKey':
      case 'NotFound':
        return is('INVALID_ARGUMENT', 'there is no such object')
      case 'NoSuchBucket':
        return is('CONFIGURATION', `there is no bucket ${this.#options.bucket}; create it, or name another`)
      case 'PreconditionFailed':
        return is('UNAVAILABLE', 'the object was replaced while it was read; read it again')
      case 'CredentialsProviderError':
        return is(
          'CONFIGURATION',
          'there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role',
        )
      case 'InvalidAccessKeyId':
      case 'SignatureDoesNotMatch':
      case 'InvalidToken':
      case 'ExpiredToken':
        return is('PERMISSION_DENIED', `the credentials are refused (${name}); set others`)
      case 'PermanentRedirect':
      case 'AuthorizationHeaderMalformed':
        return is('CONFIGURATION', `the bucket lies in another region (${message ?? name}); set \`region\``)
      default:
        if (status === 401 || status === 403)
          return is(
            'PERMISSION_DENIED',
            `access is denied (${name ?? status}); allow it to the credentials in use`,
          )
        // Asking again would not help.
        if (status !== undefined && status >= 400 && status < 500)
          return is(
            'CONFIGURATION',
            `the server refuses it (${name ?? status}): ${message ?? 'no reason given'}`,
          )
        return is(
          'UNAVAILABLE',
          `${message ?? name ?? 'no answer'}, after ${$metadata?.attempts ?? this.#attempts} tries`,
        )
    }
  }
}

/** A range was asked for that begins where the object ends, or behind that. */
function isBeyondEnd(error: unknown): boolean {
  const { cause } = error as { cause?: { $metadata?: { httpStatusCode?: number } } }
  return cause?.$metadata?.httpStatusCode === 416
}

function pause(ms: number): Promise<void> {
  return new Promise((settle) => setTimeout(settle, ms))
}
