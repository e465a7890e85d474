import type { Candidate, Head } from './head.ts';

/** Most classes of a picture. */
const MAX_CLASSES = 5;
/** Beyond every edge of every picture: the class is that of the picture as a whole. */
const WHOLE: Candidate['box'] = [-1e6, -1e6, 1e6, 1e6];

/**
 * Ultralytics' classification: the probability of each class, `[N, C]`. The most probable classes count.
 * @see https://docs.ultralytics.com/tasks/classify/
 */
export const classify: Head = {
  task: 'classify',
  needsSuppression: false,
  preprocessing: { normalisation: 'unit', fit: 'crop' },
  decode([output], image, { threshold }) {
    const classes = output?.dims[1] ?? 0;
    const scores = [...(output?.data.subarray(image * classes, (image + 1) * classes) ?? [])];
    return scores
      .map((score, classId): Candidate => ({ classId, score, box: [...WHOLE] }))
      .filter(({ score }) => score >= threshold)
      .sort((one, other) => other.score - one.score)
      .slice(0, MAX_CLASSES);
  },
};
