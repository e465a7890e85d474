import { childMap, editScene } from './edit-scene.ts';

/** A choice of model and detections for a stream. Its values are checked here. A field left out keeps its value. */
export interface DetectionDraft {
  /** Name of a model of the inference server; `null`: the server's default model. */
  model?: unknown;
  /** Names of the classes that are kept; `null`: all. */
  classes?: unknown;
  /** Lowest confidence of a class without its own, 0..1; `null`: the pipeline's default. */
  min_confidence?: unknown;
}

/**
 * Writes the choice into the scene of one stream. Comments and all other fields stay.
 * @returns the whole list
 * @throws StreamsError naming line and field of an error, in the list as it is or as it would become
 */
export function putDetection(
  text: string,
  streamId: string,
  { model, classes, min_confidence }: DetectionDraft,
  where: string,
): string {
  const edited = editScene(text, streamId, where, ({ document, scene }) => {
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
  });
  return edited.text;
}
