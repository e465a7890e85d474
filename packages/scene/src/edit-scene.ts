import { type Document, isAlias, isMap, isScalar, isSeq, type YAMLMap } from 'yaml';
import type { Rule } from './config.ts';
import { parseScenes, parseStreamsDocument, StreamsError } from './streams.ts';

/** What can be drawn on a picture: where it lies in a scene, and the rules that tell of it, by what they are named. */
const KINDS = {
  zone: { section: 'zones', rules: { entered_zone: 'entered', left_zone: 'left' } },
  line: { section: 'lines', rules: { line_crossed: 'crossed' } },
} as const;
export type ShapeKind = keyof typeof KINDS;

/** A zone or a line as somebody drew it. Checked here, so that its parts may come from anywhere. */
export type Shape = {
  name: string;
  /** Whether rules shall tell of who enters and leaves the zone, or crosses the line. */
  events: boolean;
} & ({ kind: 'zone'; polygon: unknown } | { kind: 'line'; from: unknown; to: unknown });

/** Long lists of corners are broken into lines at this width. */
const LINE_WIDTH = 110;
/** Of a name that nothing has, an error shows so much: as long as a name may be. */
const SHOWN_NAME = 64;

/**
 * Puts a zone or a line into the scene of one stream. Of one of that name the points alone change; comments and all
 * other fields stay, the layout is tidied. JSON stays JSON.
 * @param text a list of streams, as {@link parseScenes} reads it
 * @returns the whole list
 * @throws StreamsError naming line and field of what is wrong, in the list as it is or as it would become
 */
export function putShape(text: string, streamId: string, shape: Shape, where: string): string {
  const { kind, name, events, ...points } = shape;
  const { section, rules } = KINDS[kind];
  const known = rulesOf(text, streamId, where);
  const document = parseStreamsDocument(text);
  const scene = childMap(document, streamOf(document, streamId, where), 'scene');
  const drawn = childMap(document, childMap(document, scene, section), name);
  for (const [field, value] of Object.entries(points)) {
    drawn.set(field, document.createNode(value, { flow: true }));
  }
  for (const [type, verb] of Object.entries(events ? rules : {})) {
    if (known.some((rule) => rule.type === type && tellsOf(rule, kind, name))) continue;
    if (!scene.has('events')) scene.set('events', document.createNode([]));
    const rule = { type, name: `${name}-${verb}`, [kind]: name };
    scene.addIn(['events'], document.createNode(rule, { flow: true }));
  }
  const written = writeStreams(document, text, where);
  // A name that JavaScript itself uses is left out of what is read.
  if (!Object.hasOwn(parseScenes(written, where).get(streamId)?.[section] ?? {}, name)) {
    throw new StreamsError(`${where}: '${name}' can't name a ${kind}`);
  }
  return written;
}

/**
 * Takes a zone or a line out of the scene of one stream, and the rules that tell of it.
 * @returns the whole list
 * @throws StreamsError when it isn't there, or when something else in the list needs it, naming line and field
 */
export function removeShape(
  text: string,
  streamId: string,
  { kind, name }: Pick<Shape, 'kind' | 'name'>,
  where: string,
): string {
  const rules = rulesOf(text, streamId, where);
  const document = parseStreamsDocument(text);
  const scene = childMap(document, streamOf(document, streamId, where), 'scene');
  const shapes = childMap(document, scene, KINDS[kind].section);
  if (!shapes.delete(keyOf(shapes, name))) {
    throw new StreamsError(`${where}: stream '${streamId}' has no ${kind} '${name.slice(0, SHOWN_NAME)}'`);
  }
  const list = resolved(document, scene.get('events', true));
  if (isSeq(list)) list.items = list.items.filter((_, i) => !rules[i] || !tellsOf(rules[i], kind, name));
  const written = writeStreams(document, text, where);
  parseScenes(written, where);
  return written;
}

function rulesOf(text: string, streamId: string, where: string): Rule[] {
  return parseScenes(text, where).get(streamId)?.events ?? [];
}

function tellsOf(rule: Rule, kind: ShapeKind, name: string): boolean {
  return (rule as { [Kind in ShapeKind]?: string | undefined })[kind] === name;
}

function streamOf(document: Document, streamId: string, where: string): YAMLMap {
  const items = isSeq(document.contents) ? document.contents.items : [];
  const stream = items.find((item): item is YAMLMap => isMap(item) && item.get('id') === streamId);
  if (!stream) throw new StreamsError(`${where}: there is no stream '${streamId}'`);
  return stream;
}

/** The map under `name`, a new one where there is none. */
function childMap(document: Document, parent: YAMLMap, name: string): YAMLMap {
  const key = keyOf(parent, name);
  const map = resolved(document, parent.get(key, true));
  if (isMap(map)) return map;
  const created = document.createNode({}) as YAMLMap;
  parent.set(key, created);
  return created;
}

/** An alias is followed: whoever shares what it stands for shares the change. */
function resolved(document: Document, node: unknown): unknown {
  return isAlias(node) ? node.resolve(document) : node;
}

/** YAML reads a key such as `1` as a number. */
function keyOf(map: YAMLMap, name: string): unknown {
  const pair = map.items.find(({ key }) => isScalar(key) && String(key.value) === name);
  return pair ? pair.key : name;
}

/** The list as text again, in the form that it had. @throws StreamsError where aliases are in the way */
export function writeStreams(document: Document, text: string, where: string): string {
  try {
    return isJson(text)
      ? `${JSON.stringify(document.toJS(), null, 2)}\n`
      : document.toString({ lineWidth: LINE_WIDTH, flowCollectionPadding: false });
  } catch (cause) {
    throw new StreamsError(`${where}: other streams share this by an alias; it must be taken out by hand`, {
      cause,
    });
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text.replace(/^\uFEFF/, ''));
    return true;
  } catch {
    return false;
  }
}
