import { type Document, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { z } from 'zod';
import { type SceneConfig, sceneConfigSchema } from './config.ts';

/** Where the list lies in the bucket of a deployed stage: without addresses, which hold passwords. */
export const STREAMS_KEY = 'config/streams.json';

/** A list of streams that can't be used; says which line and which field. */
export class StreamsError extends Error {
  override readonly name = 'StreamsError';
}

/** What is wrong with one entry of a list of streams. */
export interface StreamProblem {
  /** The entry's id, where it has one. */
  id: string | undefined;
  /** Names line and field, and never shows a value as it stands there, since that may hold a password. */
  text: string;
}

/** A list of streams as far as it can be read. */
export interface StreamList<Entry> {
  /** Those with nothing wrong. */
  entries: Entry[];
  problems: StreamProblem[];
}

/**
 * Reads a list of streams, YAML or JSON: `[{id, ...}, ...]`. What is wrong with one entry does not touch the others.
 * @param entry the schema of one stream
 * @param where name of the variable or file, for errors
 * @throws StreamsError for what is no list at all
 */
export function readStreamList<Entry extends { id: string }>(
  text: string,
  entry: z.ZodType<Entry>,
  where: string,
): StreamList<Entry> {
  const lines = new LineCounter();
  const document = parseStreamsDocument(text, lines);
  const [syntax] = document.errors;
  if (syntax) {
    throw new StreamsError(`${where}: line ${lines.linePos(syntax.pos[0]).line}: not YAML (${syntax.code})`);
  }
  const list = document.contents;
  if (!isSeq<Node>(list)) throw new StreamsError(`${where}: must be a list of streams: [{id: ..., ...}]`);

  const problems: StreamProblem[] = [];
  const entries: Entry[] = [];
  for (const item of list.items) {
    const value = plain(item, document, where);
    const id = idOf(value);
    const note = (node: Node, problem: string) =>
      problems.push({ id, text: `line ${lines.linePos(node.range?.[0] ?? 0).line}: ${problem}` });
    const { data, error } = entry.safeParse(value);
    for (const issue of error?.issues ?? []) note(nodeOf(item, issue), describe(issue));
    if (!data) continue;
    if (entries.some(({ id }) => id === data.id)) note(item, `id '${data.id}' is there twice`);
    else entries.push(data);
  }
  return { entries, problems };
}

/**
 * Reads a list of streams, all of it.
 * @throws StreamsError naming line and field of everything that is wrong
 */
export function parseStreamList<Entry extends { id: string }>(
  text: string,
  entry: z.ZodType<Entry>,
  where: string,
): Entry[] {
  const { entries, problems } = readStreamList(text, entry, where);
  if (problems.length > 0) throw new StreamsError(`${where}: ${problems.map(({ text }) => text).join('; ')}`);
  return entries;
}

/** A byte order mark, as some editors write it, and merge keys (`<<`) are understood; what is empty is an empty list. */
export function parseStreamsDocument(text: string, lineCounter = new LineCounter()): Document.Parsed {
  // Pretty errors quote the text, which may hold a password, and take time by the square of their number.
  const document: Document = parseDocument(text.replace(/^\uFEFF/, ''), {
    lineCounter,
    merge: true,
    prettyErrors: false,
    logLevel: 'error',
  });
  if (document.errors.length === 0 && document.contents === null) document.contents = document.createNode([]);
  return document as Document.Parsed;
}

function idOf(value: unknown): string | undefined {
  const { id } = Object(value);
  return typeof id === 'string' ? id : undefined;
}

/** What may stand beside `id` in an entry is the ingest host's business, but for the scene. */
const streamWithScene = z.looseObject({ id: z.string(), scene: sceneConfigSchema.optional() });

const streamEntry = z.looseObject({
  id: z.string(),
  name: z.string().optional(),
  disabled: z.boolean().optional(),
});

/** A stream as a list has it: what people call it, and whether it is read. */
export interface ListedStream {
  id: string;
  name?: string;
  disabled: boolean;
}

/**
 * Reads which streams a list has, those included with something else wrong.
 * @throws StreamsError for what is no list at all
 */
export function readStreamIds(text: string, where: string): ListedStream[] {
  const { entries } = readStreamList(text, streamEntry, where);
  return entries.map(({ id, name, disabled = false }) => ({ id, disabled, ...(name ? { name } : {}) }));
}

/**
 * Reads the scenes out of a list of streams, those that can be read.
 * @returns by stream id; `undefined` for a stream without a scene
 * @throws StreamsError for what is no list at all
 */
export function readScenes(
  text: string,
  where: string,
): { scenes: Map<string, SceneConfig | undefined>; problems: StreamProblem[] } {
  const { entries, problems } = readStreamList(text, streamWithScene, where);
  return { scenes: new Map(entries.map(({ id, scene }) => [id, scene])), problems };
}

/**
 * Reads the scenes out of a list of streams, all of it.
 * @returns by stream id; a stream without a scene is not in it
 * @throws StreamsError
 */
export function parseScenes(text: string, where: string): Map<string, SceneConfig> {
  const streams = parseStreamList(text, streamWithScene, where);
  return new Map(streams.flatMap(({ id, scene }) => (scene ? [[id, scene] as const] : [])));
}

/** @throws StreamsError for aliases that lead nowhere, or that multiply a few lines into millions */
function plain(item: Node, document: Document, where: string): unknown {
  try {
    return isMap(item) ? item.toJS(document) : undefined;
  } catch (cause) {
    throw new StreamsError(`${where}: has an alias that leads nowhere, or too many of them`, { cause });
  }
}

/** The innermost node on the way to what is wrong: a key where there is one. */
function nodeOf(item: Node, issue: z.core.$ZodIssue): Node {
  const path = issue.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0]] : issue.path;
  let node: Node = item;
  let at: unknown = item;
  for (const step of path) {
    if (isMap(at)) {
      const pair = at.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
      if (!isScalar(pair?.key)) break;
      node = pair.key;
      at = pair.value;
    } else if (isSeq<Node>(at)) {
      at = at.items[Number(step)];
      if (!isMap(at) && !isSeq(at) && !isScalar(at)) break;
      node = at;
    } else break;
  }
  return node;
}

function describe(issue: z.core.$ZodIssue): string {
  const field = issue.path.length > 0 ? `'${issue.path.join('.')}' ` : '';
  return `${field}${issue.message.replace(/^Invalid input: /, 'is invalid: ')}`;
}
