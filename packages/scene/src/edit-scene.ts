import { type Document, isAlias, isMap, isScalar, isSeq, type YAMLMap, type YAMLSeq } from 'yaml';
import type { Rule, SceneConfig } from './config.ts';
import { parseScenes, parseStreamsDocument, StreamsError } from './streams.ts';

/** Shapes that can be drawn on a picture: their section in a scene, and the types and name suffixes of their rules. */
const KINDS = {
  zone: { section: 'zones', rules: { entered_zone: 'entered', left_zone: 'left' } },
  line: { section: 'lines', rules: { line_crossed: 'crossed' } },
} as const;
export type ShapeKind = keyof typeof KINDS;

/** A zone or a line that a person drew. Its values are checked here, and may come from anywhere. */
export type Shape = {
  name: string;
  /** Whether rules report objects that enter and leave the zone, or cross the line. */
  events: boolean;
} & ({ kind: 'zone'; polygon: unknown } | { kind: 'line'; from: unknown; to: unknown }) &
  ShapeSettings;

/** Other settings of a shape. A setting that is left out keeps its value. */
export interface ShapeSettings {
  /** Its former name, if it gets another one. */
  was?: unknown;
  /** Classes that its rules report; empty: all. If this is set and `events` is not, its rules are removed. */
  classes?: unknown;
  /** For a zone: its rule reports objects that stay longer than this; `null`: no such rule. */
  seconds?: unknown;
  /** For a zone: its rule reports when more objects are in it at once; `null`: no such rule. */
  count?: unknown;
  /** For a zone: whether detections in it are left out. */
  exclude?: unknown;
  /** For a line: the direction, `left`, `right` or `any`. */
  direction?: unknown;
}

/** Width at which long lists of corners are broken into lines. */
const LINE_WIDTH = 110;
/** Most characters that an error shows of an unknown name: the longest valid name. */
const SHOWN_NAME = 64;

/**
 * Writes a zone or a line into the scene of one stream. If there is one of that name, only its points change. Comments
 * and all other fields stay, and the layout is tidied. JSON stays JSON.
 * @param text a list of streams, as for {@link parseScenes}
 * @returns the whole list
 * @throws StreamsError naming line and field of an error, in the list as it is or as it would become
 */
export function putShape(text: string, streamId: string, shape: Shape, where: string): string {
  const { kind, name, events, was, classes, seconds, count, exclude, direction, ...points } = shape;
  const { section, rules } = KINDS[kind];
  const edited = editScene(text, streamId, where, (opened) => {
    const { document, scene } = opened;
    const at = { ...opened, kind, where };
    const former = typeof was === 'string' ? was : name;
    if (former !== name) rename(at, former, name);
    const drawn = childMap(document, childMap(document, scene, section), name);
    for (const [field, value] of Object.entries(points)) {
      drawn.set(field, document.createNode(value, { flow: true }));
    }
    const isReported = events || (classes === undefined ? undefined : false);
    for (const [type, verb] of Object.entries(rules)) {
      const fields = { classes, ...(kind === 'line' ? { direction } : {}) };
      setRule(at, { type, name: `${name}-${verb}`, [kind]: name }, isReported, fields);
    }
    if (kind === 'line') return;
    const given = (value: unknown) => (value === undefined ? undefined : value !== null);
    const stays = { type: 'stayed_longer', name: `${name}-stays`, zone: name };
    setRule(at, stays, given(seconds), { seconds, classes });
    const over = { type: 'count_over', name: `${name}-count`, zone: name };
    setRule(at, over, given(count), { count, classes });
    if (typeof exclude === 'boolean') setExcluded(at, name, exclude);
  });
  // A reserved name of JavaScript is missing in the result.
  if (!Object.hasOwn(edited.scene?.[section] ?? {}, name)) {
    throw new StreamsError(`${where}: '${name}' can't name a ${kind}`);
  }
  return edited.text;
}

interface OpenScene {
  document: Document;
  scene: YAMLMap;
  /** The rules as they were read, in the order of the list. They are changed together with it. */
  known: (Rule | undefined)[];
}

/**
 * Changes the scene of one stream, and creates it if there is none. Comments and all other fields stay.
 * @returns the whole list, and the scene as it is read from it
 * @throws StreamsError naming line and field of an error, in the list as it is or as it would become
 */
export function editScene(
  text: string,
  streamId: string,
  where: string,
  edit: (scene: OpenScene) => void,
): { text: string; scene: SceneConfig | undefined } {
  const known = parseScenes(text, where).get(streamId)?.events ?? [];
  const written = editList(text, where, (list, document) =>
    edit({ document, scene: childMap(document, streamOf(list, streamId, where), 'scene'), known }),
  );
  return { text: written, scene: parseScenes(written, where).get(streamId) };
}

interface ShapeContext extends OpenScene {
  kind: ShapeKind;
  where: string;
}

/** Renames a shape everywhere in the scene. @throws StreamsError if the new name is taken, or there is no such shape */
function rename({ document, scene, kind, known, where }: ShapeContext, was: string, name: string): void {
  const shapes = childMap(document, scene, KINDS[kind].section);
  const key = keyOf(shapes, was);
  if (!isScalar(key)) throw new StreamsError(`${where}: there is no ${kind} '${was.slice(0, SHOWN_NAME)}'`);
  if (isScalar(keyOf(shapes, name))) throw new StreamsError(`${where}: there is a ${kind} '${name}' already`);
  key.value = name;
  for (const [i, rule] of known.entries()) {
    if (!rule || !isAbout(rule, kind, was)) continue;
    // Only rules that were made for the shape are named after it.
    const renamed = rule.name.startsWith(`${was}-`) ? `${name}${rule.name.slice(was.length)}` : rule.name;
    eventsOf(document, scene).setIn([i, kind], name);
    eventsOf(document, scene).setIn([i, 'name'], renamed);
    known[i] = { ...rule, [kind]: name, name: renamed } as Rule;
  }
  for (const side of kind === 'zone' ? ['include', 'exclude'] : []) {
    const filters = resolved(document, scene.get('filters', true));
    const list = isMap(filters) ? resolved(document, filters.get(side, true)) : undefined;
    if (!isSeq(list)) continue;
    for (const item of list.items) if (isScalar(item) && String(item.value) === was) item.value = name;
  }
}

/**
 * Adds a rule of this type for this shape, changes the first one, or removes all of them.
 * @param isWanted `undefined`: the rules stay as they are
 */
function setRule(
  { document, scene, kind, known }: ShapeContext,
  rule: { type: string; name: string; zone?: string; line?: string },
  isWanted: boolean | undefined,
  fields: Record<string, unknown>,
): void {
  if (isWanted === undefined) return;
  const shape = rule[kind] ?? '';
  const isOurs = (one: Rule | undefined) => one?.type === rule.type && isAbout(one, kind, shape);
  if (!isWanted) {
    for (let i = known.length - 1; i >= 0; i -= 1) {
      if (!isOurs(known[i])) continue;
      eventsOf(document, scene).delete(i);
      known.splice(i, 1);
    }
    return;
  }
  let at = known.findIndex(isOurs);
  if (at < 0) {
    at = known.push(rule as Rule) - 1;
    eventsOf(document, scene).add(document.createNode(rule, { flow: true }));
  }
  for (const [field, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    if (Array.isArray(value) && value.length === 0) eventsOf(document, scene).deleteIn([at, field]);
    else eventsOf(document, scene).setIn([at, field], document.createNode(value, { flow: true }));
  }
}

/** The list of rules; created if there is none. */
function eventsOf(document: Document, scene: YAMLMap): YAMLSeq {
  const list = resolved(document, scene.get('events', true));
  if (isSeq(list)) return list;
  const created = document.createNode([]) as YAMLSeq;
  scene.set('events', created);
  return created;
}

function setExcluded({ document, scene }: ShapeContext, name: string, isExcluded: boolean): void {
  const filters = isExcluded
    ? childMap(document, scene, 'filters')
    : resolved(document, scene.get('filters', true));
  if (!isMap(filters)) return;
  const list = resolved(document, filters.get('exclude', true));
  const at = isSeq(list) ? list.items.findIndex((item) => isScalar(item) && String(item.value) === name) : -1;
  if (isExcluded === at >= 0) return;
  if (isSeq(list) && at >= 0) list.items.splice(at, 1);
  else if (isSeq(list)) list.add(name);
  else filters.set('exclude', document.createNode([name], { flow: true }));
}

/**
 * Removes a zone or a line from the scene of one stream, with its rules.
 * @returns the whole list
 * @throws StreamsError when there is no such shape, or when something else in the list needs it, naming line and field
 */
export function removeShape(
  text: string,
  streamId: string,
  { kind, name }: Pick<Shape, 'kind' | 'name'>,
  where: string,
): string {
  const edited = editScene(text, streamId, where, ({ document, scene, known }) => {
    const shapes = childMap(document, scene, KINDS[kind].section);
    if (!shapes.delete(keyOf(shapes, name))) {
      throw new StreamsError(`${where}: stream '${streamId}' has no ${kind} '${name.slice(0, SHOWN_NAME)}'`);
    }
    const list = resolved(document, scene.get('events', true));
    if (isSeq(list)) list.items = list.items.filter((_, i) => !known[i] || !isAbout(known[i], kind, name));
  });
  return edited.text;
}

function isAbout(rule: Rule, kind: ShapeKind, name: string): boolean {
  return (rule as { [Kind in ShapeKind]?: string | undefined })[kind] === name;
}

/** The entry of a stream in the list. @throws StreamsError if there is none */
export function streamOf(list: YAMLSeq, streamId: string, where: string): YAMLMap {
  const entry = entryOf(list, streamId);
  if (!entry) throw new StreamsError(`${where}: there is no stream '${streamId.slice(0, 128)}'`);
  return entry;
}

export function entryOf(list: YAMLSeq, streamId: string): YAMLMap | undefined {
  return list.items.find((item): item is YAMLMap => isMap(item) && item.get('id') === streamId);
}

/** The map under `name`; created if there is none. */
export function childMap(document: Document, parent: YAMLMap, name: string): YAMLMap {
  const key = keyOf(parent, name);
  const map = resolved(document, parent.get(key, true));
  if (isMap(map)) return map;
  const created = document.createNode({}) as YAMLMap;
  parent.set(key, created);
  return created;
}

/** Follows an alias. The change then applies to all places that share its anchor. */
function resolved(document: Document, node: unknown): unknown {
  return isAlias(node) ? node.resolve(document) : node;
}

/** YAML reads a key such as `1` as a number. */
function keyOf(map: YAMLMap, name: string): unknown {
  const pair = map.items.find(({ key }) => isScalar(key) && String(key.value) === name);
  return pair ? pair.key : name;
}

/** The whole list after a change, which is not read again here. @throws StreamsError */
export function editList(
  text: string,
  where: string,
  edit: (list: YAMLSeq, document: Document) => void,
): string {
  const document: Document = parseStreamsDocument(text);
  if (document.errors.length > 0 || !isSeq(document.contents)) {
    throw new StreamsError(`${where}: must be a list of streams: [{id: ..., ...}]`);
  }
  edit(document.contents, document);
  return writeStreams(document, text, where);
}

/** The list as text, in the format that it had. @throws StreamsError when aliases prevent that */
function writeStreams(document: Document, text: string, where: string): string {
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
