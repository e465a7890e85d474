import type { Config } from '@video-pipeline/config';
import type { Origin } from '@video-pipeline/http';
import type { Bucket, ClipSettings } from '@video-pipeline/storage';
import type { Tables } from '@video-pipeline/tables';
import type { Logger } from '@video-pipeline/telemetry';
import type { Access } from './access.ts';
import type { Flow, SceneEvent } from './api.ts';
import type { Events } from './events.ts';
import type { LiveFrames } from './live.ts';
import type { Page } from './page-files.ts';
import type { Reviews } from './reviews.ts';
import type { StreamsFile } from './streams-file.ts';

export interface RoutesOptions {
  page: Page;
  access: Access;
  origin: Origin;
  live: LiveFrames;
  tables: Tables;
  bucket: Bucket;
  events: Events;
  reviews: Reviews;
  sceneEvents: (streamId: string) => Promise<SceneEvent[]>;
  streamsFile: StreamsFile;
  /** Base URL of the inference server; `undefined` if it is not known. */
  inferenceUrl: string | undefined;
  /** Top folder of annotated frames. */
  prefix: string;
  clipSettings: ClipSettings;
  /** How the pipeline keeps pictures. */
  keeping: Config<'STORE' | 'STORE_CLASSES'>;
  drawn: boolean;
  flow: () => Flow;
  redrive: (key: string) => Promise<void>;
  /** Called when the number of objects in `failed/` has decreased. */
  recountFailed: () => void;
  log: Pick<Logger, 'info'>;
}
