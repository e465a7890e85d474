import { resolve } from 'node:path';
import { z } from 'zod';

const integer = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const number = (min: number, max: number) => z.coerce.number().min(min).max(max);
const port = integer(0, 65_535);
const text = z.string().min(1);
const optional = text.optional();
const oneOf = z.enum;
const like = (form: RegExp, must: string) => z.string().regex(form, must);
const httpUrl = z.url({ protocol: /^https?$/ }).optional();
/** Any spelling of a URL is checked. `fetch` refuses a URL with a password by an error that shows the password. */
const hasNoPassword = (url = '') => !/^\w+:\/\/[^/?#]*@/.test(URL.parse(url)?.href ?? '');
const urlOutside = httpUrl.refine(hasNoPassword, 'must have no user or password in it');
/** npm starts scripts in the repository's root. A relative path is relative to the folder in which npm was called. */
const path = text
  .transform((file) => (/^[a-z0-9+.-]+:\/\//i.test(file) ? file : resolve(process.env.INIT_CWD ?? '.', file)))
  .optional();
/** Items separated by commas, with one error for all of them: 100,000 errors for 100,000 commas would take seconds. */
const list = (item: z.ZodType<string>, message: string) =>
  text
    .transform((text) => text.split(',').map((one) => one.trim()))
    .refine((items) => items.every((one) => item.safeParse(one).success), message)
    .optional();
const roles = list(z.string().regex(/^arn:[\w-]+:iam::\d{12}:role\/\S+$/), 'must be ARNs of IAM roles');
const classes = list(z.string().min(1), 'has an empty name');
/** Top folders of the bucket for other objects than pictures. Each has its own rules and readers. */
const OTHER_FOLDERS = /^(aws|clips|config|detections|events|failed|late|replay|reviews|tables)(\/|$)/;

/** The only table of environment variables: form, default and purpose of each. */
export const variables = {
  KAFKA_BOOTSTRAP_SERVERS: like(/^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$/, 'must be host:port[,host:port...]')
    .default('localhost:9092')
    .describe('Kafka brokers, `host:port[,host:port...]`'),
  KAFKA_AUTH: oneOf(['none', 'tls', 'iam'])
    .default('none')
    .describe(
      '`none` plain text, `tls` TLS alone, `iam` TLS and MSK IAM (SASL/OAUTHBEARER); NODE_EXTRA_CA_CERTS adds a CA of your own',
    ),
  KAFKA_RACK: like(
    /^[\w.-]+$|^[\w.-]+=[\w.-]+(,[\w.-]+=[\w.-]+)*$/,
    'must be a rack, or zone=rack[,zone=rack...]',
  )
    .optional()
    .describe(
      'rack (`broker.rack`) of the nearest brokers: ingest sends to the partitions that they lead, and the poller reads from them. `zone=rack[,...]` names the rack of each zone; an ECS task finds its own zone',
    ),
  KAFKA_TOPIC: text.default('video-frames').describe('topic of frames'),
  KAFKA_DETECTIONS_TOPIC: text.default('detections').describe('topic of frames with detections'),
  KAFKA_EVENTS_TOPIC: text.default('events').describe('topic of events in the scenes'),
  PICTURES: oneOf(['twice', 'once'])
    .default('twice')
    .describe(
      'how often a picture travels over Kafka. `twice`: also to annotate. `once`: detect annotates, too, and `detections` names the place of the picture',
    ),
  KAFKA_GROUP_ID: text
    .default('frame-consumer-group')
    .describe('consumer group of detect; other stages append `-<stage>`'),
  INFERENCE_BACKEND: oneOf(['http', 'sagemaker'])
    .default('http')
    .describe('`http` calls INFERENCE_SERVICE_URL, `sagemaker` SAGEMAKER_ENDPOINT_NAME'),
  INFERENCE_SERVICE_URL: z
    .url()
    .default('http://inference-service:8000')
    .describe('base URL of the inference server'),
  INFERENCE_TIMEOUT_SECONDS: number(0.1, 900).default(60).describe('longest wait for one inference call'),
  INFERENCE_CONFIDENCE_THRESHOLD: number(0, 1)
    .default(0.5)
    .describe('lowest confidence of a detection that is kept, 0..1'),
  INFERENCE_CANARY_URL: httpUrl.describe(
    'detect: base URL of a second model server, to be tried; see docs/canary.md',
  ),
  INFERENCE_CANARY_SHARE: number(0, 1)
    .default(0.1)
    .describe('detect: share of the batches that the second model server gets, 0..1'),
  INFERENCE_CANARY_MODE: oneOf(['canary', 'shadow'])
    .default('canary')
    .describe('detect: `canary` uses its answers, `shadow` only compares them'),
  ALLOWED_CLASSES: classes.describe(
    'class names to keep, `person,car`, on streams whose scene names none; left out: all',
  ),
  SAGEMAKER_ENDPOINT_NAME: optional.describe('name of the SageMaker endpoint'),
  WEBHOOK_URL: urlOutside.describe(
    'notify: URL that events are posted to; with WEBHOOK_SECRET they are signed as in standardwebhooks.com',
  ),
  WEBHOOK_SECRET: like(/^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/, 'must be whsec_ and 24 to 64 bytes in base64')
    .optional()
    .describe('notify: the key of the signature, `whsec_<24 to 64 bytes in base64>`'),
  WEBHOOK_ATTEMPTS: integer(1, 20)
    .default(5)
    .describe(
      'notify: how often an event is posted, at most, before it goes to failed/; a batch has 90 s for it',
    ),
  MQTT_URL: z
    .url({ protocol: /^mqtts?$/ })
    .refine(hasNoPassword, 'must have no password in it: use MQTT_USERNAME and MQTT_PASSWORD')
    .optional()
    .describe(
      'notify, annotate: MQTT broker that events and counts are published to, `mqtts://host[:8883]` by TLS, as Frigate does',
    ),
  MQTT_USERNAME: optional.describe('notify, annotate: user name at the MQTT broker'),
  MQTT_PASSWORD: optional.describe('notify, annotate: password at the MQTT broker'),
  MQTT_TOPIC_PREFIX: like(/^[^/+#\0][^+#\0]*$/, "must be a topic's name without + and #")
    .refine((prefix) => !prefix.endsWith('/'), 'must not end with a slash')
    .default('video-pipeline')
    .describe('notify, annotate: prefix of each MQTT topic; `frigate` for clients of Frigate'),
  EVENT_BUS_NAME: optional.describe('notify: EventBridge bus that events are put on'),
  EVENT_CLIPS: oneOf(['on', 'off'])
    .default('off')
    .describe('`on`: an MP4 of each event is stored under clips/, and the event names it'),
  CLIP_BEFORE_SECONDS: number(0, 30)
    .default(3)
    .describe('seconds of a clip, and of frames with `STORE=events`, before the event'),
  CLIP_AFTER_SECONDS: number(0, 30)
    .default(3)
    .describe('seconds of a clip, and of frames with `STORE=events`, after the event'),
  S3_BUCKET: z.string().min(3).default('video-pipeline-output').describe('bucket for everything stored'),
  S3_PREFIX: like(/^[^/].*[^/]$|^[^/]$/, 'must not begin or end with a slash')
    .refine((folder) => !OTHER_FOLDERS.test(folder), 'must not be a folder of other objects of the pipeline')
    .default('annotated')
    .describe('top folder of annotated frames in the bucket'),
  STORE: oneOf(['frames', 'archive', 'video', 'events'])
    .default('frames')
    .describe(
      'how annotated frames are stored. `frames`: each as an object. `archive`: the frames of a stream in a batch as one TAR (WebDataset). `video`: these frames as H.264 (MP4). `events`: as `frames`, but only those around an event, or a detection of STORE_CLASSES',
    ),
  STORE_CLASSES: classes.describe(
    '`STORE=events`: classes whose detection keeps the frames around it, as an event does; left out: all, `none`: events alone',
  ),
  DRAW_BOXES: oneOf(['on', 'off'])
    .default('on')
    .describe(
      '`off`: pictures are stored as they came, without boxes. The console draws boxes over them, which can be switched off; a video has them as a side track',
    ),
  S3_STORAGE_CLASS: oneOf(['STANDARD', 'STANDARD_IA', 'ONEZONE_IA', 'INTELLIGENT_TIERING', 'GLACIER_IR'])
    .optional()
    .describe(
      "S3's storage class of objects that hold many pictures, see docs/capacity.md; left out: the bucket's default",
    ),
  AWS_REGION: text.default('us-east-1').describe('AWS region'),
  AWS_ENDPOINT_URL: z.url().optional().describe('an S3 API other than AWS, such as MinIO or S3Proxy'),
  BATCH_SIZE: integer(1, 10_000).default(25).describe('records in one Lambda invocation, at most'),
  BATCH_TIMEOUT_SECONDS: number(0, 300).default(5).describe('longest wait for a batch to fill'),
  FRAME_RATE: number(0.01, 240).default(10).describe('frames a second that ingest samples from each stream'),
  MAX_LATENCY_SECONDS: number(0, 3_600)
    .default(0)
    .describe(
      'longest time from capture to stored frame: ingest thins live streams to keep it. 0 sends all frames. `npm start` sets 5',
    ),
  MIN_FRAME_RATE: number(0.01, 240)
    .default(1)
    .describe('lowest frame rate to which a stream is thinned, with MAX_LATENCY_SECONDS'),
  MAX_FRAME_BYTES: integer(1_000, 5_000_000)
    .default(160_000)
    .describe('largest JPEG, so that 25 of them fit into one Lambda event of 6 MB'),
  STREAMS: optional.describe('cameras, as YAML or JSON: a list of `{id, url, ...}`'),
  STREAMS_FILE: path.describe('file with the same list; read again on SIGHUP and when it changes'),
  BUFFER_SECONDS: number(0.1, 600)
    .default(30)
    .describe('newest seconds of each stream that ingest keeps while Kafka does not answer'),
  // At least the largest MAX_FRAME_BYTES, so that a frame can't be too large for it.
  BUFFER_BYTES: integer(5_000_000, 100_000_000_000)
    .default(64_000_000)
    .describe('most JPEG bytes of all cameras together that ingest keeps while Kafka does not answer'),
  STALL_SECONDS: number(0.5, 3_600)
    .default(10)
    .describe('ingest reconnects to a camera that sends no picture for this long'),
  MAX_FRAMES: integer(1, Number.MAX_SAFE_INTEGER)
    .optional()
    .describe('ingest ends once it has published this many frames'),
  MOTION_THRESHOLD: z
    .union([z.literal('safe'), number(0, 1)], { error: 'must be a number from 0 to 1, or safe' })
    .default(0)
    .describe(
      'share of the picture that must change for a frame to be sent, 0..1; 0 sends every frame. `safe`: one of 64x36 cells that changes by more than 1 of 255 is enough',
    ),
  MOTION_KEEPALIVE_SECONDS: number(0.1, 86_400)
    .default(10)
    .describe('longest time between two frames of a scene without motion, with MOTION_THRESHOLD'),
  JPEG_QUALITY: integer(1, 100)
    .default(85)
    .describe('JPEG quality, 1..100; ingest lowers it for a frame over MAX_FRAME_BYTES'),
  METRICS_NAMESPACE: like(/^[\w/.:#-]{1,255}$/, 'must be letters, digits and any of _/.:#-, at most 255')
    .default('VideoPipeline')
    .describe('CloudWatch namespace of metrics; on AWS each stage has its own'),
  OTEL_EXPORTER_OTLP_ENDPOINT: urlOutside.describe(
    'base URL of an OpenTelemetry collector (OTLP over HTTP); with it, frames are traced',
  ),
  OTEL_TRACES_SAMPLER_ARG: number(0, 1).default(1).describe('share of the frames that are traced, 0..1'),
  LOG_LEVEL: oneOf(['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'CRITICAL', 'SILENT'])
    .default('INFO')
    .describe('lowest severity of log lines that are written'),
  PORT: port.default(8000).describe('port of the model server'),
  MODEL_PATH: path.describe('model server: the ONNX file; left out: NanoDet-g'),
  MODEL_DIR: path.describe('model server: a folder of ONNX files to serve; changes are picked up'),
  INFERENCE_DEVICE: oneOf(['auto', 'cpu', 'openvino', 'cuda', 'tensorrt'])
    .default('auto')
    .describe(
      'model server: device and runtime; `auto` is CUDA if it works, otherwise onnxruntime or OpenVINO on the CPU',
    ),
  INFERENCE_PRECISION: oneOf(['f32', 'bf16', 'int8'])
    .default('f32')
    .describe(
      'model server: precision on a CPU; `bf16` is faster with OpenVINO on CPUs that support it, `int8` refuses models that are not quantised',
    ),
  INFERENCE_BATCH_SIZES: like(
    /^[1-9]\d{0,3}(,[1-9]\d{0,3})*$/,
    'must be whole numbers from 1 to 9999, separated by commas',
  )
    .transform((list) =>
      list
        .split(',')
        .map(Number)
        .sort((a, b) => a - b),
    )
    .optional()
    .describe('model server: preferred batch sizes, `8,25`; left out: 1 on a CPU, 25 on a GPU'),
  INFERENCE_THREADS: integer(0, 1024)
    .default(0)
    .describe('model server: threads on a CPU; 0: one for each core'),
  MAX_BODY_BYTES: integer(1_000, 1_000_000_000)
    .default(32_000_000)
    .describe('model server: largest body of a request'),
  MAX_REQUEST_FRAMES: integer(1, 10_000).default(128).describe('model server: most frames of one request'),
  MAX_CONCURRENT_REQUESTS: integer(1, 10_000)
    .default(64)
    .describe('model server: most requests at the same time; further ones get 429'),
  MAX_QUEUED_FRAMES: integer(1, 100_000)
    .default(512)
    .describe('model server: most waiting frames; a request beyond that gets 429'),
  MAX_FRAME_PIXELS: integer(1, 1_000_000_000)
    .default(50_000_000)
    .describe('model server: most pixels of one frame'),
  REQUEST_TIMEOUT_SECONDS: number(0.1, 300)
    .default(30)
    .describe('model server: longest time a client may take to send a request'),
  SHUTDOWN_GRACE_SECONDS: number(0, 3600)
    .default(4)
    .describe('model server: longest time to finish its work after a stop signal'),
  HEALTH_PORT: port.default(8090).describe('port of the ingest host for /health and /metrics'),
  RESTREAM_PORT: port
    .optional()
    .describe(
      'port on which ingest restreams RTSP cameras, `rtsp://host:port/<stream id>`; left out: no restream',
    ),
  RESTREAM_USER: like(/^[^:]+:.+$/, 'must be name:password')
    .optional()
    .describe('`name:password` for clients of the restream; required unless HOST is loopback'),
  METRICS_PORT: port
    .optional()
    .describe(
      'port for /metrics and /health of a stage that runs as a process or a task; left out: none. `npm start` gives this port to the first stage, the next port to the next',
    ),
  HOST: text.default('127.0.0.1').describe('address that servers listen on'),
  CONSOLE_PORT: port.default(8080).describe('port of the console'),
  CONSOLE_TOKEN: optional.describe('token that the console asks for; required unless HOST is loopback'),
  CONSOLE_TOKEN_FILE: path.describe('file with that token; the first start creates it, each start prints it'),
  INGEST_URL: httpUrl.describe(
    'console: base URL of the ingest host, whose /health reports the state of the cameras',
  ),
  CONSOLE_URL: httpUrl.describe('URL of the console behind a proxy, `https://host[/prefix]`; needs a token'),
  DEPLOY_CIDRS: list(z.cidrv4(), 'must be CIDR blocks, separated by commas').describe(
    'deploying: addresses that may reach the Kubernetes API or the tunnel, `a.b.c.d/n[,...]`',
  ),
  CLUSTER_ADMINS: roles.describe(
    'deploying: ARNs of the roles that may do everything in the Kubernetes cluster',
  ),
  CLUSTER_VIEWERS: roles.describe('deploying: ARNs of the roles that may read in the Kubernetes cluster'),
  MODEL_IMAGE: optional.describe('deploying: image of the model server, if it is already built'),
  MODEL_CANARY: optional.describe('deploying: image of a second model server, to be tried'),
  INGEST_IMAGE: optional.describe('deploying: image of the ingest host, if it is already built'),
  ALARM_EMAIL: z.email().optional().describe('deploying: e-mail address for alarms'),
  CAMERAS_FILE: path.describe('deploying: YAML file of the cameras to ingest'),
} as const;
