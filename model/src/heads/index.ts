import { detr, rfdetr } from './detr.ts';
import { end2end } from './end2end.ts';
import type { Head } from './head.ts';
import { rtdetr } from './rtdetr.ts';
import { yolov5 } from './yolov5.ts';
import { yolov8 } from './yolov8.ts';
import { yolox } from './yolox.ts';

export * from './head.ts';
export * from './nms.ts';

/** Every family of models that can be served, by the name that `--head` takes. */
export const heads = { yolov8, yolov5, yolox, end2end, rtdetr, detr, rfdetr } satisfies Record<string, Head>;
export type HeadName = keyof typeof heads;
