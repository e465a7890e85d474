import type { HeadChoice } from './heads/choose-head.ts';
import { heads } from './heads/index.ts';
import type { ModelCard } from './model-card.ts';
import type { ModelMetadata } from './model-metadata.ts';

/** A model that can't be served. The message names the file, its inputs and outputs, and the supported families. */
export class UnsupportedModelError extends Error {
  override readonly name = 'UnsupportedModelError';
  /** The facts found before the model was refused. */
  readonly evidence: Partial<Evidence>;

  constructor(
    message: string,
    { evidence = {}, ...options }: ErrorOptions & { evidence?: Partial<Evidence> } = {},
  ) {
    super(message, options);
    this.evidence = evidence;
  }
}

export interface Evidence {
  /** Name and sizes of each input and output, as the file declares them. */
  inputs: readonly string[];
  outputs: readonly string[];
  metadata: ModelMetadata;
  card: ModelCard;
  /** Name and sizes of each output in a real run. */
  answered: readonly string[];
  /** For each family that may fit: whether the outputs are plausible. */
  verdicts: HeadChoice['verdicts'];
  /** Whether pictures in a batch give the same outputs as alone; absent if that was not tried. */
  keepsApart?: boolean;
}

/** The error for a model, with what its user can do. @param why it is refused */
export function unsupported(path: string, why: string, evidence: Partial<Evidence>): UnsupportedModelError {
  const { inputs = [], outputs = [] } = evidence;
  return new UnsupportedModelError(
    `${path} is no model that can be served: ${why}. Inputs: ${inputs.join(', ')}; outputs: ${outputs.join(', ')}. ` +
      `A model must have one image input, and be of one of the families ${Object.keys(heads).join(', ')}; --head, ` +
      '--names or a card beside the file (model.yaml) add what the file does not say.',
    { evidence },
  );
}
