import { LATE_ROOT } from '@video-pipeline/frame';
import { ifThere, inParallel, objectsOf, type Reader } from '@video-pipeline/storage';
import { EVENT_ROOT, hoursIn, LISTINGS, type Root, rootOf } from './listings.ts';
import type { TableBucket } from './merge.ts';
import { EVENTS, HOURS, manifestKey, partOf } from './schema.ts';

/** Objects of an hour that are compacted together. */
export interface Unit {
  /** `date=.../hour=..` */
  hour: string;
  part: string;
  /** Folders of the hour whose objects belong to the part. */
  folders: string[];
}

/** The hours that a run reads, all as `date=.../hour=..`. */
interface HoursToRead {
  /** Only this part of the hours. */
  part: string | undefined;
  /** The first hour that is not over. */
  open: string;
  /** The first hour that is read again, although the tables hold it. */
  recent: string;
  /** Whether an hour that the tables hold need not be read again. */
  isFinal: (hour: string, part: string) => boolean;
}

/** A run's note on a folder: it had `dates` dates before the date `before`, and the tables hold all of them. */
interface FolderNote {
  before: string;
  dates: number;
  /**
   * The first date, or hour, that the next run reads again. From it on, objects may have come since the last run read
   * the folder, or failed to.
   */
  looked?: string;
}
type Notes = Record<string, FolderNote>;
const NONE: FolderNote = { before: '', dates: 0 };

/**
 * Finds the hours that are over and not done, the oldest first, with their folders. The bucket grows for years. So some
 * folders are not listed: those of other parts, dates whose hours are all done, and dates that a former run has noted.
 * If a folder has more old dates than noted, all are listed. The stages' notes name hours with late objects.
 * @returns the hours, and a function that notes all of them as done except those that failed
 */
export async function closedHours(
  bucket: TableBucket,
  { part, open, recent, isFinal }: HoursToRead,
): Promise<{ units: Unit[]; note(failed: ReadonlySet<Unit>): Promise<void> }> {
  const [before = ''] = recent.split('/');
  const [roots, late] = await Promise.all([rootsOf(bucket, part), lateNotes(bucket, part, open)]);
  const noted = new Map<string, Notes>();
  await inParallel([...new Set(roots.map((root) => root.part))], LISTINGS, async (of) => {
    noted.set(of, await readJson<Notes>(bucket, notesKey(of)));
  });
  const dated = await inParallel(roots, LISTINGS, async (root) => {
    const dates = (await bucket.folders(root.folder)).filter(
      (name) => name.startsWith('date=') && name <= open,
    );
    const known = noted.get(root.part)?.[root.folder];
    const isKnown = known && countBefore(dates, known.before) <= known.dates;
    const isLeft = (date: string) =>
      date >= (known?.before ?? '') || !isFinal(`${date}/${HOURS[0]}`, root.part);
    const looked = known?.looked ?? before;
    const isOld = (hour: string) => looked >= before || hour < looked;
    return { ...root, dates, known, isOld, left: isKnown ? dates.filter(isLeft) : dates };
  });
  const since = dated.flatMap(({ left }) => left).sort()[0] ?? open;
  const manifests = objectsOf(bucket, 'tables/manifests/', `tables/manifests/${since}/`);
  const held = new Set((await Array.fromAsync(manifests)).map(({ key }) => key));
  const isDone = (hour: string, of: string) => isFinal(hour, of) && held.has(manifestKey(hour, of));
  const found = await inParallel(dated, LISTINGS, async ({ folder, part: of, left, isOld }) => {
    const isNothing = (hour: string) => isOld(hour) && isDone(hour, of);
    const dates = left.filter((date) => !HOURS.every((hour) => isNothing(`${date}/${hour}`)));
    return (await hoursIn(bucket, folder, dates))
      .filter((hour) => hour < open && !isNothing(hour))
      .map((hour) => ({ hour, part: of, folders: [`${folder}${hour}/`] }));
  });
  const all = [...found.flat(), ...late.map(({ unit }) => unit)];
  return {
    units: [...Map.groupBy(all, (unit) => `${unit.hour} ${unit.part}`).values()]
      .map((units) => ({
        ...(units[0] as Unit),
        folders: [...new Set(units.flatMap(({ folders }) => folders))],
      }))
      .sort((a, b) => (a.hour < b.hour ? -1 : 1)),
    async note(failed) {
      const left = [...failed];
      for (const [of, those] of Map.groupBy(dated, (root) => root.part)) {
        const again = left.filter((unit) => unit.part === of).map(({ hour }) => hour);
        const notes = those.map(({ folder, dates, known = NONE, isOld }) => {
          const held = again.length > 0 ? known : { before, dates: countBefore(dates, before) };
          const [looked] = [before, ...again.filter((hour) => !isOld(hour))].sort();
          return [folder, { ...held, looked }];
        });
        const body = JSON.stringify(Object.fromEntries(notes));
        if (body !== JSON.stringify(noted.get(of)))
          await bucket.put({ key: notesKey(of), body, contentType: 'application/json' });
      }
      const isLeft = ({ hour, part: of }: Unit) =>
        left.some((unit) => unit.hour === hour && unit.part === of);
      const done = late.filter(({ unit }) => !isLeft(unit));
      if (done.length > 0) await bucket.remove(done.map(({ key }) => key));
    },
  };
}

/** The folders of dates that belong to a part, or to any part. */
async function rootsOf(bucket: TableBucket, part: string | undefined): Promise<Root[]> {
  const streams = part === EVENTS ? [] : await bucket.folders('detections/');
  const roots = [EVENT_ROOT, ...streams.map(rootOf)];
  return roots.filter((root) => part === undefined || part === root.part);
}

/** The notes of late objects, with the objects' hours. */
async function lateNotes(bucket: Pick<Reader, 'page'>, part: string | undefined, open: string) {
  const notes: { key: string; unit: Unit }[] = [];
  for await (const { key } of objectsOf(bucket, LATE_ROOT)) {
    const [, folder = '', stream, hour] =
      /^late\/((?:detections\/([^/]+)|events)\/(date=[^/]+\/hour=\d\d)\/)/.exec(key) ?? [];
    const of = stream === undefined ? EVENTS : partOf(stream);
    if (hour !== undefined && hour < open && (part ?? of) === of)
      notes.push({ key, unit: { hour, part: of, folders: [folder] } });
  }
  return notes;
}

function countBefore(dates: readonly string[], before: string): number {
  return dates.filter((date) => date < before).length;
}

/** Outside the tables' folders, since Athena reads every object in them. */
function notesKey(part: string): string {
  return `tables/done/part-${part}.json`;
}

/** @returns an empty object if there is none */
export async function readJson<Value extends object>(
  bucket: Pick<Reader, 'read'>,
  key: string,
): Promise<Value> {
  const body = await ifThere(bucket.read(key));
  try {
    return JSON.parse(String(body ?? '{}'));
  } catch (cause) {
    // Without this object, a run reads the NDJSON again, and gets the same rows.
    throw new Error(`${key} is no JSON: remove it`, { cause });
  }
}
