import type { Detection } from '@video-pipeline/frame';
import { classHue, LIGHTNESS, SATURATION, trackHue } from '@video-pipeline/frame/hues';
import { skeletonOf, surePoints } from '@video-pipeline/frame/keypoints';

export interface BoxFilter {
  boxes: boolean;
  labels: boolean;
  zones: boolean;
  tracks: boolean;
  /** 0..1 */
  confidence: number;
  hidden: ReadonlySet<string>;
}

export const SHOW_ALL: BoxFilter = {
  boxes: true,
  labels: true,
  zones: true,
  tracks: true,
  confidence: 0,
  hidden: new Set(),
};

const colourOf = (hue: number) => `hsl(${hue} ${SATURATION}% ${LIGHTNESS}%)`;
/** The colours of classes and tracks, the same as in the annotated pictures. */
export const classColour = (classId: number) => colourOf(classHue(classId));
export const trackColour = (trackId: string) => colourOf(trackHue(trackId));

export function visible(detections: readonly Detection[], filter: BoxFilter): Detection[] {
  return detections.filter(
    ({ class_name, confidence }) => confidence >= filter.confidence && !filter.hidden.has(class_name),
  );
}

/** Draws boxes and labels over a picture. @param scale canvas pixels for each frame pixel */
export function drawBoxes(
  context: CanvasRenderingContext2D,
  detections: readonly Detection[],
  filter: BoxFilter,
  scale: number,
): void {
  const { width, height } = context.canvas;
  const line = lineWidth(context);
  const textHeight = setFont(context);
  context.textBaseline = 'middle';
  let whole = 0;
  for (const detection of visible(detections, filter)) {
    const [x1, y1, x2, y2] = detection.bbox.map((side) => side * scale) as [number, number, number, number];
    const { track_id, class_id } = detection;
    // The box has the colour of the legend. Its trail and the edge of its label have the track's colour.
    context.strokeStyle = classColour(class_id);
    context.lineWidth = line;
    if (filter.boxes && detection.polygon) drawPolygon(context, detection.polygon, scale);
    else if (filter.boxes) context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    if (filter.boxes) drawKeypoints(context, detection.keypoints ?? [], scale, line);
    if (!filter.labels) continue;
    const text = `${detection.class_name} ${detection.confidence.toFixed(2)} ${track_id ?? ''}`.trim();
    const wide = context.measureText(text).width + textHeight;
    const tall = textHeight * 1.4;
    const left = Math.max(0, Math.min(x1, width - wide));
    // Classes of the picture as a whole have their labels below each other.
    const isWhole = x1 <= 0 && y1 <= 0 && x2 >= width && y2 >= height;
    const top = y1 >= tall ? y1 - tall : y1 + (isWhole ? whole++ * tall : 0);
    context.fillStyle = 'rgb(0 0 0 / 0.75)';
    context.fillRect(left, top, wide, tall);
    context.fillStyle = track_id === undefined ? classColour(class_id) : trackColour(track_id);
    context.fillRect(left, top, textHeight / 4, tall);
    context.fillStyle = '#fff';
    context.fillText(text, left + textHeight / 2, top + tall / 2);
  }
}

/** Width of boxes and lines, canvas pixels. */
export function lineWidth({ canvas }: CanvasRenderingContext2D): number {
  return Math.max(2, Math.round(Math.min(canvas.width, canvas.height) / 300));
}

/** Sets the font of labels and names. @returns its height, canvas pixels */
export function setFont(context: CanvasRenderingContext2D): number {
  const tall = Math.max(12, Math.round(Math.min(context.canvas.width, context.canvas.height) / 32));
  context.font = `600 ${tall}px system-ui, sans-serif`;
  return tall;
}

/** Draws an outline, and its area translucent. */
function drawPolygon(
  context: CanvasRenderingContext2D,
  polygon: NonNullable<Detection['polygon']>,
  scale: number,
): void {
  context.beginPath();
  for (const [x, y] of polygon) context.lineTo(x * scale, y * scale);
  context.closePath();
  context.stroke();
  context.fillStyle = context.strokeStyle;
  context.globalAlpha = 0.35;
  context.fill();
  context.globalAlpha = 1;
}

/** Draws the key points that are sure, and a person's skeleton, in the colour of the box. */
function drawKeypoints(
  context: CanvasRenderingContext2D,
  keypoints: readonly (readonly number[])[],
  scale: number,
  line: number,
): void {
  const points = surePoints(keypoints).map(
    (point) => point && ([point[0] * scale, point[1] * scale] as const),
  );
  context.fillStyle = context.strokeStyle;
  for (const point of points)
    if (point) context.fillRect(point[0] - 1.5 * line, point[1] - 1.5 * line, 3 * line, 3 * line);
  context.beginPath();
  for (const [start, end] of skeletonOf(points)) {
    context.moveTo(...start);
    context.lineTo(...end);
  }
  context.stroke();
}
