import type { AnchorLayout, Candidate, DecodeOptions, OutputTensor } from './head.ts';

/**
 * Reads the output that `selectCandidates` adds to a model: `[N, 7, K]`, best score first.
 * @param limit number of candidates that the graph was built to return
 * @returns candidates of the `image`-th picture, and whether there may have been more
 */
export function decodeSelected(
  { dims, data }: OutputTensor,
  image: number,
  { toBox }: AnchorLayout,
  options: DecodeOptions,
  limit: number,
): { candidates: Candidate[]; isCut: boolean } {
  const [, rows = 0, count = 0] = dims;
  const at = (row: number, candidate: number) => data[(image * rows + row) * count + candidate] as number;
  const candidates: Candidate[] = [];
  while (candidates.length < count && at(4, candidates.length) >= options.threshold) {
    const one = candidates.length;
    const values = [at(0, one), at(1, one), at(2, one), at(3, one)] as const;
    candidates.push({ classId: at(5, one), score: at(4, one), box: toBox(values, at(6, one), options) });
  }
  return { candidates, isCut: candidates.length === limit };
}
