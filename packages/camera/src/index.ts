export { Relay } from './relay.ts';
export { type Message, RtspSplitter } from './rtsp-message.ts';
export { type CameraOptions, type Cameras, serveRtsp, startCameras } from './server.ts';
export { interleave } from './session.ts';
