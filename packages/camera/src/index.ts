export { Relay } from './relay.ts';
export { type CameraOptions, type Cameras, serveRtsp, startCameras } from './server.ts';
