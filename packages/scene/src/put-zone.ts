import { type Document, isAlias, isMap, isSeq, parseDocument, type YAMLMap } from 'yaml';
import { parseScenes, StreamsError } from './streams.ts';

/** A zone as somebody drew it. Checked here, so that its parts may come from anywhere. */
export interface DrawnZone {
  name: string;
  /** `[[x, y], ...]` relative to the frame, 0..1. */
  polygon: unknown;
  /** Whether rules shall tell of who enters and leaves it. */
  events: boolean;
}

const RULES = { entered_zone: 'entered', left_zone: 'left' } as const;
/** Long lists of corners are broken into lines at this width. */
const LINE_WIDTH = 110;

/**
 * Puts a zone into the scene of one stream. Of a zone of that name the polygon alone changes; comments and all other
 * fields stay, the layout is tidied. JSON stays JSON.
 * @param text a list of streams, as {@link parseScenes} reads it
 * @returns the whole list
 * @throws StreamsError naming line and field of what is wrong, in the list as it is or as it would become
 */
export function putZone(text: string, streamId: string, zone: DrawnZone, where: string): string {
  const rules = parseScenes(text, where).get(streamId)?.events ?? [];
  const document = parseDocument(text);
  const scene = childMap(document, streamOf(document, streamId, where), 'scene');
  const drawn = childMap(document, childMap(document, scene, 'zones'), zone.name);
  drawn.set('polygon', document.createNode(zone.polygon, { flow: true }));
  for (const [type, verb] of Object.entries(zone.events ? RULES : {})) {
    if (rules.some((rule) => rule.type === type && 'zone' in rule && rule.zone === zone.name)) continue;
    if (!scene.has('events')) scene.set('events', document.createNode([]));
    const rule = { type, name: `${zone.name}-${verb}`, zone: zone.name };
    scene.addIn(['events'], document.createNode(rule, { flow: true }));
  }
  const written = isJson(text)
    ? `${JSON.stringify(document.toJS(), null, 2)}\n`
    : document.toString({ lineWidth: LINE_WIDTH, flowCollectionPadding: false });
  const scenes = parseScenes(written, where);
  // A name that JavaScript itself uses is left out of what is read.
  if (!Object.hasOwn(scenes.get(streamId)?.zones ?? {}, zone.name)) {
    throw new StreamsError(`${where}: '${zone.name}' can't name a zone`);
  }
  return written;
}

function streamOf(document: Document, streamId: string, where: string): YAMLMap {
  const items = isSeq(document.contents) ? document.contents.items : [];
  const stream = items.find((item): item is YAMLMap => isMap(item) && item.get('id') === streamId);
  if (!stream) throw new StreamsError(`${where}: there is no stream '${streamId}'`);
  return stream;
}

/** The map under `key`, a new one where there is none. An alias is followed: whoever shares the map shares the change. */
function childMap(document: Document, parent: YAMLMap, key: string): YAMLMap {
  const node = parent.get(key, true);
  const map = isAlias(node) ? node.resolve(document) : node;
  if (isMap(map)) return map;
  const created = document.createNode({}) as YAMLMap;
  parent.set(key, created);
  return created;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
