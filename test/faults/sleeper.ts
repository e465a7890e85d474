// Does nothing until it is told to stop, or its parent is gone.
import { onShutdown, reportReady } from '@video-pipeline/lifecycle';

setInterval(() => {}, 60_000);
onShutdown(async () => {}, console);
reportReady();
