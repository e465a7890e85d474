import { advise, runtimeReason } from './advice.ts';
import type { ModelDescription } from './describe-model.ts';
import { chooseHead, type HeadChoice } from './heads/choose-head.ts';
import { type HeadName, heads } from './heads/index.ts';
import { cpuShape, InferencePool } from './inference-pool.ts';
import { type Letterbox, letterbox, squareOf } from './letterbox.ts';
import { type ModelCard, pixelsOf } from './model-card.ts';
import { giveUsualForm, type OutputForm } from './onnx/output-form.ts';
import type { ModelProto } from './onnx/schema.ts';
import type { StoredModel } from './onnx/stored-model.ts';
import { giveFloat32, takeUint8Frames } from './onnx/uint8-input.ts';
import { probe } from './probe.ts';
import { type Evidence, UnsupportedModelError } from './unsupported-model.ts';

/** A fresh graph that takes uint8 frames with the preprocessing of a family, and gives float32 in the usual form. */
export function changedGraph(
  { graph }: StoredModel,
  head: HeadName,
  card: ModelCard,
  form: OutputForm = card,
): ModelProto {
  takeUint8Frames(graph, pixelsOf(card, heads[head].preprocessing));
  giveFloat32(graph);
  giveUsualForm(graph, heads[head], form);
  return graph;
}

interface Given {
  path: string;
  stored: StoredModel;
  described: ModelDescription;
  /** Threads that will run the model on a CPU. */
  threads?: number | undefined;
  /** Batch sizes that the model must support. */
  batchSizes?: readonly number[] | undefined;
}

/** Runs a model on synthetic pictures, as one family after another would, until its outputs fit. */
export class Trials {
  readonly #given: Given;
  #pool: InferencePool | undefined;
  #loadMs = 0;

  constructor(given: Given) {
    this.#given = given;
  }

  /** Time that the runtime took to load the model last. */
  get loadMs(): number {
    return this.#loadMs;
  }

  /** @throws UnsupportedModelError when no family, or not the one that is named, reads the outputs */
  async recognise() {
    const { card, family, task } = this.#given.described;
    const pixels = (head: HeadName) => pixelsOf(card, heads[head].preprocessing);
    const fedAs = family ?? (task === 'classify' ? task : 'yolov8');
    const first = await this.#recogniseAs(fedAs, family);
    // The model runs again, now with the preprocessing of its family.
    return !card.input && pixels(first.head) !== pixels(fedAs)
      ? this.#recogniseAs(first.head, first.head)
      : first;
  }

  /** Ends the pool of the last trial. */
  async close(): Promise<void> {
    await this.#pool?.close();
  }

  /** Recognises the family from the outputs. With `named`, only that family is accepted. */
  async #recogniseAs(
    fedAs: HeadName,
    named: HeadName | undefined,
    form: OutputForm = this.#given.described.card,
  ) {
    const { card, metadata, classNames, task, wide, facts, refuse } = this.#given.described;
    const { endToEnd, keypoints } = metadata;
    // The outputs are large: they are not kept.
    const { proof, ...loaded } = await this.#run(fedAs, form);
    const model = { ...wide, task, classes: classNames?.length, endToEnd, keypoints, boxes: form.boxes };
    const { head, refusal = '', verdicts } = chooseHead(proof.alone, model, named);
    const outputs = (proof.alone[0] ?? []).map(({ name, dims }) => ({ name, dims }));
    const answered = outputs.map(({ name, dims }) => `${name} [${dims.join(', ')}]`);
    const evidence: Evidence = { ...facts, answered, verdicts, ...proof.batches };
    if (head) return { ...loaded, head, evidence, outputs };
    const advice =
      form === card ? await advise(verdicts, formOf(card), (head, form) => this.#problemAs(head, form)) : '';
    throw refuse(refusal + advice, evidence);
  }

  /** Why a family does not read the outputs in this form; `undefined` if it does. */
  #problemAs(head: HeadName, form: OutputForm): Promise<string | undefined> {
    return this.#recogniseAs(head, head, form).then(
      () => undefined,
      ({ evidence }) => problemOf(evidence?.verdicts, head),
    );
  }

  /**
   * Loads the model with the preprocessing of a family, and runs it. Some exports say that the sides of their input
   * vary, and run at one size alone: from then on they are described so.
   */
  async #run(head: HeadName, form: OutputForm) {
    const { path, stored, described, threads = 1, batchSizes = [1] } = this.#given;
    const { card, batchSize, inputSize, facts, metadata } = described;
    await this.close();
    const onnx = await stored.write(changedGraph(stored, head, card, form));
    try {
      const cpu = cpuShape(stored.weights, threads);
      const began = performance.now();
      const pool = await InferencePool.start({ onnx, providers: ['cpu'], threads: cpu.threads }, cpu.size);
      this.#pool = pool;
      this.#loadMs = performance.now() - began;
      const prove = ({ inputWidth: width, inputHeight: height }: Letterbox) =>
        probe(pool, { batchSize, width, height, batchSizes });
      const proof = await prove(described.wide).catch((cause) => {
        if (inputSize.kind === 'fixed') throw cause;
        const [height, width] = metadata.imgsz ?? [];
        described.inputSize = height && width ? { kind: 'fixed', width, height } : squareOf(inputSize);
        described.wide = letterbox(16, 9, described.inputSize);
        return prove(described.wide);
      });
      return { onnx, pool, proof };
    } catch (cause) {
      const why = `${path}: the runtime can't run it: ${runtimeReason(cause as Error)}`;
      throw new UnsupportedModelError(why, { cause, evidence: facts });
    }
  }
}

const problemOf = (verdicts: HeadChoice['verdicts'] = [], head: HeadName) =>
  verdicts.find((one) => one.head === head)?.problem ?? '';
const formOf = ({ scores, boxes }: ModelCard): OutputForm => ({
  ...(scores && { scores }),
  ...(boxes && { boxes }),
});
