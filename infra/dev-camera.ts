import { CLIPS, fetchAsset } from '@video-pipeline/assets';
import { startCameras } from '@video-pipeline/camera';
import { onShutdown } from '@video-pipeline/lifecycle';
import { createLogger } from '@video-pipeline/telemetry';

/** The camera of `sst dev`: a demo clip at rtsp://127.0.0.1:8554/camera. */
const [clip = ''] = await fetchAsset(CLIPS, console.log);
const server = await startCameras({ host: '127.0.0.1', port: 8554, clips: { camera: clip } });
onShutdown(() => server.close(), createLogger('camera'));
console.log(`playing ${clip} at ${server.url}/camera`);
