export { type Appearance, appearanceOf, type RgbPixels } from './appearance.ts';
export * from './bytetrack.ts';
export * from './config.ts';
export { type DetectionDraft, putDetection } from './edit-detection.ts';
export { putShape, removeShape, type Shape, type ShapeKind, type ShapeSettings } from './edit-scene.ts';
export * from './edit-streams.ts';
export { parseSceneEvent, type SceneEvent, sceneEventSchema } from './event.ts';
export * from './filters.ts';
export { fromCorners, iou } from './pairing.ts';
export * from './scene.ts';
export * from './streams.ts';
export {
  inZone,
  type Point,
  type Polygon,
  type RelativeBox,
  relativeBox,
  type Zone,
  zoneProblem,
} from './zones.ts';
