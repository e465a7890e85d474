import { childMap, streamOf, writeStreams } from './edit-scene.ts';
import { parseScenes, parseStreamsDocument } from './streams.ts';

/** By what a stream's objects are found and which are kept, as somebody chose it. Checked here. What is left out stays. */
export interface DetectionDraft {
  /** Name of a model of the inference server; `null`: its default one. */
  model?: unknown;
  /** Names of the classes that are kept; `null`: all. */
  classes?: unknown;
  /** Least confidence of a class that has none of its own, 0..1; `null`: the pipeline's own. */
  min_confidence?: unknown;
}

/**
 * Puts the choice into the scene of one stream; comments and all other fields stay.
 * @returns the whole list
 * @throws StreamsError naming line and field of what is wrong, in the list as it is or as it would become
 */
export function putDetection(
  text: string,
  streamId: string,
  { model, classes, min_confidence }: DetectionDraft,
  where: string,
): string {
  parseScenes(text, where);
  const document = parseStreamsDocument(text);
  const scene = childMap(document, streamOf(document, streamId, where), 'scene');
  const filters = childMap(document, scene, 'filters');
  for (const [map, field, value] of [
    [scene, 'model', model],
    [filters, 'classes', classes],
    [filters, 'min_confidence', min_confidence],
  ] as const) {
    if (value === null) map.delete(field);
    else if (value !== undefined) map.set(field, document.createNode(value, { flow: true }));
  }
  if (filters.items.length === 0) scene.delete('filters');
  const written = writeStreams(document, text, where);
  parseScenes(written, where);
  return written;
}
