export { type Appearance, appearanceOf, type RgbPixels } from './appearance.ts';
export * from './bytetrack.ts';
export { filtersOf, type Rule, type SceneConfig, sceneConfigSchema, tracksObjects } from './config.ts';
export { putShape, removeShape, type Shape, type ShapeKind, type ShapeSettings } from './edit-scene.ts';
export {
  type CameraDraft,
  checkAddress,
  type ListedCamera,
  putCamera,
  readCameras,
  removeCamera,
  setDisabled,
  streamName,
  TRANSPORTS,
} from './edit-streams.ts';
export { parseSceneEvent, type SceneEvent, sceneEventSchema } from './event.ts';
export * from './filters.ts';
export * from './scene.ts';
export {
  type ListedStream,
  parseScenes,
  parseStreamList,
  parseStreamsDocument,
  readScenes,
  readStreamIds,
  readStreamList,
  STREAMS_KEY,
  type StreamProblem,
  StreamsError,
} from './streams.ts';
export {
  inZone,
  type Point,
  type Polygon,
  type RelativeBox,
  relativeBox,
  type Zone,
  zoneProblem,
} from './zones.ts';
