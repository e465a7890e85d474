export { ClipError } from './clip.ts';
export { type CameraOptions, type Cameras, startCameras } from './server.ts';
