export { Relay } from './relay.ts';
export { FRAMING, type Message, RtspSplitter } from './rtsp-message.ts';
export { type CameraOptions, type Cameras, serveRtsp, startCameras } from './server.ts';
export { interleave } from './session.ts';
