import { type Document, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { z } from 'zod';
import { type SceneConfig, sceneConfigSchema } from './config.ts';

/** Key of the list in the bucket of a deployed stage. This list has no URLs, since they hold passwords. */
export const STREAMS_KEY = 'config/streams.json';

/** A list of streams can't be used. The message names line and field. */
export class StreamsError extends Error {
  override readonly name = 'StreamsError';
}

/** An error in one entry of a list of streams. */
export interface StreamProblem {
  /** The entry's id, if it has one. */
  id: string | undefined;
  /** It names line and field, and never shows a value, since that may hold a password. */
  text: string;
}

/**
 * Reads a list of streams, YAML or JSON: `[{id, ...}, ...]`. An error in one entry does not affect the others.
 * @param entry the schema of one stream
 * @param where name of the variable or file, for errors
 * @returns the entries without an error, and the errors of the others
 * @throws StreamsError if the text is not a list
 */
export function readStreamList<Entry extends { id: string }>(
  text: string,
  entry: z.ZodType<Entry>,
  where: string,
): { entries: Entry[]; problems: StreamProblem[] } {
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
 * Reads a whole list of streams.
 * @throws StreamsError naming line and field of all errors
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

/** Parses the list. A byte order mark, which some editors write, merge keys (`<<`) and an empty text are allowed. */
export function parseStreamsDocument(text: string, lineCounter = new LineCounter()): Document.Parsed {
  // Pretty errors quote the text, which may hold a password, and their time grows with the square of their number.
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

/** Only `id` and the scene are checked here. The ingest host checks the other fields. */
const streamWithScene = z.looseObject({ id: z.string(), scene: sceneConfigSchema.optional() });

const listedStream = z.object({
  id: z.string(),
  name: z.string().optional(),
  disabled: z.boolean().default(false),
});
/** A stream in a list: its display name, and whether it is read. */
export type ListedStream = z.output<typeof listedStream>;

/**
 * Reads the streams of a list, including entries with other errors.
 * @throws StreamsError if the text is not a list
 */
export function readStreamIds(text: string, where: string): ListedStream[] {
  return readStreamList(text, listedStream, where).entries;
}

/**
 * Reads the valid scenes of a list of streams.
 * @returns by stream id; `undefined` for a stream without a scene
 * @throws StreamsError if the text is not a list
 */
export function readScenes(
  text: string,
  where: string,
): { scenes: Map<string, SceneConfig | undefined>; problems: StreamProblem[] } {
  const { entries, problems } = readStreamList(text, streamWithScene, where);
  return { scenes: new Map(entries.map(({ id, scene }) => [id, scene])), problems };
}

/**
 * Reads all scenes of a list of streams.
 * @returns by stream id; a stream without a scene is left out
 * @throws StreamsError
 */
export function parseScenes(text: string, where: string): Map<string, SceneConfig> {
  const streams = parseStreamList(text, streamWithScene, where);
  return new Map(streams.flatMap(({ id, scene }) => (scene ? [[id, scene] as const] : [])));
}

/** @throws StreamsError for aliases without an anchor, or that expand a few lines into millions */
function plain(item: Node, document: Document, where: string): unknown {
  try {
    return isMap(item) ? item.toJS(document) : undefined;
  } catch (cause) {
    throw new StreamsError(`${where}: has an alias that leads nowhere, or too many of them`, { cause });
  }
}

/** The innermost node on the path to the error: its key, if there is one. */
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
