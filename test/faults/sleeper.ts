// Does nothing until it gets a signal, or its parent has ended.
import { onShutdown, reportReady } from '@video-pipeline/lifecycle';

setInterval(() => {}, 60_000);
onShutdown(async () => {}, console);
reportReady();
