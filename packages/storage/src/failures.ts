/**
 * Reasons why a record is in `failed/`. The codes are stable: metrics count by code, and `npm run failed`
 * selects by code. docs/failures.md shows this table.
 */
export const FAILURES = {
  RECORD_INVALID: {
    what: 'the record is no frame: a header, the key or the value is missing, malformed or out of range',
    remedy: 'fix its producer; the reason names the part',
  },
  PICTURE_INVALID: {
    what: 'the picture is broken, no JPEG, or more work than a stage takes on',
    remedy: 'fix its camera or producer; put it back only where another version reads more',
  },
  SIZE_MISMATCH: {
    what: 'the picture has another size than its record says',
    remedy: 'fix its producer: width and height are those of the upright picture',
  },
  TOO_MANY_DETECTIONS: {
    what: 'more was detected than a record carries',
    remedy: 'raise INFERENCE_CONFIDENCE_THRESHOLD or name ALLOWED_CLASSES, then put it back',
  },
  FRAME_TOO_LARGE: {
    what: 'with what was detected, the record is larger than the topic takes',
    remedy: 'raise INFERENCE_CONFIDENCE_THRESHOLD or max.message.bytes or name ALLOWED_CLASSES; put it back',
  },
  EVENT_INVALID: {
    what: 'a record of the topic of events is no event',
    remedy: 'see who else writes to the topic',
  },
  WEBHOOK_REFUSED: {
    what: 'the webhook did not take the event in its attempts, or in 90 s; if MQTT refused it, too, the reason says so',
    remedy: 'fix the receiver, then put it back: its webhook-id is the same',
  },
  MQTT_REFUSED: {
    what: 'the MQTT broker alone was away, or did not acknowledge the event',
    remedy: 'fix the broker or the MQTT_ variables, then put it back',
  },
  RECEIVER_REFUSED: {
    what: 'the receiver of a sink refused the record',
    remedy: 'fix the receiver, then put it back',
  },
  CLIP_IMPOSSIBLE: {
    what: 'no clip can be made of the stored pictures',
    remedy: 'see the reason; remove an object that it names as foreign, then put the event back',
  },
  BATCH_UNREADABLE: {
    what: 'a record batch fails its checksum, or has a codec or a form that is not known',
    remedy: 'see which producer wrote these offsets; they stay in Kafka until they expire',
  },
  BATCH_TOO_LARGE: {
    what: 'a record batch inflates to more than 16 MiB, or holds more than 10,000 records',
    remedy: 'let its producer make smaller batches, and send the records again',
  },
  RECORD_TOO_LARGE: {
    what: 'a record is larger than an event of 6 MB, or has more than 256 headers',
    remedy: 'let its producer keep pictures under MAX_FRAME_BYTES, and send it again',
  },
  FAILS_ALWAYS: {
    what: 'its stage failed at each attempt, while it succeeded with other records',
    remedy: 'report the reason: it is a fault of ours; then put it back',
  },
  ENDS_PROCESS: {
    what: 'the process ended each time it worked on the record: out of memory, or a fault in native code',
    remedy: 'report it with the record; put it back only to another version',
  },
} as const satisfies Record<string, { what: string; remedy: string }>;

export type FailureCode = keyof typeof FAILURES;
