// An S3 API in memory, in a process of its own, so that its cost shows beside the others'.
import { onShutdown, reportReady } from '@video-pipeline/lifecycle';
import { startFauxqs } from 'fauxqs';

const server = await startFauxqs({ port: 0, host: '127.0.0.1', logger: false });
server.createBucket(process.env.S3_BUCKET ?? 'video-pipeline-output');
onShutdown(() => server.stop(), console);
reportReady({ url: `http://127.0.0.1:${server.port}` });
