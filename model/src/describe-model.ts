import { type Head, type HeadName, heads } from './heads/index.ts';
import { inputSizeOf, letterbox } from './letterbox.ts';
import { type ModelCard, metadataOf } from './model-card.ts';
import { type ModelMetadata, readMetadata, TASK_NAMES, taskOf } from './model-metadata.ts';
import { DataType, type ModelProto, type ValueInfoProto } from './onnx/schema.ts';
import { imageInput, layoutOf, sizeOf } from './onnx/uint8-input.ts';
import { type Evidence, type UnsupportedModelError, unsupported } from './unsupported-model.ts';

/** Most pixels of an input, of all pictures of a fixed batch: 1.6 GB as floats. */
const MAX_PIXELS = 2 ** 27;

/** What {@link describeModel} finds. */
export type ModelDescription = ReturnType<typeof describeModel>;

/**
 * What a file and its card say of a model before it has run.
 * @param given what its user says
 * @throws UnsupportedModelError when the model can't be served, whatever its outputs are
 */
export function describeModel(
  path: string,
  model: ModelProto,
  card: ModelCard,
  given: { head?: HeadName | undefined; names?: readonly string[] | undefined },
) {
  const metadata = { ...readMetadata(model.metadataProps), ...metadataOf(card) };
  const classNames = given.names ?? metadata.names;
  const facts = { inputs: listed(model.graph.input), outputs: listed(model.graph.output), metadata, card };
  const refuse = (why: string, more: Partial<Evidence> = {}) => unsupported(path, why, { ...facts, ...more });
  const unknown = classNames && Object.keys(card.confidence ?? {}).find((name) => !classNames.includes(name));
  if (unknown !== undefined)
    throw refuse(`its card has a confidence for '${unknown}', which is none of its classes`);
  /** The family that the user or the card names. */
  const family = given.head ?? card.family;
  const task = servableTask(metadata, family, refuse);
  const image = servableInput(model, refuse);
  const { channels, shape } = layoutOf(image);
  const [batch, height, width] = channels === 1 ? shape.toSpliced(1, 1) : shape;
  const inputSize = inputSizeOf(height, width, metadata);
  const batchSize = typeof batch === 'number' ? batch : undefined;
  /** The input for a picture of 16:9. */
  const wide = letterbox(16, 9, inputSize);
  const pixelsAtOnce = (batchSize ?? 1) * wide.inputWidth * wide.inputHeight;
  if (pixelsAtOnce > MAX_PIXELS)
    throw refuse(`its input holds ${pixelsAtOnce} pixels, over ${MAX_PIXELS}: export it with a smaller one`);
  const input = { name: image.name, shape };
  return { card, metadata, classNames, family, task, input, inputSize, batchSize, wide, facts, refuse };
}

type Refuse = (why: string) => UnsupportedModelError;

/** The task, if the metadata or a named family says it. @throws UnsupportedModelError when it can't be served */
function servableTask(
  { task: stated, keypoints }: ModelMetadata,
  wanted: HeadName | undefined,
  refuse: Refuse,
) {
  const task = stated === undefined ? wanted && (heads[wanted] as Head).task : taskOf(stated);
  if (stated !== undefined && !task)
    throw refuse(`its task is '${stated}', and only these are served: ${TASK_NAMES.join(', ')}`);
  if (task === 'pose' && !keypoints)
    throw refuse(
      'its metadata has no kpt_shape: a card says how many key points it has, { keypoints: [17, 3] }',
    );
  return task;
}

/** The image input. @throws UnsupportedModelError when there is no usable one */
function servableInput(model: ModelProto, refuse: Refuse): ValueInfoProto {
  const strange = [...model.graph.input, ...model.graph.output].find(({ type }) => !type?.tensorType);
  if (strange) throw refuse(`'${strange.name}' is no tensor`);
  const image = imageInput(model);
  if (!image) throw refuse('it needs exactly one input for pictures');
  if (!image.type.tensorType.shape) throw refuse('its input states no shape; export it with [N, 3, H, W]');
  const { elemType } = image.type.tensorType;
  const { shape } = layoutOf(image);
  if (shape.length !== 4 || (shape[1] !== 3 && shape[3] !== 3)) {
    throw refuse('its input is neither [N, 3, H, W] nor [N, H, W, 3], with or without N');
  }
  if (!FED_TYPES.includes(elemType)) {
    throw refuse('its input takes neither floats nor uint8; export it with one of them');
  }
  return image;
}

const FED_TYPES: readonly number[] = [
  ...[DataType.float32, DataType.float16, DataType.bfloat16, DataType.float64, DataType.uint8],
];

const listed = (values: readonly ValueInfoProto[]) =>
  values.map(({ name, type }) => {
    const sizes = type?.tensorType?.shape?.dim.map((dim) => sizeOf(dim, '?')) ?? [];
    return `${name} [${sizes.join(', ')}]`;
  });
