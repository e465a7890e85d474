import {
  DeleteObjectsCommand,
  GetObjectCommand,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import { type Config, readConfig } from '@video-pipeline/config';
import { ifThere, isMissing } from './reader.ts';

/** Variables that say where objects go. Credentials come from the environment as the AWS SDK reads it. */
export const STORAGE_VARIABLES = ['S3_BUCKET', 'AWS_REGION', 'AWS_ENDPOINT_URL'] as const;
export type StorageSettings = Config<(typeof STORAGE_VARIABLES)[number]>;

export interface StoredObject {
  key: string;
  body: Buffer | string;
  contentType: string;
  /** A few facts kept with the object; the values are ASCII. */
  metadata?: Record<string, string>;
  /** Left out: the default of the S3 API. */
  storageClass?: 'STANDARD' | 'STANDARD_IA' | 'ONEZONE_IA' | 'INTELLIGENT_TIERING' | 'GLACIER_IR' | undefined;
}

export interface Store {
  /** Resolves once the bucket has acknowledged the object; an object of the same key is overwritten. */
  put(object: StoredObject): Promise<void>;
}

/** An object whose body is made from the one that is stored under its key. */
export interface MergedObject extends Omit<StoredObject, 'body' | 'metadata' | 'storageClass'> {
  /** Whether an object is likely to be stored there: then it is read first. */
  exists?: boolean;
  /** @param before the stored body; undefined where there is no object */
  merge(before: string | undefined): string;
}

export interface MergingStore extends Store {
  /**
   * Resolves once the bucket has acknowledged the object. If another process writes the same key meanwhile, the object
   * is merged again, so that nothing is lost. That needs conditional writes in the S3 API.
   */
  merge(object: MergedObject): Promise<void>;
}

/** Writes objects only over the version that was read, and removes them. */
export interface VersionedStore extends MergingStore {
  /**
   * Stores an object over the version with this ETag. Without an ETag, it is stored only if there is no object yet.
   * @returns `false` when another process was faster; that needs conditional writes in the S3 API
   */
  putOver(object: StoredObject, etag: string | undefined): Promise<boolean>;
  remove(keys: readonly string[]): Promise<void>;
}

/** Attempts to merge an object that another process keeps changing. */
const MERGE_ATTEMPTS = 10;
/** The condition of a write does not hold (any more). */
const CONFLICTS = new Set(['PreconditionFailed', 'ConditionalRequestConflict']);

// Other S3 APIs have no host name for each bucket, and some refuse the checksums that AWS takes. The SDK refuses such
// APIs where this machine is set up for AWS' FIPS or IPv6 endpoints.
const OTHER_THAN_AWS = {
  forcePathStyle: true,
  requestChecksumCalculation: 'WHEN_REQUIRED',
  useFipsEndpoint: false,
  useDualstackEndpoint: false,
} as const;

/** Longest wait for an answer, or for the rest of it, milliseconds. An upload has more time: SLOWEST is added. */
const RESPONSE_TIMEOUT_MS = 20_000;
/** Slowest upload, bytes a millisecond. */
const SLOWEST = 250;
/** How long idle connections are kept, ms. When a frozen Lambda goes on, all may be dead. The SDK tries only three. */
const IDLE_MS = 4_000;
const REQUESTS = {
  connectionTimeout: 3_000,
  requestTimeout: RESPONSE_TIMEOUT_MS,
  throwOnRequestTimeout: true,
  // For an answer that stops midway.
  socketTimeout: RESPONSE_TIMEOUT_MS,
  httpAgent: { timeout: IDLE_MS },
  httpsAgent: { timeout: IDLE_MS },
};

/** How the AWS SDK reaches the S3 API that the environment names; connections are kept open. */
export function s3Config({ AWS_REGION, AWS_ENDPOINT_URL }: StorageSettings): S3ClientConfig {
  return {
    region: AWS_REGION,
    // The middleware never changes after the first request, so the SDK need not resolve it for each one.
    cacheMiddleware: true,
    ...(AWS_ENDPOINT_URL ? { endpoint: AWS_ENDPOINT_URL, ...OTHER_THAN_AWS } : {}),
    requestHandler: REQUESTS,
  };
}

/** Most objects that S3 deletes in one call. */
const DELETE_AT_ONCE = 1000;

/** @throws Error that names the first object which is still there */
export async function removeObjects(
  client: S3Client,
  Bucket: string,
  keys: readonly string[],
): Promise<void> {
  for (let first = 0; first < keys.length; first += DELETE_AT_ONCE) {
    const Objects = keys.slice(first, first + DELETE_AT_ONCE).map((Key) => ({ Key }));
    const { Errors = [] } = await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
    const [one] = Errors;
    if (one) throw new Error(`${one.Key} was not removed: ${one.Code} ${one.Message}`);
  }
}

/**
 * A store on the bucket that the environment names. Nothing is sent before it is used.
 * @example
 * await createStore().put({ key: 'people/gate.json', body: '{}', contentType: 'application/json' });
 */
export function createStore(settings: StorageSettings = readConfig(STORAGE_VARIABLES)): VersionedStore {
  const config = s3Config(settings);
  const client = new S3Client(config);
  // While a large body is sent by TLS, Node's sockets seem to be inactive.
  const uploads = new S3Client({ ...config, requestHandler: { ...REQUESTS, socketTimeout: 0 } });
  const Bucket = settings.S3_BUCKET;
  const put = async (
    { key, body, contentType, metadata, storageClass }: StoredObject,
    condition: { IfMatch?: string; IfNoneMatch?: string } = {},
  ) => {
    // The SDK takes an empty string for a stream of unknown length, and prints a warning for each.
    const Body = body || Buffer.alloc(0);
    const object = { Bucket, Key: key, Body, ContentType: contentType, StorageClass: storageClass };
    await uploads.send(
      new PutObjectCommand({ ...object, ...(metadata ? { Metadata: metadata } : {}), ...condition }),
      { requestTimeout: RESPONSE_TIMEOUT_MS + Buffer.byteLength(body) / SLOWEST },
    );
  };
  const putOver = async (object: StoredObject, etag: string | undefined): Promise<boolean> => {
    try {
      await put(object, etag === undefined ? { IfNoneMatch: '*' } : { IfMatch: etag });
      return true;
    } catch (error) {
      // The object that was read is gone, or was changed.
      if (isMissing(error) || CONFLICTS.has((error as Error).name)) return false;
      throw error;
    }
  };
  const read = async (key: string) => {
    const found = await ifThere(client.send(new GetObjectCommand({ Bucket, Key: key })));
    return found && { text: (await found.Body?.transformToString()) ?? '', etag: found.ETag };
  };
  return {
    put: (object) => put(object),
    putOver,
    remove: (keys) => removeObjects(client, Bucket, keys),
    async merge({ key, contentType, merge, exists = false }) {
      // A new object needs no read before the first attempt.
      let before = exists ? await read(key) : undefined;
      for (let attempt = 1; attempt <= MERGE_ATTEMPTS; attempt++) {
        if (await putOver({ key, contentType, body: merge(before?.text) }, before?.etag)) return;
        before = await read(key);
      }
      throw new Error(`${key} was changed by others in each of ${MERGE_ATTEMPTS} attempts to add to it`);
    },
  };
}
