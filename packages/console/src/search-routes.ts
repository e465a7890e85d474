import { Readable } from 'node:stream';
import { HttpError } from '@video-pipeline/http';
import { exported, FORMATS, foundFrames, MEDIA_TYPES, type Query } from '@video-pipeline/tables';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { ExportSize, Histogram, Names, SearchResult } from './api.ts';
import {
  binMsOf,
  type ConsoleRoute,
  disconnectSignal,
  number,
  rangeOf,
  severalOf,
  streamId,
} from './params.ts';
import type { RoutesOptions } from './routes-options.ts';

const PAGE = 24;
const MAX_BINS = 120;
/** Most frames of one export. */
const MAX_EXPORTED = 100_000;
/** Most exports at the same time. Each reads for minutes. */
const EXPORTS_AT_ONCE = 2;
/** Number of pictures by which the size of an export is estimated. */
const SAMPLE = 8;

type SearchRoutesOptions = Pick<RoutesOptions, 'live' | 'tables' | 'bucket' | 'streamsFile'>;

/** Routes for the search in stored detections: frames, counts over time, exports. */
export function addSearchRoutes(app: FastifyInstance, options: SearchRoutesOptions): void {
  const { tables, bucket } = options;
  let exports = 0;
  app.get('/api/names', () => namesOf(options));
  app.get<ConsoleRoute>('/api/search', (request, reply) => search(options, request.query, reply));
  app.get<ConsoleRoute>('/api/search/histogram', async ({ query }, reply) => {
    const criteria = queryOf(query);
    const bin_ms = binMsOf(criteria, MAX_BINS);
    const counts = await tables.histogram(criteria, bin_ms, disconnectSignal(reply));
    return { from: criteria.from, bin_ms, counts } satisfies Histogram;
  });
  app.get<ConsoleRoute>('/api/search/size', async ({ query }, reply): Promise<ExportSize> => {
    const criteria = { ...queryOf(query), limit: SAMPLE };
    const signal = disconnectSignal(reply);
    const frames = await foundFrames(tables, criteria, signal);
    // One bin: the whole range.
    const counts =
      frames.length < SAMPLE ? [] : await tables.histogram(criteria, criteria.to - criteria.from, signal);
    const total = counts[0] ?? frames.length;
    const sizes = await Promise.all(
      frames.map(({ annotated_key, archive }) => {
        if (archive) return archive.length;
        return bucket
          .head(annotated_key, 1)
          .then(({ size }) => size)
          .catch(async () => (await bucket.read(annotated_key)).length)
          .catch(() => 0);
      }),
    );
    const sum = sizes.reduce((bytes, size) => bytes + size, 0);
    const count = Math.min(total, MAX_EXPORTED);
    return { frames: count, bytes: Math.round((sum / Math.max(1, sizes.length)) * count) };
  });
  app.get<ConsoleRoute>('/api/search/export', async ({ query }, reply) => {
    const format = FORMATS.find((one) => one === query.get('format'));
    if (!format) throw new HttpError(400, `format must be one of ${FORMATS.join(', ')}`);
    const criteria = { ...queryOf(query), limit: MAX_EXPORTED };
    if (exports >= EXPORTS_AT_ONCE) throw new HttpError(503, 'two exports are under way: try again later');
    exports += 1;
    reply.raw.once('close', () => {
      exports -= 1;
    });
    const [type, extension] = MEDIA_TYPES[format];
    const pieces = exported(tables, criteria, format, { reader: bucket, signal: disconnectSignal(reply) });
    const name = `search-${new Date(criteria.from).toISOString().slice(0, 19).replaceAll(':', '')}Z.${extension}`;
    return reply
      .type(type)
      .header('content-disposition', `attachment; filename="${name}"`)
      .send(Readable.from(pieces, { objectMode: false }));
  });
}

/** @throws HttpError */
function queryOf(query: URLSearchParams): Query {
  return {
    ...rangeOf(query),
    streams: severalOf(query, 'stream').map(streamId),
    classes: severalOf(query, 'class'),
    track: query.get('track') || undefined,
    zone: query.get('zone') || undefined,
    perTrack: query.get('per') === 'track',
    confidence: number(query, 'confidence', 0, 0, 1),
    limit: 0,
  };
}

async function namesOf({ live, tables, streamsFile }: SearchRoutesOptions): Promise<Names> {
  // A search is likely to follow, so the database is loaded.
  tables.warm().catch(() => {});
  // Live names are still useful while S3 does not answer.
  const stored = await tables.streams().catch(() => []);
  const streams = [...new Set([...live.streams(), ...stored, ...(streamsFile.ids() ?? [])])].sort();
  return { streams, classes: live.classes() };
}

async function search(
  options: SearchRoutesOptions,
  query: URLSearchParams,
  reply: FastifyReply,
): Promise<SearchResult> {
  const criteria = { ...queryOf(query), limit: PAGE, cursor: query.get('cursor') ?? undefined };
  const result = await options.tables.search(criteria, disconnectSignal(reply));
  const found = result.frames.length > 0 || result.cursor !== undefined;
  const note = found ? undefined : await whyNothing(options, criteria);
  return { ...result, ...(note ? { note } : {}) };
}

/** Most existing names that a note shows. */
const SHOWN_NAMES = 20;

/** Names a stream or class of the query that does not exist, and those that do. */
async function whyNothing(options: SearchRoutesOptions, criteria: Query): Promise<string | undefined> {
  const { streams, classes } = await namesOf(options);
  const stream = criteria.streams?.find((one) => !streams.includes(one));
  if (stream !== undefined) return `there is no stream '${stream}'; ${known(streams)}`;
  const className = criteria.classes?.find((one) => !classes.includes(one));
  if (className !== undefined && classes.length > 0)
    return `no '${className}' was detected recently; ${known(classes)}`;
  return undefined;
}

function known(names: readonly string[]): string {
  const shown = names.slice(0, SHOWN_NAMES).join(', ');
  return names.length > SHOWN_NAMES
    ? `there are ${shown} and ${names.length - SHOWN_NAMES} more`
    : `there are ${shown}`;
}
