import { type Head, type HeadName, heads } from './heads/index.ts';
import type { Verdict } from './heads/validate-outputs.ts';
import type { OutputForm } from './onnx/output-form.ts';

/** Forms of the output that may explain the problem of a verdict. */
const FORMS: [RegExp, ...OutputForm[]][] = [
  [/confidences go from|add up to/, { scores: 'logits' }],
  [/shares of the picture/, { boxes: 'centre-shares' }, { boxes: 'corner-shares' }],
  [/two corners/, { boxes: 'corners' }],
  [/end before they begin/, { boxes: 'centre' }, { boxes: 'corner-size' }],
];

/**
 * Advice on cards with which a refused model can be served. Each card is tried before it is recommended.
 * @param before what the card says already
 * @param problemAs why a family does not read the outputs in a form; `undefined` if it does
 */
export async function advise(
  verdicts: readonly Verdict[],
  before: OutputForm,
  problemAs: (head: HeadName, form: OutputForm) => Promise<string | undefined>,
): Promise<string> {
  const fittingForms = async (head: HeadName, problem: string, before: OutputForm): Promise<OutputForm[]> => {
    const fitting: OutputForm[] = [];
    for (const more of FORMS.flatMap(([sign, ...forms]) => (sign.test(problem) ? forms : []))) {
      if (Object.keys(more).some((key) => before[key as keyof OutputForm])) continue;
      const form = { ...before, ...more };
      const left = await problemAs(head, form);
      fitting.push(...(left === undefined ? [form] : await fittingForms(head, left, form)));
    }
    return fitting;
  };
  for (const { head, problem = '' } of verdicts) {
    const { anchors, corners, task }: Head = heads[head];
    const forms = anchors || corners || task === 'classify' ? await fittingForms(head, problem, before) : [];
    const cards = forms.map((form) => {
      const fields = Object.entries({ family: head, ...form }).map(([key, value]) => `${key}: ${value}`);
      return `{ ${fields.join(', ')} }`;
    });
    if (cards.length > 0) return `; it is served with a card beside it that says ${cards.join(' or ')}`;
  }
  return '';
}

/** What to do about errors of the runtime. */
const REMEDIES: [RegExp, string][] = [
  [/IR version/, '; export it with an older version of the onnx package, or set ir_version of the file'],
  [/[Oo]pset \d+ is under development/, '; export it with a lower opset'],
  [/not a registered function|EfficientNMS_TRT/, '; export it without operators of other runtimes'],
];

/** The message of onnxruntime without the source location, and what to do. */
export function runtimeReason({ message }: Error): string {
  const reason = message
    .replace(/\s+/g, ' ')
    .replace(/\S*onnxruntime_src.*\[ONNXRuntimeError\] : \d+ : \w+ : /, '')
    .replace(/Load model from \S+ failed: ?/, '')
    .replace(/\S*onnxruntime_src\S* .*\)\s(?=[A-Z])/, '');
  return reason + (REMEDIES.find(([sign]) => sign.test(reason))?.[1] ?? '');
}
