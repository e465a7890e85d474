import { z } from 'zod';
import { zoneProblem } from './zones.ts';

const share = z.number().min(0).max(1);
const seconds = (fallback: number, max = 86_400) => z.number().min(0).max(max).default(fallback);
/** Names of zones, lines and rules become part of event ids, and of file names. */
const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'must be letters, digits, . _ or -')
  .refine((text) => !(text in {}), 'is a reserved word');
const point = z.tuple([share, share]);
const classes = z.array(z.string().min(1)).min(1).optional();
const debounce = {
  /** How long a change must last before it is accepted. */
  debounce_seconds: seconds(0.5, 3600),
  /** How far from the border an object must get before a change is accepted, in sizes of its box. */
  hysteresis: share.default(0.1),
};

const zone = z
  .strictObject({
    polygon: z.array(point).max(200),
    holes: z.array(z.array(point).max(200)).max(20).default([]),
    membership: z.enum(['bottom_centre', 'overlap']).default('bottom_centre'),
    min_overlap: z.number().gt(0).max(1).default(0.5),
    ...debounce,
  })
  .superRefine(({ polygon, holes }, context) => {
    const problem = zoneProblem(polygon, holes);
    if (problem) context.addIssue({ code: 'custom', message: problem, path: ['polygon'] });
  });

const line = z
  .strictObject({ from: point, to: point, ...debounce })
  .refine(({ from, to }) => Math.hypot(to[0] - from[0], to[1] - from[1]) > 1e-6, {
    message: 'has no length',
    path: ['to'],
  });

const rule = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('entered_zone'), name, zone: name, classes }),
  z.strictObject({ type: z.literal('left_zone'), name, zone: name, classes }),
  z.strictObject({
    type: z.literal('stayed_longer'),
    name,
    zone: name,
    seconds: z.number().positive().max(86_400),
    classes,
  }),
  z.strictObject({
    type: z.literal('line_crossed'),
    name,
    line: name,
    direction: z.enum(['left', 'right', 'any']).default('any'),
    classes,
  }),
  z.strictObject({
    type: z.literal('count_over'),
    name,
    zone: name.optional(),
    count: z.number().int().min(0).max(10_000),
    /** Whether objects also count while they are hidden and remembered (`lost_seconds`). */
    include_lost: z.boolean().default(false),
    classes,
  }),
]);

/** Confidences of the paper: 0.6, 0.1, 0.7. Two are lower here: small detectors are less confident than its YOLOX. */
const tracks = z
  .strictObject({
    /** Detections with at least this confidence are paired first, and may begin a track. */
    high_confidence: share.default(0.3),
    /** Detections with at least this confidence may continue a track. Weaker ones are never paired. */
    low_confidence: share.default(0.1),
    /** Lowest confidence with which a track begins. */
    new_confidence: share.default(0.5),
    /** How long an unseen object is remembered; at least the time of three frames. */
    lost_seconds: z
      .number()
      .gt(0, 'must be over 0: no object would be known in the next frame')
      .max(600)
      .default(2),
    /** Whether a track only takes boxes of its own class. */
    strict_classes: z.boolean().default(false),
    /** How long an object that left can be recognised by its colours. 0: never. */
    appearance_seconds: seconds(0, 600),
  })
  .superRefine(({ high_confidence, low_confidence, new_confidence }, context) => {
    const problem = (field: string, message: string) =>
      context.addIssue({ code: 'custom', message, path: [field] });
    if (low_confidence > high_confidence) problem('low_confidence', 'is over high_confidence');
    // Only boxes over high_confidence may begin a track. A lower value would have no effect.
    if (new_confidence < high_confidence) problem('new_confidence', 'is under high_confidence');
  });
export const DEFAULT_TRACKER = tracks.parse({});

/** The section `scene` of a stream: the README explains each field. Absent fields have defaults that change nothing. */
export const sceneConfigSchema = z
  .strictObject({
    model: z.string().min(1).max(200).optional(),
    filters: z
      .strictObject({
        classes,
        /** Lowest confidence by class name, and of a class without its own. */
        confidence: z.record(z.string(), share).default({}),
        min_confidence: share.default(0),
        /** Shares of the frame that a box covers. */
        min_area: share.default(0),
        max_area: share.default(1),
        /** A detection must be in a zone of `include`, unless that is empty, and in none of `exclude`. */
        include: z.array(name).default([]),
        exclude: z.array(name).default([]),
        /** Of boxes of any class that overlap by more than this (IoU), only the most confident one is kept. */
        one_per_object: share.gt(0).optional(),
      })
      .prefault({}),
    zones: z.record(name, zone).default({}),
    lines: z.record(name, line).default({}),
    tracks: tracks.optional(),
    events: z.array(rule).default([]),
  })
  .superRefine((scene, context) => {
    const problem = (message: string, path: (string | number)[]) =>
      context.addIssue({ code: 'custom', message, path });
    const known = (kind: 'zones' | 'lines', wanted: string | undefined, path: (string | number)[]) => {
      if (wanted === undefined || Object.hasOwn(scene[kind], wanted)) return;
      problem(`names '${wanted}', which is not under ${kind}`, path);
    };
    for (const side of ['include', 'exclude'] as const) {
      for (const [index, one] of scene.filters[side].entries()) known('zones', one, ['filters', side, index]);
    }
    const names = scene.events.map((one) => one.name);
    for (const [index, one] of scene.events.entries()) {
      if ('zone' in one) known('zones', one.zone, ['events', index, 'zone']);
      if ('line' in one) known('lines', one.line, ['events', index, 'line']);
      if (names.indexOf(one.name) < index) problem('is used twice', ['events', index, 'name']);
    }
    const { min_area, max_area } = scene.filters;
    if (min_area > max_area) problem('is over max_area', ['filters', 'min_area']);
  });

export type SceneConfig = z.output<typeof sceneConfigSchema>;
export type Rule = SceneConfig['events'][number];

/** Whether a stream's detections must be tracked. */
export function tracksObjects(config: SceneConfig): boolean {
  return config.tracks !== undefined || config.events.length > 0;
}
